/**
 * A `sluice run` that is looked at, or hurt, while it runs: its processes by pid, and what it left when it is gone. Everything is found
 * from the run's own pid, so that other runs on the machine don't matter.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroupMount } from './cgroup-folder.js'
import { patient } from './patience.js'
import { SLUICE_BIN } from './sluice-run.js'

const STEP_MS = 10
/** What is waited for comes within moments; a machine that is busy with other things takes its time. */
const DEADLINE_MS = patient(60_000)

export interface Parts {
  readonly cli: number
  readonly sensor: number
  readonly engine: number
  /** The launcher, later the command. */
  readonly command: number
}

/** What the kernel and the disk hold for one run. */
export interface Traces {
  readonly runDir: string
  readonly cgroup: string
  readonly programs: readonly number[]
}

export interface SluiceProcess {
  readonly child: ChildProcess
  readonly record: string
  readonly result: Promise<{ exitCode: number | null; signal: string | null; stdout: string; stderr: string }>
  /** Resolves when the command runs (not the launcher any more). */
  running(): Promise<Parts>
}

export interface SluiceProcessOptions {
  /** For the record. */
  dir: string
  options?: string[]
  env?: NodeJS.ProcessEnv
  cwd?: string
}

export function startSluice(command: string[], given: SluiceProcessOptions): SluiceProcess {
  const record = join(given.dir, `record-${Math.random().toString(36).slice(2)}.jsonl`)
  const args = ['run', '--record', record, '--summary', 'none', ...(given.options ?? []), '--', ...command]
  const child = spawn(SLUICE_BIN, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(given.env === undefined ? {} : { env: given.env }),
    ...(given.cwd === undefined ? {} : { cwd: given.cwd }),
  })
  const ended = new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('exit', (code, signal) => resolve([code, signal]))
    child.once('error', reject)
  })
  const outputs = [child.stdout, child.stderr].map((stream) => (stream === null ? '' : text(stream)))
  return {
    child,
    record,
    result: Promise.all([ended, ...outputs]).then(([[exitCode, signal], stdout = '', stderr = '']) => ({
      exitCode,
      signal,
      stdout: stdout as string,
      stderr: stderr as string,
    })),
    running: () => until('the command runs', () => partsOf(child.pid ?? 0)),
  }
}

/** Calls `look` until it gives something. */
export async function until<T>(what: string, look: () => T | null | false | undefined): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS
  for (;;) {
    const found = look()
    if (found !== null && found !== false && found !== undefined) return found
    if (performance.now() > deadline) throw new Error(`in vain waited that ${what}`)
    await sleep(STEP_MS)
  }
}

export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => statOf(Number(name))?.ppid === pid)
    .map(Number)
}

export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

/** A zombie is no process that still does something. */
export function isAlive(pid: number): boolean {
  const stat = statOf(pid)
  return stat !== null && stat.state !== 'Z' && stat.state !== 'X'
}

/** Whether a signal has stopped it (proc(5), state T), and it runs no more instruction. */
export function isStopped(pid: number): boolean {
  return statOf(pid)?.state === 'T'
}

function statOf(pid: number): { state: string; ppid: number } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state = '', ppid = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state, ppid: Number(ppid) }
  } catch {
    return null
  }
}

/** The waiting launcher of a run, as soon as there is one. */
export function launcherOf(cli: number): number | null {
  return childrenOf(cli).find((pid) => commandLine(pid).includes('/launch --sync-fd')) ?? null
}

function partsOf(cli: number): Parts | null {
  const children = childrenOf(cli)
  const role = (name: string) => children.find((pid) => commandLine(pid).includes(`/dist/${name}/main.js`))
  const sensor = role('sensor')
  const engine = role('engine')
  const command = children.find((pid) => pid !== sensor && pid !== engine && /^0::\/sluice\//m.test(cgroupText(pid)))
  if (sensor === undefined || engine === undefined || command === undefined) return null
  return commandLine(command).includes('/launch --sync-fd') ? null : { cli, sensor, engine, command }
}

function cgroupText(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8')
  } catch {
    return ''
  }
}

/** Below the cgroup v2 root. */
export function cgroupOf(pid: number): string {
  return /^0::(.*)$/m.exec(cgroupText(pid))?.[1] ?? ''
}

/** To be read while the run lives. */
export function tracesOf({ sensor, command }: Parts): Traces {
  const links = readdirSync(`/proc/${sensor}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${sensor}/fd/${fd}`)
    } catch {
      return ''
    }
  })
  const lock = links.find((link) => /^\/run\/sluice\/run-[^/]+\/lock$/.test(link))
  if (lock === undefined) throw new Error('the sensor holds no lock')
  return { runDir: dirname(lock), cgroup: join(cgroupMount() ?? '', cgroupOf(command)), programs: programsOf(sensor) }
}

/** Kernel ids of the BPF programs that a process holds. */
export function programsOf(pid: number): number[] {
  const ids = new Set<number>()
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    const id = /^prog_id:\s*(\d+)$/m.exec(descriptorOf(pid, fd))?.[1]
    if (id !== undefined) ids.add(Number(id))
  }
  return [...ids]
}

/** What the kernel says of a descriptor; empty for one that was closed since the descriptors were listed. */
function descriptorOf(pid: number, fd: string): string {
  try {
    return readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8')
  } catch {
    return ''
  }
}

/** What is still there of a run that is over; empty when it left nothing. `programExists` asks the kernel for an id. */
export function remains(traces: Traces, pids: readonly number[], programExists: (id: number) => boolean): string[] {
  return [
    ...pids.filter(isAlive).map((pid) => `process ${pid}: ${commandLine(pid)}`),
    ...[traces.runDir, traces.cgroup].filter((path) => existsSync(path)),
    ...traces.programs.filter(programExists).map((id) => `BPF program ${id}`),
  ]
}
