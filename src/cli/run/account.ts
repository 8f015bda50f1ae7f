/**
 * Who the command runs as. Guards the rule of `sluice run`: the user who called sudo unless `--user` says otherwise; root keeps the
 * right to gain privileges only where `--user root` asked for it; and nothing runs as the user of one of our own parts. Looking a user
 * up is `getent`'s, so that every source the host has configured counts.
 */
import { execa } from 'execa'
import { SluiceError } from '../../base/error.js'
import { ROLE_ENVIRONMENT } from '../../supervise/role.js'
import type { Account, Invoker } from '../environment.js'
import type { Identity } from './as-invoker.js'

const LOOKUP_DEADLINE_MS = 5000
const NO_SUCH_KEY = 2
const ROOT_UID = 0
const ROOT: Account = { name: 'root', uid: ROOT_UID, gid: 0, home: '/root', shell: '/bin/sh' }

export interface RunAs {
  /** For the launcher: a name, ids, or null: stay who we are. */
  readonly user: string | { readonly uid: number; readonly gid: number } | null
  readonly uid: number
  /** Whether the command may gain privileges (setuid programs work). */
  readonly newPrivileges: boolean
  /** For the event. */
  readonly label: string
  /** Of the user it changes to, to correct the environment; null where it does not change. */
  readonly account: Account | null
}

export interface RunAsRequest {
  /** A name or a uid; null: whoever started us. */
  readonly requested: string | null
  readonly invoker: Identity | null
  /** That parts of ours run as: their uids are refused. */
  readonly ownUsers: readonly string[]
}

/** The user who called sudo, by the uid: a name may have gone since, or never have been one. */
export async function identify(invoker: Invoker | null): Promise<Identity | null> {
  if (invoker === null) return null
  const { uid, gid } = invoker
  return { uid, gid, name: (await lookUp(String(uid)))?.name ?? null }
}

/** Throws USAGE for a `--user` nobody knows, and for one that a part of ours runs as. */
export async function resolveRunAs({ requested, invoker, ownUsers }: RunAsRequest): Promise<RunAs> {
  const own = process.geteuid?.() ?? ROOT_UID
  if (own !== ROOT_UID) return asOneself(own, requested)
  if (requested === null && invoker === null) {
    return { user: null, uid: ROOT_UID, newPrivileges: false, label: 'root', account: null }
  }
  if (requested === 'root' || (requested !== null && /^0+$/.test(requested))) {
    const account = { ...ROOT, ...(await lookUp('root')) }
    return { user: 'root', uid: ROOT_UID, newPrivileges: true, label: 'root', account }
  }
  const [runAs, ...ours] = await Promise.all([
    requested === null ? asInvokingUser(invoker) : asRequested(requested),
    ...ownUsers.map(lookUp),
  ])
  if (ours.some((account) => account?.uid === runAs.uid)) {
    const what = requested === null ? `the user who called sudo, ${runAs.label},` : `--user '${requested}'`
    throw new SluiceError('USAGE', `${what} is who a part of Sluice runs as: a command must not share that`, {
      hint: 'choose another with --user',
    })
  }
  return runAs
}

/** Without root nobody becomes somebody else. */
async function asOneself(uid: number, requested: string | null): Promise<RunAs> {
  const account = await lookUp(String(uid))
  if (requested !== null && requested !== account?.name && requested !== String(uid)) {
    throw new SluiceError('PRIVILEGE', `--user '${requested}': running as another user takes root`, {
      hint: 'run it with sudo',
    })
  }
  return { user: null, uid, newPrivileges: false, label: account?.name ?? String(uid), account: null }
}

async function asRequested(requested: string): Promise<RunAs> {
  const account = await lookUp(requested)
  if (account === null) throw new SluiceError('USAGE', `--user '${requested}': no such user`)
  const { uid, gid } = account
  const isNumber = /^\d+$/.test(requested)
  const label = account.name ?? requested
  return { user: isNumber ? { uid, gid } : requested, uid, newPrivileges: false, label, account }
}

/** Also for a uid without an entry: the user is there, whatever the password database says. */
async function asInvokingUser(invoker: Identity | null): Promise<RunAs> {
  const { uid, gid } = invoker ?? ROOT
  const account = (await lookUp(String(uid))) ?? { name: null, uid, gid, home: '/', shell: '/bin/sh' }
  return { user: { uid, gid }, uid, newPrivileges: false, label: account.name ?? String(uid), account }
}

/** Digits are a uid. Null for one that is not there. */
async function lookUp(user: string): Promise<Account | null> {
  const result = await execa('getent', ['passwd', '--', user], {
    cwd: '/',
    // Ours may have no PATH, or one that leads elsewhere.
    env: ROLE_ENVIRONMENT,
    extendEnv: false,
    reject: false,
    timeout: LOOKUP_DEADLINE_MS,
    stdin: 'ignore',
  })
  if (result.exitCode === NO_SUCH_KEY) return null
  if (result.failed) {
    throw new SluiceError('IO', `can't look up user '${user}': getent ${result.shortMessage ?? 'failed'}`)
  }
  return parsePasswd(result.stdout)
}

/** A line of passwd(5); null for anything else. */
export function parsePasswd(line: string): Account | null {
  const [name = '', , uid = '', gid = '', , home, shell] = line.split('\n', 1)[0]?.split(':') ?? []
  if (name === '' || !/^\d+$/.test(uid) || !/^\d+$/.test(gid) || home === undefined) return null
  return {
    name,
    uid: Number(uid),
    gid: Number(gid),
    home: home === '' ? '/' : home,
    shell: shell === undefined || shell === '' ? '/bin/sh' : shell,
  }
}
