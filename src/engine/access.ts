/**
 * Who may do what: root and the administrators everything, a member of the agent's group its own. Decided by what the kernel said of the
 * caller when it connected. Guards that a rank is never more than a group gives, and that what a member may not see is not named to
 * it. Not here: callers in a sandbox (whereabouts.ts).
 */
import { SluiceError } from '../base/error.js'
import type { Caller } from '../proto/rpc.js'

const ROOT_UID = 0

/** Groups by id; null: there is no such group on this machine. */
export interface AccessGroups {
  readonly memberGid: number | null
  readonly adminGid: number | null
}

export type Rank = 'admin' | 'member'

export class Access {
  private readonly groups: AccessGroups

  constructor(groups: AccessGroups) {
    this.groups = groups
  }

  /** Null: neither root nor in one of the groups. */
  rankOf(caller: Caller): Rank | null {
    const { memberGid, adminGid } = this.groups
    if (caller.uid === ROOT_UID || isIn(caller, adminGid)) return 'admin'
    return isIn(caller, memberGid) ? 'member' : null
  }

  /** Whether it may see and act on what belongs to `ownerUid`. */
  owns(caller: Caller, ownerUid: number): boolean {
    const rank = this.rankOf(caller)
    return rank === 'admin' || (rank === 'member' && caller.uid === ownerUid)
  }

  /** Throws PRIVILEGE unless it is root or an administrator. `what` begins a sentence. */
  requireAdmin(caller: Caller, what: string): void {
    if (this.rankOf(caller) === 'admin') return
    throw new SluiceError('PRIVILEGE', `${what} takes root or the administrators' group`, {
      hint: 'run it with sudo',
    })
  }
}

function isIn(caller: Caller, gid: number | null): boolean {
  return gid !== null && (caller.gid === gid || caller.groups.includes(gid))
}
