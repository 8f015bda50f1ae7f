/** Names of users by their uid, as /etc/passwd has them. Guards nothing; a uid without a name there is shown as a number. */
import { readFileSync } from 'node:fs'

export function userNames(passwd: string = readPasswd()): (uid: number) => string {
  const names = new Map<number, string>()
  for (const line of passwd.split('\n')) {
    const [name, , uid] = line.split(':')
    if (name !== undefined && uid !== undefined && /^\d+$/.test(uid) && !names.has(Number(uid))) {
      names.set(Number(uid), name)
    }
  }
  return (uid) => names.get(uid) ?? String(uid)
}

function readPasswd(): string {
  try {
    return readFileSync('/etc/passwd', 'utf8')
  } catch {
    return ''
  }
}
