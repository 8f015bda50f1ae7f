/**
 * The small native program that waits until the command's process is under watch and then becomes it. Guards the first
 * instruction: nothing of the command runs before `release`. What the launcher applies (privileges, user) is its own business.
 */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex, Readable } from 'node:stream'
import { execa } from 'execa'
import { SluiceError } from '../../base/error.js'
import { NATIVE_DIR } from '../../base/installation.js'
import { type ChildStatus, childStatus } from '../exit-code.js'
import type { RunAs } from './account.js'

const SYNC_FD = 3
const STATUS_FD = 4
/** Longest status line that is kept; a real one is below 40 bytes. */
const STATUS_MAX_BYTES = 256

export interface LaunchOptions {
  readonly command: readonly [string, ...string[]]
  readonly workdir: string
  readonly runAs: RunAs
  readonly env: Readonly<Record<string, string>>
  /** Folders that the command finds empty. */
  readonly hidden: readonly string[]
  /** Files that it finds to be nothing. */
  readonly covered: readonly string[]
  /** Refuses it what a command under a policy does without. */
  readonly confine: boolean
  /** Its processes can't get at each other's memory; with `confine` only. */
  readonly apart: boolean
}

/** Why the command did not become a process of its own. `stage` is the launcher's word for the step that failed. */
export interface LaunchFailure {
  readonly stage: string
  readonly errno: number
  /** How the launcher ended, where that is all that is known. */
  readonly end?: ChildStatus
}

export interface Launched {
  readonly pid: number
  readonly exited: Promise<ChildStatus>
  /** Null once the command runs. */
  readonly failure: Promise<LaunchFailure | null>
  /** Lets the command start. */
  release(): void
  /** Ends a launcher that still waits; a command that was let start is left alone. Resolves when that is settled. */
  abandon(): Promise<void>
  signal(name: NodeJS.Signals): void
}

export const LAUNCHER = join(NATIVE_DIR, 'launch')

/** Starts the launcher, which waits. Throws NOT_BUILT or IO. The process shares our stdin, stdout, stderr and process group. */
export async function startLauncher(options: LaunchOptions): Promise<Launched> {
  const path = LAUNCHER
  if (!existsSync(path)) {
    throw new SluiceError('NOT_BUILT', `the launcher ${path} is missing`, { hint: 'run npm run build' })
  }
  const subprocess = execa(path, launcherArguments(options), {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'],
    // It changes to the command's directory itself; ours may be gone.
    cwd: '/',
    buffer: false,
    reject: false,
    // If we die the command is left running, as nothing but watching depends on us.
    cleanup: false,
    extendEnv: false,
    env: Object.fromEntries(Object.entries(options.env).filter(([name]) => !isLoaders(name))),
  })
  const exited = new Promise<ChildStatus>((resolve) => {
    subprocess.once('exit', (code, signal) => resolve(childStatus(code, signal)))
  })
  if (subprocess.pid === undefined) {
    const { code, originalMessage } = await subprocess
    throw new SluiceError('IO', `the launcher ${path} does not start: ${code ?? originalMessage ?? 'unknown cause'}`, {
      hint: 'it must be executable, and so must be what is on its file system (mount option noexec?); npm run build makes it',
    })
  }
  const sync = subprocess.stdio[SYNC_FD] as unknown as Duplex
  const status = subprocess.stdio[STATUS_FD] as unknown as Readable
  // A launcher that is gone closes its ends; its exit says all there is to say.
  sync.on('error', () => {})
  sync.resume()
  let running = true
  let released = false
  void exited.then(() => {
    running = false
    sync.destroy()
  })
  return {
    pid: subprocess.pid,
    exited,
    failure: readFailure(status),
    release() {
      released = true
      sync.end('G')
    },
    async abandon() {
      if (released || !running) return
      subprocess.kill('SIGKILL')
      await exited
    },
    signal(name) {
      if (running) subprocess.kill(name)
    },
  }
}

/**
 * Variables by which the dynamic loader and libc load or run other code: in the launcher's own environment that code would run before
 * the process is watched, and with the launcher's privileges.
 */
function isLoaders(name: string): boolean {
  return name.startsWith('LD_') || name === 'GLIBC_TUNABLES' || name === 'GCONV_PATH'
}

function launcherArguments({ command, workdir, runAs, hidden, covered, confine, apart, env }: LaunchOptions): string[] {
  return [
    ...['--sync-fd', String(SYNC_FD), '--status-fd', String(STATUS_FD)],
    ...userArguments(runAs.user),
    ...(runAs.newPrivileges ? ['--new-privs'] : []),
    ...filesLimitOfCaller(),
    ...hidden.flatMap((dir) => ['--hide', dir]),
    ...covered.flatMap((file) => ['--cover', file]),
    ...(confine ? ['--confine'] : []),
    ...(apart ? ['--apart'] : []),
    ...Object.entries(env).flatMap(([name, value]) => (isLoaders(name) ? ['--env', `${name}=${value}`] : [])),
    ...['--chdir', workdir, '--', ...command],
  ]
}

function userArguments(user: RunAs['user']): string[] {
  if (user === null) return []
  return typeof user === 'string' ? ['--user', user] : ['--uid', String(user.uid), '--gid', String(user.gid)]
}

/**
 * Node has raised our own soft limit before any of our code ran, and nothing tells what it was; so it is read from the process that
 * called us. Known hole: a shell that lowers its own limit and becomes us by `exec` is gone, its caller's limit is found instead.
 */
function filesLimitOfCaller(): string[] {
  const limits = readParentLimits()
  const soft = limits === null ? null : /^Max open files\s+(\d+)\s/m.exec(limits)
  return soft?.[1] === undefined ? [] : ['--files-soft-limit', soft[1]]
}

function readParentLimits(): string | null {
  try {
    return readFileSync(`/proc/${process.ppid}/limits`, 'utf8')
  } catch {
    return null
  }
}

/** What comes before the end of the status pipe: nothing, or one line. */
function readFailure(status: Readable): Promise<LaunchFailure | null> {
  return new Promise((resolve) => {
    let text = ''
    const done = () => resolve(parseLaunchFailure(text))
    status.on('data', (chunk: Buffer) => {
      if (text.length < STATUS_MAX_BYTES) text += chunk.toString('latin1')
    })
    status.once('end', done)
    status.once('error', done)
    status.once('close', done)
  })
}

/** `<stage> <errno>`; null for an empty text. */
export function parseLaunchFailure(text: string): LaunchFailure | null {
  const line = text.split('\n', 1)[0] ?? ''
  if (line === '') return null
  const match = /^(\S+) (\d{1,5})$/.exec(line)
  return match === null
    ? { stage: line.slice(0, STATUS_MAX_BYTES), errno: 0 }
    : { stage: match[1] ?? '', errno: Number(match[2]) }
}
