/**
 * Does one thing with the rights of the user who called sudo. Guards that a path this user named opens nothing that this user could
 * not open, and that our own rights are back afterwards however it went. Synchronous: the identity is the whole process's, so nothing
 * else may run meanwhile.
 */

/** `name`: of the password database, null for a uid that has no entry; its further groups count only with it. */
export interface Identity {
  readonly name: string | null
  readonly uid: number
  readonly gid: number
}

const ROOT_UID = 0

/** Null: as who we are. Throws what `action` throws, and an error of the system if the identity can't be taken on. */
export function asInvoker<T>(invoker: Identity | null, action: () => T): T {
  if (invoker === null) return action()
  const { getegid, getgroups, initgroups, setegid, seteuid, setgroups } = identityCalls()
  const before = { gid: getegid(), groups: getgroups() }
  try {
    if (invoker.name === null) setgroups([invoker.gid])
    else initgroups(invoker.name, invoker.gid)
    setegid(invoker.gid)
    seteuid(invoker.uid)
    return action()
  } finally {
    // Root first, as it is what the others need. One that fails must not keep the next from being tried.
    const failures = [() => seteuid(ROOT_UID), () => setegid(before.gid), () => setgroups(before.groups)].flatMap(
      failureOf,
    )
    if (failures.length > 0) restoreFailed(failures[0])
  }
}

function failureOf(restore: () => void): unknown[] {
  try {
    restore()
    return []
  } catch (error) {
    return [error]
  }
}

/** Half of an identity is no state to go on in. */
function restoreFailed(cause: unknown): never {
  throw new Error('our own identity could not be restored', { cause })
}

/** Missing in the types. */
type WithInitgroups = NodeJS.Process & { initgroups?: (user: string, extraGroup: number) => void }

/** Node has them on POSIX systems only. */
function identityCalls() {
  const { getegid, getgroups, initgroups, setegid, seteuid, setgroups } = process as WithInitgroups
  if (!(getegid && getgroups && initgroups && setegid && seteuid && setgroups)) {
    throw new Error('this system knows no user ids')
  }
  return { getegid, getgroups, initgroups, setegid, seteuid, setgroups }
}
