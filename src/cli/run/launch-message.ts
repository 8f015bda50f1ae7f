/**
 * What is said when the command could not be started. Pure.
 */
import { constants } from 'node:os'
import { shellWord } from '../display-text.js'
import { describeStatus } from '../exit-code.js'
import { errnoName } from '../system-names.js'
import type { LaunchFailure } from './launcher.js'

const REASONS: Readonly<Record<number, string>> = {
  [constants.errno.ENOENT]: 'not found',
  [constants.errno.ENOTDIR]: 'not found',
  [constants.errno.EACCES]: 'permission denied',
  [constants.errno.EPERM]: 'permission denied',
  [constants.errno.EISDIR]: 'is a directory',
  [constants.errno.ENOEXEC]: 'not a program (no #! line and no known format)',
  [constants.errno.E2BIG]: 'its arguments and environment are too long',
  [constants.errno.ELOOP]: 'too many symbolic links',
  [constants.errno.ETXTBSY]: 'it is open for writing',
  [constants.errno.ENOMEM]: 'not enough memory',
}

const CHDIR_REASONS: Readonly<Record<number, string>> = {
  [constants.errno.ENOENT]: 'no such directory',
  [constants.errno.ENOTDIR]: 'is not a directory',
}

/** `stage` of a launcher that was gone before the command was let start, and said nothing. */
export const ENDED_EARLY = 'ended early'

/** `cannot run 'foo': not found`, or the step before it that failed. */
export function launchMessage(failure: LaunchFailure, command: string, workdir: string): string {
  const reason = REASONS[failure.errno] ?? (failure.errno === 0 ? 'unknown cause' : errnoName(failure.errno))
  switch (failure.stage) {
    case 'exec':
      return `sluice: cannot run ${quoted(command)}: ${reason}`
    case 'chdir':
      return `sluice: cannot start in ${quoted(workdir)}: ${CHDIR_REASONS[failure.errno] ?? reason}`
    case ENDED_EARLY: {
      const how = failure.end === undefined ? '' : ` (${describeStatus(failure.end)})`
      return `sluice: ${quoted(command)} was not started: the launcher ended while it waited${how}`
    }
    case 'hide': {
      const hint = failure.errno === constants.errno.EPERM ? '; grant CAP_SYS_ADMIN (in a container: --privileged)' : ''
      return `sluice: cannot start ${quoted(command)}: the BPF file systems could not be hidden from it: ${reason}${hint}`
    }
    case 'user':
      if (failure.errno !== constants.errno.ENOENT) break
      return `sluice: cannot start ${quoted(command)}: the user it should run as is not known any more`
    default:
  }
  return `sluice: cannot start ${quoted(command)}: the launcher's step ${quoted(failure.stage)} failed: ${reason}`
}

/** A path or a word from our own command line, always in quotes. */
function quoted(text: string): string {
  const word = shellWord(text.replaceAll('\\', '\\\\'))
  return /^['"$]/.test(word) ? word : `'${word}'`
}
