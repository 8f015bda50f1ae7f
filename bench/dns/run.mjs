/**
 * What the gateway adds to a name: the same questions to a resolver (unbound, from its cache) and to the gateway in front of it, in turns, on one
 * machine in one run. The gateway is the process that it is, with an engine's socket behind it; every first answer is leased.
 *
 *   node bench/run.mjs dns [PAIRS]        needs unbound; about 30 s
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { createLog } from '../../build/js/base/log.js'
import { GatewayDesk } from '../../build/js/engine/gateway-desk.js'
import { serveUnix } from '../../build/js/proto/rpc.js'
import { startRole } from '../../build/js/supervise/role.js'

const MAIN = new URL('../../dist/gateway/main.js', import.meta.url)
const NAMES = 100
const ALONE = 1_500
/** With a pause before each. */
const PACED = 500
const PAUSE_MS = 2
const TOGETHER = 15_000
const OUTSTANDING = 64
const DONE = { ok: true, cgroupId: 0n, cgroupPath: '', killed: 0, processes: 0, degraded: [], sandboxId: '' }

async function startUnbound(folder) {
  const port = 5300 + (process.pid % 1000)
  const zone = Array.from({ length: NAMES }, (_, index) => `n${index} A 93.184.216.${index}`).join('\n')
  const head = '$ORIGIN example.net.\n$TTL 3600\n@ SOA ns h 1 3600 600 86400 120\n@ NS ns\nns A 192.0.2.53\n'
  writeFileSync(join(folder, 'zone'), `${head}${zone}\n`)
  const server = [`interface: 127.0.0.1@${port}`, 'do-daemonize: no', 'username: ""', 'chroot: ""', 'pidfile: ""']
  server.push('use-syslog: no', 'logfile: ""', `directory: "${folder}"`, 'module-config: "iterator"')
  const auth = `auth-zone:\n  name: "example.net."\n  zonefile: "${folder}/zone"\n  for-downstream: no\n  for-upstream: yes\n`
  writeFileSync(join(folder, 'conf'), `server:\n  ${server.join('\n  ')}\n${auth}`)
  const child = spawn('unbound', ['-d', '-p', '-c', join(folder, 'conf')], { stdio: ['ignore', 'ignore', 'pipe'] })
  await new Promise((resolve, reject) => {
    child.stderr.on('data', (text) => `${text}`.includes('start of service') && resolve())
    child.once('error', reject)
    child.once('exit', () => reject(new Error('unbound ended')))
  })
  return { port, child }
}

/** Milliseconds of each, in order, and of all. */
function asker() {
  const worker = new Worker(new URL('asker.mjs', import.meta.url))
  return {
    async ask(port, how) {
      worker.postMessage({ port, ...how })
      const [result] = await once(worker, 'message')
      return result
    },
    close: () => worker.terminate(),
  }
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]

function report(rows) {
  const of = (name, key) => median(rows[name].map((row) => row[key]))
  const line = (what, key, digits) => ({
    what,
    direct: of('direct', key).toFixed(digits),
    gateway: of('gateway', key).toFixed(digits),
    ratio: median(rows.gateway.map((row, index) => row[key] / rows.direct[index][key])).toFixed(2),
  })
  const added = (key) => median(rows.gateway.map((row, index) => row[key] - rows.direct[index][key])).toFixed(3)
  console.table([
    line(`one every ${PAUSE_MS} ms, ms (p50)`, 'pacedP50', 3),
    line(`one every ${PAUSE_MS} ms, ms (p99)`, 'pacedP99', 3),
    line('one at a time, ms (p50)', 'p50', 3),
    line('one at a time, ms (p99)', 'p99', 3),
    line(`answers a second, ${OUTSTANDING} outstanding`, 'perSecond', 0),
  ])
  console.log(
    `added by the gateway, ms: p50 ${added('pacedP50')}, p99 ${added('pacedP99')} with pauses; p50 ${added('p50')}, p99 ${added('p99')} without`,
  )
}

/** One side of a pair. */
async function measure(ask, to) {
  const alone = await ask(to, { count: ALONE, outstanding: 1 })
  const paced = await ask(to, { count: PACED, outstanding: 1, pauseMs: PAUSE_MS })
  const together = await ask(to, { count: TOGETHER, outstanding: OUTSTANDING })
  const at = ({ times }, share) => times[Math.floor(times.length * share)]
  return {
    ...{ p50: at(alone, 0.5), p99: at(alone, 0.99), pacedP50: at(paced, 0.5), pacedP99: at(paced, 0.99) },
    perSecond: TOGETHER / (together.all / 1000),
  }
}

export async function run([pairsText = '5']) {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-dns-'))
  const { ask, close } = asker()
  const unbound = await startUnbound(folder)
  let port = 0
  let leases = 0
  const commands = {
    putLease(_, done) {
      leases++
      done(DONE)
    },
    redirect(target, done) {
      port = target.port4
      done(DONE)
    },
    gatewayAlive: (done) => done(DONE),
  }
  const log = createLog({ role: 'bench', level: 'silent' })
  const desk = new GatewayDesk({ commands: () => commands, observe() {}, leased() {}, limited() {}, missing() {}, log })
  desk.settled()
  const path = join(folder, 'sock')
  const check = () => ({ allowed: true, caller: { pid: 1, uid: 0, gid: 0, groups: [] } })
  const server = await serveUnix({ path, mode: 0o600, check, log, services: { gateway: desk.handler } })
  const config = {
    socket: path,
    mailbox: { path: join(folder, 'doors'), token: 'x'.repeat(64) },
    counts: join(folder, 'queries'),
    user: null,
    resolvers: [{ host: '127.0.0.1', port: unbound.port }],
    logLevel: 'silent',
  }
  const rate = { perSecond: 1e6, burst: 1e6 }
  const gateway = await startRole({ name: 'gateway', main: MAIN, config: { ...config, rate }, readyDeadlineMs: 20_000 })
  try {
    const host = { form: 2, base: 'example.net' }
    await desk.serve('box', {
      name: 'bench',
      digest: 'd',
      mode: 2,
      dns: 1,
      rules: [{ path: 'default' }, { path: 'egress[0]' }],
      hosts: [{ rule: 1, host }],
    })
    const first = await ask(port, { count: NAMES, outstanding: 1 })
    await ask(unbound.port, { count: NAMES, outstanding: 1 })
    const rows = { direct: [], gateway: [] }
    for (let pair = 0; pair < Number(pairsText); pair++) {
      for (const [name, to] of [
        ['direct', unbound.port],
        ['gateway', port],
      ]) {
        rows[name].push(await measure(ask, to))
      }
    }
    report(rows)
    const p50 = median(first.times).toFixed(3)
    console.log(`first answer of a name, asked of the resolver and leased: p50 ${p50} ms; ${leases} leases`)
  } finally {
    await close()
    await gateway.stop()
    await desk.stop()
    await server.close(200)
    unbound.child.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}
