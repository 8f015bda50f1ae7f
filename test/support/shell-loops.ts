/**
 * Loops of shells that tests start. Each ends by itself after so many rounds, some minutes: a test that fails, or is ended, leaves nothing
 * behind that takes the machine's time for ever. They start and open nothing that `step` and `condition` do not.
 */
const ROUNDS = 6_000
const STEP = 'sleep 0.02'

/** For as long as a test needs it. */
export function goOn(step = STEP, rounds = ROUNDS): string {
  return untilHolds('false', step, rounds)
}

/** Until there is a file; `path` may be relative to where the shell is. */
export function untilThere(path: string, step = STEP, rounds = ROUNDS): string {
  return untilHolds(`[ -e ${path} ]`, step, rounds)
}

export function untilHolds(condition: string, step = STEP, rounds = ROUNDS): string {
  return `round=0; until ${condition} || [ $round -ge ${rounds} ]; do ${step}; round=$((round+1)); done`
}
