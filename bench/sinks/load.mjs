/** An agent with a journal, a spool and two sinks, a file and HTTP, while a sandbox opens files for writing at a steady rate. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { withLoad } from '../load/build.mjs'
import { partOf } from '../measured-run.mjs'

const SLUICE = fileURLToPath(new URL('../../bin/sluice', import.meta.url))
const PARTS = ['engine', 'sinks', 'sensor']
const DEADLINE_MS = 120_000

export async function runLoad([rate = '20000', seconds = '20'] = []) {
  const receiver = createServer((request, answer) => {
    request.resume()
    request.on('end', () => answer.end())
  })
  await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const dir = mkdtempSync('/tmp/sluice-bench-')
  const bpf = join(dir, 'bpf')
  mkdirSync(bpf)
  mkdirSync(join(dir, 'out'), { mode: 0o777 })
  execFileSync('chmod', ['755', dir])
  execFileSync('chmod', ['777', join(dir, 'out')])
  execFileSync('mount', ['-t', 'bpf', '-o', 'mode=700', 'bpf', bpf])
  const agent = startAgent(dir, receiver.address().port)
  try {
    await agent.ready
    await withLoad((load, files) =>
      measure({ agent, dir, command: [load, 'rate', rate, seconds, files], wanted: rate * seconds }),
    )
  } finally {
    agent.child.kill('SIGTERM')
    await agent.gone
    execFileSync('umount', ['-l', bpf])
    rmSync(dir, { recursive: true, force: true })
    receiver.closeAllConnections()
    receiver.close()
  }
}

function startAgent(dir, port) {
  const config = {
    agent: { runtimeDir: join(dir, 'run'), pinDir: join(dir, 'bpf', 'sluice') },
    journal: { dir: join(dir, 'journal') },
    sinks: {
      lines: { type: 'file', path: join(dir, 'out', 'events.jsonl') },
      web: { type: 'http', url: `http://127.0.0.1:${port}/`, gzip: true, batch: { events: 2_000 } },
    },
  }
  writeFileSync(join(dir, 'config.yaml'), JSON.stringify(config))
  const child = spawn(SLUICE, ['agent', '--config', join(dir, 'config.yaml')], { stdio: ['ignore', 'ignore', 'pipe'] })
  const gone = new Promise((resolve) => child.once('exit', resolve))
  const ready = new Promise((resolve, reject) => {
    let said = ''
    child.stderr.on('data', (chunk) => {
      said = `${said}${chunk}`.slice(-65_536)
      if (said.includes('"the agent is ready"')) resolve()
    })
    void gone.then(() => reject(new Error(`the agent did not start: ${said}`)))
  })
  return { child, gone, ready }
}

async function measure({ agent, dir, command, wanted }) {
  const socket = join(dir, 'run', 'control.sock')
  const before = await parts(agent.child.pid)
  const started = performance.now()
  const run = spawn(SLUICE, ['run', '--socket', socket, '--summary', 'json', '--', ...command])
  let summary = ''
  run.stderr.on('data', (chunk) => (summary += chunk))
  run.stdout.resume()
  await new Promise((resolve) => run.once('exit', resolve))
  const ranS = (performance.now() - started) / 1_000
  const status = await caughtUp(join(dir, 'run', 'state', 'spool'))
  const after = await parts(agent.child.pid)
  const rows = PARTS.map((part) => {
    const cpuS = after[part].cpuS - before[part].cpuS
    return {
      part,
      'CPU s': cpuS.toFixed(2),
      cores: (cpuS / ranS).toFixed(2),
      'RSS at most, MiB': after[part].rssMaxMiB.toFixed(0),
    }
  })
  console.log(
    `  ${wanted} opens for writing in ${ranS.toFixed(1)} s; the sinks had all after ${((performance.now() - started) / 1_000).toFixed(1)} s`,
  )
  console.table(rows)
  for (const { name, delivered, failures } of status) {
    console.log(`  ${name}: ${delivered} events, ${failures} attempts failed`)
    if (delivered < wanted) process.exitCode = 1
  }
}

/** Nothing new in the spool for a while, and all of it delivered. */
async function caughtUp(folder) {
  const deadline = performance.now() + DEADLINE_MS
  let [last, same] = [-1, 0]
  while (performance.now() < deadline) {
    await sleep(1_000)
    const { sinks } = JSON.parse(readFileSync(join(folder, 'status.json'), 'utf8'))
    const delivered = Math.min(...sinks.map((sink) => sink.delivered))
    same = delivered === last && sinks.every(({ behind }) => behind === 0) ? same + 1 : 0
    last = delivered
    if (same >= 3) return sinks
  }
  throw new Error('the sinks did not catch up')
}

/** Of the agent, by name. */
async function parts(agent) {
  const found = {}
  for (const pid of execFileSync('ps', ['-o', 'pid=', '--ppid', String(agent)], { encoding: 'utf8' })
    .trim()
    .split(/\s+/)) {
    const part = partOf(Number(pid), agent)
    if (part !== null) found[part.name] = part
  }
  return found
}
