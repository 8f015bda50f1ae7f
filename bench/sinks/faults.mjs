/** Many events through a receiver that fails one request in five (faulty-receiver.mjs). */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { spoolEvents } from '../support/spool-events.mjs'

const EVENTS = 1_000_000
const FLUSH_EVENTS = 400
const MIB = 1024 * 1024
const AGAIN_MAX_SHARE = 0.01
const RECEIVER = fileURLToPath(new URL('faulty-receiver.mjs', import.meta.url))
const MAIN = pathToFileURL(join(process.cwd(), 'dist/sinks/main.js'))
const log = { info() {}, warn() {}, error: console.error, debug() {} }
const SINK = {
  type: 'http',
  format: 'elastic-bulk',
  gzip: true,
  timeoutSeconds: 1,
  batch: { events: 2_000, kiB: 4_096 },
}

export async function runFaults([count = EVENTS] = []) {
  const { Spool } = await import('../../build/js/engine/spool/spool.js')
  const { startRole } = await import('../../build/js/supervise/role.js')
  const folder = mkdtempSync(join(process.cwd(), 'build', 'bench-sinks-'))
  const receiver = spawn(process.execPath, [RECEIVER, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]()
  const spool = new Spool({ folder, bytesMax: 4_096 * MIB, ageMaxMs: 3_600_000, log })
  let role = null
  try {
    const url = `http://127.0.0.1:${(await lines.next()).value}/_bulk`
    const config = { folder, user: null, version: '0.0.0', logLevel: 'error', sinks: { faulty: { ...SINK, url } } }
    role = await startRole({ name: 'sinks', main: MAIN, config, readyDeadlineMs: 30_000 })
    const started = performance.now()
    await fill(spool, Number(count))
    const told = JSON.parse((await lines.next()).value)
    report(told, { seconds: (performance.now() - started) / 1_000, rssMiB: peakMiB(role.pid), count: Number(count) })
  } finally {
    await role?.stop()
    spool.stop()
    receiver.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Beside the sinks, which begin with the first of them. */
async function fill(spool, count) {
  const { event } = await spoolEvents()
  for (let seq = 1; seq <= count; seq++) {
    spool.append(event(seq))
    if (seq % FLUSH_EVENTS !== 0) continue
    spool.flush()
    await new Promise((resolve) => setImmediate(resolve))
  }
  spool.flush()
}

function report({ distinct, again, requests, failed }, { seconds, rssMiB, count }) {
  const share = again / count
  console.log(
    `  ${distinct} of ${count} events arrived in ${seconds.toFixed(0)} s, ${again} of them twice (${(share * 100).toFixed(2)} %)`,
  )
  console.log(`  ${failed} of ${requests} requests failed (${((failed / requests) * 100).toFixed(0)} %)`)
  console.log(`  memory of the sinks' process at its highest: ${rssMiB.toFixed(0)} MiB`)
  if (distinct !== count || share > AGAIN_MAX_SHARE) process.exitCode = 1
}

function peakMiB(pid) {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))[1]) / 1_024
}
