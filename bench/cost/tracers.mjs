/**
 * Ways to watch the same work: nothing, Sluice, and its peers. Each gives a function that runs the load under it and tells what the load
 * said, what was recorded and what the tracer's own processes took; or why it can't be had here.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { cpuOf, idleRun, measuredRun } from '../measured-run.mjs'
import { cpuSeconds, hasProgram } from './processes.mjs'

const SLUICE = fileURLToPath(new URL('../../bin/sluice', import.meta.url))
const READY_MS_MAX = 20_000

/** Kind of event that a load makes. */
export const KIND_OF = { execs: 'exec', opens: 'fileOpen', distinct: 'fileOpen', connects: 'connect' }

export function plain(load) {
  const { stdout, status, stderr } = spawnSync(load[0], load.slice(1), { encoding: 'utf8' })
  if (status !== 0) throw new Error(`the load ended with ${status}: ${stderr}`)
  return JSON.parse(stdout)
}

export async function sluiceTracer() {
  const idle = cpuOf((await idleRun()).parts)
  return async (load) => {
    const { stdout, parts, record } = await measuredRun(load)
    const kind = KIND_OF[load[1]]
    return {
      ...JSON.parse(stdout),
      ownS: cpuOf(parts) - idle,
      recorded: record.kinds[kind] ?? 0,
      lost: record.lost[kind] ?? 0,
    }
  }
}

/** The load is nobody's, while something else is in a sandbox. `stop` ends that. */
export async function besideSluice() {
  const args = ['run', '--own', '--summary', 'none', '--', 'sh', '-c', 'echo ready; exec sleep 3600']
  const child = spawn(SLUICE, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await new Promise((resolve) => child.stdout.once('data', resolve))
  return {
    trace: async (load) => ({ ...plain(load), ownS: null, recorded: 0, lost: 0 }),
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

export function straceTracer() {
  if (!hasProgram('strace')) return null
  return (load) =>
    inFolder(async (dir) => {
      const log = join(dir, 'log')
      const args = ['-f', '-qq', '-e', 'trace=execve,openat,connect', '-o', log, ...load]
      const { stdout } = spawnSync('strace', args, { encoding: 'utf8' })
      return {
        ...JSON.parse(stdout),
        ownS: null,
        recorded: await countLines(log, / (?:execve|openat|connect)\(/),
        lost: 0,
      }
    })
}

const BPFTRACE = `
tracepoint:syscalls:sys_enter_execve /comm == "load"/ { printf("exec %d ", pid); join(args->argv); }
tracepoint:syscalls:sys_enter_openat /comm == "load"/ { printf("open %d %s\\n", pid, str(args->filename)); }
tracepoint:syscalls:sys_enter_connect /comm == "load"/ { printf("connect %d %d\\n", pid, args->fd); }
`

/** In a mount namespace of its own with tracefs; all that it prints goes to a file. */
export function bpftraceTracer() {
  if (!hasProgram('bpftrace')) return null
  return (load) =>
    inFolder(async (dir) => {
      const script = join(dir, 'script.bt')
      const log = join(dir, 'log')
      writeFileSync(script, BPFTRACE)
      const command = `mount -t tracefs nodev /sys/kernel/tracing; exec bpftrace -o ${log} ${script}`
      const tracer = spawn('unshare', ['-m', 'sh', '-c', command], { stdio: ['ignore', 'ignore', 'pipe'] })
      let said = ''
      tracer.stderr.on('data', (chunk) => (said += chunk))
      const ended = new Promise((resolve) => tracer.once('exit', resolve))
      await attached(log, tracer)
      const before = cpuSeconds(tracer.pid)
      const result = plain(load)
      await sleep(300)
      const ownS = cpuSeconds(tracer.pid) - before
      tracer.kill('SIGINT')
      await ended
      const lost = [...`${said}${readFileSync(log, 'latin1').slice(-4096)}`.matchAll(/Lost (\d+) events/g)]
      const lostCount = lost.reduce((sum, [, n]) => sum + Number(n), 0)
      return { ...result, ownS, recorded: await countLines(log, /^(?:exec|open|connect) /), lost: lostCount }
    })
}

async function attached(log, tracer) {
  const until = performance.now() + READY_MS_MAX
  while (!(existsSync(log) && readFileSync(log, 'latin1').includes('Attaching'))) {
    if (performance.now() > until || tracer.exitCode !== null) throw new Error('bpftrace did not start')
    await sleep(50)
  }
  await sleep(1_000)
}

async function countLines(path, pattern) {
  let count = 0
  for await (const line of createInterface({ input: createReadStream(path, 'latin1') })) if (pattern.test(line)) count++
  return count
}

async function inFolder(body) {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  try {
    return await body(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
