/**
 * Runs a command under `sluice run --record` and measures what each of our processes took: CPU, and memory at its highest. Looks at
 * /proc while they live, so the last few milliseconds of each are not in it. Reads from the record what was told and what was lost.
 */
import { spawn } from 'node:child_process'
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What a run of nothing takes: starting and stopping. */
export async function idleRun() {
  return measuredRun(['true'])
}

const SLUICE = fileURLToPath(new URL('../bin/sluice', import.meta.url))
const LOOK_MS = 20
const TICKS_PER_S = 100
const MIB = 1024 * 1024

/**
 * @param command argv of what runs in the sandbox
 * @param options of `run`; `nodeArgs` are for the command line's own process
 */
export async function measuredRun(command, { options = [], nodeArgs = [] } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  try {
    const record = join(dir, 'record.jsonl')
    const args = [
      ...nodeArgs,
      SLUICE,
      'run',
      '--own',
      '--record',
      record,
      '--summary',
      'none',
      ...options,
      '--',
      ...command,
    ]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const parts = new Map()
    const series = []
    const timer = setInterval(() => {
      look(child.pid, parts)
      series.push([...parts.values()])
    }, LOOK_MS)
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk) => (stdout += chunk))
    child.stderr.on('data', (chunk) => (stderr += chunk))
    const code = await new Promise((resolve) => child.once('close', resolve))
    clearInterval(timer)
    if (code !== 0) throw new Error(`${command.join(' ')} under sluice run ended with ${code}: ${stderr}`)
    return { stdout, stderr, parts: Object.fromEntries(parts), series, record: await readRecord(record) }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

export function cpuOf(parts) {
  return Object.values(parts).reduce((sum, part) => sum + part.cpuS, 0)
}

/** The command line and the roles it started. */
function look(cli, parts) {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const found = partOf(Number(pid), cli)
    if (found !== null) parts.set(found.name, found)
  }
}

/** Null: it is none of that process, or gone. */
export function partOf(pid, cli) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (pid !== cli && Number(fields[1]) !== cli) return null
    const role = /\/dist\/(\w+)\/main\.js/.exec(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))?.[1]
    const name = pid === cli ? 'cli' : role
    if (name === undefined) return null
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const rss = /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]
    const now = /^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]
    if (rss === undefined || now === undefined) return null // it is ending
    const cpuS = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S
    return { name, cpuS, rssMaxMiB: (Number(rss) * 1024) / MIB, rssMiB: (Number(now) * 1024) / MIB }
  } catch {
    return null // it has just ended
  }
}

/** Counts by kind without keeping the record in memory. The kind is the last but for what it holds: the first known key behind `process`. */
async function readRecord(path) {
  const kinds = {}
  const lost = {}
  let bytes = 0
  let rest = ''
  for await (const chunk of createReadStream(path, { encoding: 'latin1', highWaterMark: MIB })) {
    bytes += chunk.length
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()
    for (const line of lines) count(line, kinds, lost)
  }
  return { kinds, lost, bytes }
}

const KIND =
  /"(fileOpen|exec|exit|connect|fileChange|execFailed|connectionClosed|listen|stdin|gap|sandboxStarted|sandboxEnded)":\{/

function count(line, kinds, lost) {
  const kind = KIND.exec(line)?.[1] ?? 'other'
  const events = kind === 'fileOpen' ? Number(/"count":"(\d+)"/.exec(line)?.[1] ?? 1) : 1
  kinds[kind] = (kinds[kind] ?? 0) + events
  if (kind !== 'gap') return
  const { gap } = JSON.parse(Buffer.from(line, 'latin1').toString())
  const of = gap.kind === '' ? 'any' : gap.kind
  lost[of] = (lost[of] ?? 0) + Number(gap.count)
}
