/**
 * One bounded wait. Guards against a run that hangs because some part never answers; what to do then is the caller's.
 */

/** What `promise` gives, or `late()` after `ms`. The promise itself goes on; its later rejection is swallowed. */
export async function withDeadline<T>(promise: Promise<T>, ms: number, late: () => T): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  promise.catch(() => {})
  const deadline = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, ms, 'late')
  })
  try {
    const winner = await Promise.race([promise.then((value) => ({ value })), deadline])
    return winner === 'late' ? late() : winner.value
  } finally {
    clearTimeout(timer)
  }
}
