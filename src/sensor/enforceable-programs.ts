/**
 * Whether rules for certain programs (`binary`) can be enforced for a sandbox. Such a rule trusts a process for the file that it executed: where
 * another process of the sandbox can write into it, or put another file at its path, it would trust nobody in particular. Guards that
 * such a policy is refused with what to do about it, unless it says that it is meant. What a program is told to do is its own.
 */
import { readFileSync } from 'node:fs'
import { SluiceError } from '../base/error.js'
import { programsLack, readPtraceScope } from '../base/policy-host.js'
import { type ICompiledPolicy, Mode } from '../proto/codec.js'
import { namesPrograms } from '../proto/policy-needs.js'

const ROOT_UID = 0

/**
 * @param options.pids processes that were there before us
 * @param options.apart the launcher keeps them from each other's memory
 * @throws SluiceError USAGE
 */
export function requireTellingPrograms(
  policy: ICompiledPolicy,
  { pids, apart }: { pids: Iterable<number>; apart: boolean },
): void {
  if (policy.mode !== Mode.MODE_ENFORCE || policy.allowPrivileged || !namesPrograms(policy)) return
  const lack = programsLack({ asRoot: [...pids].some(mayWriteAnyFile), apart, ptraceScope: readPtraceScope() })
  if (lack !== null) throw new SluiceError('USAGE', `binary can't be enforced: ${lack.what}`, { hint: lack.instead })
}

/** Root, or whoever holds any capability. False for a process that is gone. */
function mayWriteAnyFile(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const uids = /^Uid:\s*(.*)$/m.exec(status)?.[1]?.split(/\s+/).map(Number) ?? []
    const held = /^CapPrm:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'
    return uids.includes(ROOT_UID) || BigInt(`0x${held}`) !== 0n
  } catch {
    return false
  }
}
