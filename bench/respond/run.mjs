/**
 * From the beginning of something that should stop to the moment when it does, with real processes: how long, and how much got through meanwhile.
 * A program started again and again, which a detector tells; connects on eight threads beyond a limit, which is the kernel's own; each slowed, and
 * frozen.
 *
 *   node bench/run.mjs respond [ROUNDS]        needs root and python3; about 20 s a round
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'

const SLUICE = fileURLToPath(new URL('../../bin/sluice', import.meta.url))
const STORM = `sh -c 'n=0; while [ $n -lt 400 ]; do /bin/true again; n=$((n+1)); done; :'`
const RATE = 10
const BURST = 20

/** Connects as fast as it can on eight threads for so many seconds. Prints how many got through, how many did not, and how long it took. */
const CONNECTS = `
import socket, sys, threading, time
port, seconds = int(sys.argv[1]), float(sys.argv[2])
begin = time.monotonic()
counts = []
def connect():
    through = refused = 0
    while time.monotonic() < begin + seconds:
        try:
            socket.create_connection(('127.0.0.1', port)).close()
            through += 1
        except PermissionError:
            refused += 1
    counts.append((through, refused))
threads = [threading.Thread(target=connect) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sum(c[0] for c in counts), sum(c[1] for c in counts), time.monotonic() - begin)
`

function watched(policy, command) {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  try {
    const [file, record] = [join(dir, 'policy.yaml'), join(dir, 'record.jsonl')]
    writeFileSync(file, `version: 1\nname: bench\n${policy}\n`)
    const args = ['run', '--own', '--policy', file, '--record', record, '--summary', 'none', '--', ...command]
    const { status, stdout, stderr } = spawnSync(SLUICE, args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`the run ended with ${status}: ${stderr}`)
    const lines = readFileSync(record, 'utf8').trimEnd().split('\n')
    return { stdout, events: lines.map((line) => JSON.parse(line)) }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const msOf = ({ time }) => Date.parse(time)
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]

/** How long from the first of the storm, and how many of it, until each of the steps. */
function stormed(action) {
  const respond = `respond: {exec_storm: [{do: ${action}, for: 1s}]}`
  const { events } = watched(`mode: monitor\n${respond}`, ['bash', '-c', `${STORM}; :`])
  const storm = events.filter(({ exec, process }) => exec && process.args[1] === 'again').map(msOf)
  const until = (event) => ({
    ms: msOf(event) - storm[0],
    calls: storm.filter((at) => at <= msOf(event)).length,
  })
  const detection = events.find((event) => event.detection?.detector === 'exec_storm')
  const applied = events.find(({ response }) => response?.state === 'APPLIED')
  return { detected: until(detection), applied: until(applied) }
}

function limited(respond, seconds) {
  const policy = `mode: enforce
allow_brokers: true
allow_privileged: true
local: {listeners: any}
detect: {volume: {off: true}, retry_storm: {off: true}}
limits: {connects: {rate: ${RATE}/s, burst: ${BURST}}}
${respond}`
  const { port, close } = listener()
  try {
    const { stdout, events } = watched(policy, ['python3', '-c', CONNECTS, String(port), String(seconds)])
    const [through, refused, took] = stdout.trim().split(' ').map(Number)
    const first = events.find(({ connect }) => connect?.verdict.rule === 'limits.connects')
    const applied = events.find(({ response }) => response?.state === 'APPLIED')
    const made = events.filter(({ connect }) => connect?.port === port && connect.verdict.decision === 'ALLOW')
    return {
      through,
      refused,
      most: BURST + Math.floor(RATE * took),
      ...(applied ? { frozenMs: msOf(applied) - msOf(first) } : {}),
      before: made.filter((event) => applied && msOf(event) > msOf(first) && msOf(event) <= msOf(applied)).length,
    }
  } finally {
    close()
  }
}

/** In a thread of its own: this one waits for the run. */
function listener() {
  const shared = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(new URL(import.meta.url), { workerData: { listen: shared } })
  Atomics.wait(shared, 0, 0, 10_000)
  return { port: Atomics.load(shared, 0), close: () => void worker.terminate() }
}

export async function run([rounds = '3']) {
  const times = Array.from({ length: Number(rounds) })
  const storms = ['throttle', 'freeze'].map((action) => [action, times.map(() => stormed(action))])
  console.table(
    storms.flatMap(([action, all]) =>
      ['detected', 'applied'].map((step) => ({
        'a program again and again': step === 'detected' ? 'told' : action,
        'ms from the first (median)': median(all.map((each) => each[step].ms)),
        'of them started (median)': median(all.map((each) => each[step].calls)),
      })),
    ),
  )
  const slowed = times.map(() => limited('', 3))
  const frozen = times.map(() => limited('respond: {limits: [{do: freeze, for: 2s}]}', 1))
  console.table(
    slowed.map(({ through, most, refused }) => ({
      'connects, 8 threads': `${RATE}/s, ${BURST} at once`,
      ...{ 'got through': through, 'may (burst + rate × time)': most, refused },
    })),
  )
  console.table([
    {
      'connects, 8 threads': 'frozen at the limit',
      'ms from the first refused (median)': median(frozen.map(({ frozenMs }) => frozenMs)),
      'got through meanwhile (most)': Math.max(...frozen.map(({ before }) => before)),
      'refused in all (median)': median(frozen.map(({ refused }) => refused)),
    },
  ])
}

if (!isMainThread && workerData?.listen) {
  const server = createServer((socket) => socket.on('error', () => {}).end())
  server.listen(0, '127.0.0.1', () => {
    Atomics.store(workerData.listen, 0, server.address().port)
    Atomics.notify(workerData.listen, 0)
  })
}
