/** Whether system users and groups exist, asked of the name service as the engine itself will ask it. */
import { execa } from 'execa'
import { SluiceError } from '../base/error.js'
import { ROLE_ENVIRONMENT } from './role.js'

export const USER_LOOKUP_DEADLINE_MS = 5_000
/** getent(1): the name is not there. */
const NO_SUCH_KEY = 2

/** Null: the name service could not be asked. */
export async function systemUserExists(name: string): Promise<boolean | null> {
  const result = await execa('id', ['-u', '--', name], { ...LOOKUP, stdio: 'ignore' })
  return result.exitCode === undefined ? null : result.exitCode === 0
}

/** Null: there is no such group. Throws IO where the name service can't be asked. */
export async function groupIdOf(name: string): Promise<number | null> {
  const result = await execa('getent', ['group', '--', name], { ...LOOKUP, stdin: 'ignore' })
  if (result.exitCode === NO_SUCH_KEY) return null
  const gid = /^[^:]*:[^:]*:(\d+):/.exec(result.stdout)?.[1]
  if (result.failed || gid === undefined) {
    throw new SluiceError('IO', `the name service can't be asked for the group ${name}`)
  }
  return Number(gid)
}

const LOOKUP = {
  cwd: '/',
  env: ROLE_ENVIRONMENT,
  extendEnv: false,
  reject: false,
  timeout: USER_LOOKUP_DEADLINE_MS,
} as const
