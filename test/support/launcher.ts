/** Starts build/Release/launch as the supervisor does: a sync and a status pipe beside stdin, stdout and stderr. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export const LAUNCHER = fileURLToPath(new URL('../../build/Release/launch', import.meta.url))
const SYNC_FD = 3
const STATUS_FD = 4

export interface LaunchResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** What came over the status pipe: empty if the command was executed. */
  readonly status: string
}

export interface Launched {
  readonly child: ChildProcess
  /** Writes to the sync pipe and closes it. `null` only closes it. */
  go(byte: string | null): void
  readonly result: Promise<LaunchResult>
}

export interface LaunchOptions {
  /** Between `--status-fd 4` and `--`. */
  readonly options?: readonly string[]
  readonly dir?: string
  readonly command: readonly string[]
  readonly env?: Record<string, string>
  readonly uid?: number
}

function publicCopy(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  chmodSync(dir, 0o755)
  const copy = join(dir, 'launch')
  copyFileSync(LAUNCHER, copy)
  return copy
}

export function launch({ options = [], dir = '/', command, env, uid }: LaunchOptions): Launched {
  const args = ['--sync-fd', `${SYNC_FD}`, '--status-fd', `${STATUS_FD}`, ...options, '--chdir', dir, '--', ...command]
  // Another user may not be able to reach the checkout.
  const copy = uid === undefined ? null : publicCopy()
  const child = spawn(copy ?? LAUNCHER, args, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    ...(env === undefined ? {} : { env }),
    ...(uid === undefined ? {} : { uid, gid: uid }),
  })
  const sync = child.stdio[SYNC_FD] as Writable
  // A launcher that refused its options is gone before the go.
  sync.on('error', () => {})
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('close', (code, signal) => resolve([code, signal]))
    child.once('error', reject)
    child.once('close', () => copy !== null && rmSync(dirname(copy), { recursive: true }))
  })
  const outputs = [child.stdout, child.stderr, child.stdio[STATUS_FD]].map((stream) => text(stream as Readable))
  return {
    child,
    go(byte) {
      if (byte === null) sync.end()
      else sync.end(byte)
    },
    result: Promise.all([ended, ...outputs]).then(([[code, signal], stdout = '', stderr = '', status = '']) => ({
      code,
      signal,
      stdout: stdout as string,
      stderr: stderr as string,
      status: status as string,
    })),
  }
}

/** Starts it and says go at once. */
export function launchNow(options: LaunchOptions): Promise<LaunchResult> {
  const launched = launch(options)
  launched.go('G')
  return launched.result
}
