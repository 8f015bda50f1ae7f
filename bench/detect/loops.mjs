/** Real sessions made to loop, in ways that agents do: from 60 % of the session on. Deterministic. */

const ROUNDS = 14
const TEST = 'python -m pytest -x tests/test_core.py'

const words = (seed) => {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state.toString(36)
  }
}

/** Each from the commands at the onset: what is done over and over. */
export const KINDS_OF_LOOPS = {
  'the same step': ([step]) => Array(ROUNDS).fill(step),
  'a cycle of 3': (steps) => Array(ROUNDS).fill(steps.slice(0, 3)).flat(),
  'a cycle of 5': (steps) => Array(ROUNDS).fill(steps.slice(0, 5)).flat(),
  'with a random comment': ([step], word) =>
    Array.from({ length: ROUNDS }, () => ({ ...step, cmd: `${step.cmd} # ${word()}` })),
  'a search with a random word': ([step], word) =>
    Array.from({ length: ROUNDS }, () => ({
      ...step,
      cmd: `grep -rn "${word().replace(/\d/g, 'x')}" src/core/handlers.py | head`,
    })),
  'with other reads between': ([step]) =>
    Array.from({ length: ROUNDS }, (_, at) => [
      step,
      { ...step, cmd: `sed -n '${at * 10},${at * 10 + 9}p' src/f${at % 5}.py` },
    ]).flat(),
  'a failing test, not edited': ([step]) => Array(ROUNDS).fill({ ...step, cmd: TEST, exit: 1 }),
  'a failing test, edited each time (none to tell)': ([step]) =>
    Array.from({ length: ROUNDS }, (_, at) => [
      { ...step, cmd: `sed -i 's/value_${at}/other/' src/core.py`, exit: 0 },
      { ...step, cmd: TEST, exit: 1 },
    ]).flat(),
}

/** Null for a session that is too short. `onset`: calls before the loop. */
export function madeToLoop({ session, commands }, kind) {
  const onset = Math.floor(commands.length * 0.6)
  if (commands.length < 10) return null
  const looping = KINDS_OF_LOOPS[kind](commands.slice(onset), words(onset + session.length))
  // Without their times, as these belong to the session as it was.
  const all = [...commands.slice(0, onset), ...looping, ...commands.slice(onset)].map(({ cmd, exit }) => ({
    cmd,
    exit,
  }))
  return { session, commands: all, onset }
}
