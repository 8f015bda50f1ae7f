/**
 * Whether a process that a caller names may become the first of a sandbox: only a child of the caller, with the caller's own user, that is
 * in no sandbox yet. Guards that nobody puts somebody else's process under watch, where it could be frozen or killed; a pid that
 * changed hands between the question and the tag is found by its start time.
 */
import type { Caller } from '../proto/rpc.js'
import { type ProcessFacts, processFacts } from './process-facts.js'
import type { Whereabouts } from './whereabouts.js'

/** `still`: asked again once it is tagged, whether that is the process that was looked at. */
export type LauncherVerdict = { readonly ok: true; still(): boolean } | { readonly ok: false; readonly problem: string }

export type LauncherCheck = (caller: Caller, pid: number) => Promise<LauncherVerdict>

export function launcherCheck(
  whereabouts: Pick<Whereabouts, 'sandboxOf' | 'elsewhere'>,
  facts: (pid: number) => ProcessFacts | null = processFacts,
): LauncherCheck {
  return async (caller, pid) => {
    const node = whereabouts.elsewhere()
    if (node !== null) {
      return { ok: false, problem: `pid: the sensor is on the node ${node}; runs can be started there alone` }
    }
    const sandbox = await whereabouts.sandboxOf(pid)
    const found = facts(pid)
    const problem = found === null ? `process ${pid} is gone` : objection({ caller, pid, found, sandbox })
    if (problem !== null || found === null) return { ok: false, problem: `pid: ${problem}` }
    return {
      ok: true,
      still() {
        const now = facts(pid)
        return now !== null && now.startTicks === found.startTicks && now.ppid === caller.pid
      },
    }
  }
}

function objection(about: { caller: Caller; pid: number; found: ProcessFacts; sandbox: string | null }): string | null {
  const { caller, pid, found, sandbox } = about
  if (sandbox !== null) return `process ${pid} is in the sandbox ${sandbox} already`
  if (found.ppid !== caller.pid) return `process ${pid} is not a child of the caller`
  return found.uids.every((uid) => uid === caller.uid) ? null : `process ${pid} runs as another user than the caller`
}
