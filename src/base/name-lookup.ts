/** What is said of a name that names nothing, or several things. Guards that a suggestion is one of what the asker may see. */
import { SluiceError } from './error.js'
import { nearestOf } from './nearest.js'

/** `named`: the ids of those that bear the name; `known`: all names and ids that the asker may see. */
export function notOne(wanted: string, found: { named: readonly string[]; known: readonly string[] }): SluiceError {
  if (found.named.length > 1) {
    return new SluiceError('USAGE', `${found.named.length} sandboxes are named '${wanted}'`, {
      hint: `name one by its id: ${found.named.join(', ')}`,
    })
  }
  const nearest = nearestOf(wanted, found.known)
  return new SluiceError('USAGE', `there is no sandbox '${wanted}'`, {
    hint: nearest === null ? '`sluice sandboxes ls` lists them' : `did you mean '${nearest}'?`,
  })
}
