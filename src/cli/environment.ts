/**
 * The one place of the command line that reads environment variables: once, at the start, into one value. Also settles what the
 * environment of a watched command is. Nothing later looks at process.env.
 */
import { SluiceError } from '../base/error.js'
import type { LogLevel } from '../base/log.js'

/** Spelt out again, as base/log.ts brings the whole logger with it. */
export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const satisfies readonly LogLevel[]

/** The system user that the engine runs as. */
export const ENGINE_USER = 'sluice-engine'
/** The one that the gateway runs as. */
export const GATEWAY_USER = 'sluice-gateway'

export const COLOR_MODES = ['auto', 'always', 'never'] as const
export type ColorMode = (typeof COLOR_MODES)[number]

/** The user who called sudo. By ids only: what SUDO_USER says may have another uid by now. */
export interface Invoker {
  readonly uid: number
  readonly gid: number
}

export interface Environment {
  /** Null where the flag alone decides. */
  readonly color: ColorMode | null
  readonly logLevel: LogLevel | null
  /** The agent's control socket, and the configuration file; null where the flag alone decides. */
  readonly socket: string | null
  readonly config: string | null
  /** SLUICE_JOURNAL: the folder with the sessions' journals; null where the configuration decides. */
  readonly journal: string | null
  /** Where the user's own configuration is; null: nowhere. */
  readonly userConfigHome: string | null
  /** SLUICE_START_SECONDS: how long our own parts may take to start, for emulated machines; null: the usual. */
  readonly startDeadlineMs: number | null
  /** Of the service manager that wants to hear when we are ready. */
  readonly notifySocket: string | null
  /** Null: not started by sudo, or by root through sudo. */
  readonly invoker: Invoker | null
  /** As it is; `commandEnvironment` makes a command's from it. */
  readonly variables: Readonly<Record<string, string>>
}

/** Throws USAGE for a `SLUICE_*` variable with a value it can't have. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>> = process.env): Environment {
  const variables: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) if (value !== undefined) variables[name] = value
  const color = oneOf('SLUICE_COLOR', variables.SLUICE_COLOR, COLOR_MODES)
  const plain = (variables.NO_COLOR ?? '') !== '' || variables.TERM === 'dumb'
  return {
    color: color ?? (plain ? 'never' : null),
    logLevel: oneOf('SLUICE_LOG_LEVEL', variables.SLUICE_LOG_LEVEL, LOG_LEVELS),
    socket: variables.SLUICE_SOCKET || null,
    config: variables.SLUICE_CONFIG || null,
    journal: journal(variables.SLUICE_JOURNAL),
    userConfigHome: userConfigHome(variables),
    startDeadlineMs: startDeadlineMs(variables.SLUICE_START_SECONDS),
    notifySocket: variables.NOTIFY_SOCKET || null,
    invoker: readInvoker(variables),
    variables,
  }
}

/** As the XDG base directory specification has it: a relative path does not count. */
function userConfigHome({ XDG_CONFIG_HOME, HOME }: Readonly<Record<string, string>>): string | null {
  if (XDG_CONFIG_HOME?.startsWith('/')) return XDG_CONFIG_HOME
  return HOME?.startsWith('/') ? `${HOME}/.config` : null
}

function journal(path: string | undefined): string | null {
  if (path === undefined || path === '') return null
  if (path.startsWith('/')) return path
  throw new SluiceError('USAGE', `SLUICE_JOURNAL is '${path}': it must be an absolute path`)
}

function oneOf<T extends string>(name: string, value: string | undefined, allowed: readonly T[]): T | null {
  if (value === undefined || value === '') return null
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) {
    throw new SluiceError('USAGE', `${name} is '${value}': it must be one of ${allowed.join(', ')}`)
  }
  return found
}

function startDeadlineMs(text: string | undefined): number | null {
  if (text === undefined || text === '') return null
  const seconds = /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (seconds === 0) throw new SluiceError('USAGE', `SLUICE_START_SECONDS is '${text}': it must be 1 to 999`)
  return seconds * 1000
}

function readInvoker(variables: Readonly<Record<string, string>>): Invoker | null {
  const uid = readId(variables.SUDO_UID)
  const gid = readId(variables.SUDO_GID)
  if (uid === null || gid === null || uid === 0) return null
  return { uid, gid }
}

function readId(text: string | undefined): number | null {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return null
  const id = Number(text)
  return id <= 0xffff_fffe ? id : null
}

/** What the password database says of a user; `name` is null for a uid that has no entry. */
export interface Account {
  readonly name: string | null
  readonly uid: number
  readonly gid: number
  readonly home: string
  readonly shell: string
}

const SUDO_VARIABLES: readonly string[] = ['SUDO_USER', 'SUDO_UID', 'SUDO_GID', 'SUDO_COMMAND', 'SUDO_HOME']

/**
 * The environment of the command: ours, with what names the user corrected when it runs as another one (`account`), as if that
 * user had started it: sudo leaves root's HOME in place on many systems, and a program that believes it writes to /root.
 * Known hole: Node reads the environment as UTF-8, a variable that is not is passed on with U+FFFD in it.
 */
export function commandEnvironment(environment: Environment, account: Account | null): Record<string, string> {
  const variables = { ...environment.variables }
  if (account === null) return variables
  for (const name of SUDO_VARIABLES) delete variables[name]
  variables.HOME = account.home
  variables.SHELL = account.shell
  delete variables.MAIL
  if (account.name !== null) {
    variables.USER = account.name
    variables.LOGNAME = account.name
  }
  return variables
}
