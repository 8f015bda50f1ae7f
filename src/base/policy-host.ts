/**
 * What a machine must have for a policy to be enforced, and what is said where it has not: the same whether a file is checked, a command is
 * started under it or a sensor is to apply it. It guards nothing by itself; whoever asks refuses.
 */
import { readFileSync } from 'node:fs'
import { BTF_PATH } from './kernel-host.js'

/** Of Landlock, with which files can be renamed into other folders still: Linux 5.19. */
export const APART_ABI = 2
/** Of Yama: nobody attaches to anybody, with whatever rights, until the next boot. */
const NO_ATTACH = 3
const PTRACE_SCOPE = '/proc/sys/kernel/yama/ptrace_scope'
/** Name of an enumerator in a kernel that has hooks for Unix sockets (Linux 6.7). */
const UNIX_HOOK = 'BPF_CGROUP_UNIX_CONNECT\0'

export interface Lack {
  readonly what: string
  readonly instead: string
}

/** Facts of the machine that anybody may read. */
export interface PolicyHost {
  /** Version of Landlock; 0: there is none. */
  readonly landlock: number
  readonly ptraceScope: number
  readonly unixHooks: boolean
}

export function readPolicyHost(landlock: number): PolicyHost {
  return { landlock, ptraceScope: readPtraceScope(), unixHooks: hasUnixHooks() }
}

/** 0 where the kernel has no such limit. */
export function readPtraceScope(): number {
  try {
    return Number(readFileSync(PTRACE_SCOPE, 'latin1'))
  } catch {
    return 0
  }
}

/** False where it can't be told. */
function hasUnixHooks(): boolean {
  try {
    return readFileSync(BTF_PATH).includes(UNIX_HOOK)
  } catch {
    return false
  }
}

/**
 * A rule for certain programs trusts a process for the file that it executed. Null: that holds.
 * @param of.asRoot its processes run as root, or hold rights of root
 * @param of.apart the launcher keeps them from each other's memory
 */
export function programsLack(of: { asRoot: boolean; apart: boolean; ptraceScope: number }): Lack | null {
  if (of.asRoot) {
    return {
      what: 'its processes run as root, and could put another program in place',
      instead: 'run it as another user, or let the policy say allow_privileged: true',
    }
  }
  if (of.apart || of.ptraceScope >= NO_ATTACH) return null
  return {
    what: 'its processes can take each other over (ptrace, /proc/PID/mem)',
    instead:
      'start it by sluice run --policy with a policy that has binary, on Linux 5.19 with Landlock, or set kernel.yama.ptrace_scope to 3',
  }
}

/** Where no hook keeps a command from Unix sockets, root's launcher covers them. Null: it is kept from them. */
export function unixLack(of: { unixHooks: boolean; byRoot: boolean }): Lack | null {
  if (of.unixHooks || of.byRoot) return null
  return {
    what: 'this kernel has no hook for Unix sockets (Linux 6.7), so the command could have others work for it',
    instead: 'run it as root, whose launcher covers them, say allow_brokers: true, or take mode: monitor',
  }
}
