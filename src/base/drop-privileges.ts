/**
 * Turns a root process into one user for good: no supplementary groups, that user's group, that user; then reads back that it
 * happened and that there is no way back. Not here: capabilities of a process that was never root.
 */
import { readFileSync } from 'node:fs'
import { errnoCode, messageOf, SluiceError } from './error.js'

const PASSWD = '/etc/passwd'

/** Finds a user in the text of passwd(5). Null if there is none of that name. */
export function findUser(passwd: string, name: string): { uid: number; gid: number } | null {
  for (const line of passwd.split('\n')) {
    const [user, , uid, gid] = line.split(':')
    if (user !== name || uid === undefined || gid === undefined) continue
    if (/^\d+$/.test(uid) && /^\d+$/.test(gid)) return { uid: Number(uid), gid: Number(gid) }
  }
  return null
}

/** By the same file; the number of a user who has no entry there (NSS is not asked). */
export function userNameOf(uid: number, read: () => string = () => readFileSync(PASSWD, 'utf8')): string {
  try {
    const line = read()
      .split('\n')
      .find((entry) => entry.split(':')[2] === String(uid))
    return line?.split(':')[0] || String(uid)
  } catch {
    return String(uid)
  }
}

/** `part`: which of ours does it. Throws PRIVILEGE if the user does not exist, is root, or if the process can still be something else. */
export function dropPrivileges(part: string, user: string): void {
  const found = findUser(readFileSync(PASSWD, 'utf8'), user)
  if (found === null) {
    throw new SluiceError('PRIVILEGE', `the ${part}'s user ${user} does not exist`, {
      hint: `useradd --system --no-create-home --shell /usr/sbin/nologin ${user} (or \`npm run setup\`)`,
    })
  }
  if (found.uid === 0 || found.gid === 0) {
    throw new SluiceError('PRIVILEGE', `the ${part} must not run as ${user}: it is root or in root's group`, {
      hint: 'name a user of its own',
    })
  }
  const { setgroups, setgid, setuid, getuid, geteuid, getgid, getegid, getgroups } = process
  if (!setgroups || !setgid || !setuid || !getuid || !geteuid || !getgid || !getegid || !getgroups) {
    throw new SluiceError('UNSUPPORTED', 'this system has no users')
  }
  try {
    setgroups([])
    setgid(found.gid)
    setuid(found.uid)
  } catch (error) {
    throw new SluiceError(
      'PRIVILEGE',
      `the ${part} could not become ${user}: ${errnoCode(error) ?? messageOf(error)}`,
      {
        hint: 'grant CAP_SETUID and CAP_SETGID (in a container: --cap-add for each)',
        cause: error,
      },
    )
  }
  const users = [getuid(), geteuid()]
  const groups = [getgid(), getegid(), ...getgroups()]
  const dropped = users.every((uid) => uid === found.uid) && groups.every((gid) => gid === found.gid)
  if (!dropped || canBecomeRoot(setuid)) {
    throw new SluiceError('PRIVILEGE', `the ${part} could not become ${user}: it is ${users} in groups ${groups}`)
  }
}

/** The saved user id would let a process back in. */
function canBecomeRoot(setuid: (id: number) => void): boolean {
  try {
    setuid(0)
    return true
  } catch {
    return false
  }
}
