/**
 * How fast kernel records reach JavaScript and the engine, as ratios to a pure C consumer of the same ring in the same run, in two ways:
 * "burst" fills the ring to the brim, then times the drain alone: what an event costs. "Concurrent" reads while a producer on the
 * last CPU fills without pause: what gets through. Each round does every row once; the medians are compared.
 *
 *   node bench/run.mjs datapath [ROUNDS]        needs root, gcc, clang; about 8 s a round, 45 s with the 5 it does unasked
 */
import { execFileSync, fork, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { loadAddon } from '../../build/js/native/addon.js'
import { toBigInt } from '../../build/js/proto/codec.js'
import { connectUplink } from '../../build/js/proto/rpc.js'
import { BATCH_BYTES, EVENTS_PER_BATCH, Uplink } from '../../build/js/sensor/uplink.js'
import { measurePipeline } from './pipeline.mjs'

const RING_BYTES = 64 * 1024 * 1024
const FILLS_PER_ROUND = 4
const ROUNDS_MAX = 6
/** As the sensor's own default. */
const FLUSH_MS = { priority: 1, bulk: 5 }
/** How long a concurrent row is measured. */
const WINDOW_MS = 1000
/** The producer goes on a little longer than anybody measures. */
const PRODUCE_MS = WINDOW_MS + 250
const here = fileURLToPath(new URL('.', import.meta.url))
const out = fileURLToPath(new URL('../../build/bench/', import.meta.url))

function buildTools() {
  mkdirSync(out, { recursive: true })
  const bpf = fileURLToPath(new URL('../../bpf', import.meta.url))
  const object = join(out, 'fill.o')
  const tool = join(out, 'ring-tool')
  const arch = process.arch === 'arm64' ? 'arm64' : 'x86'
  execFileSync('clang', [
    '-g',
    '-O2',
    '-target',
    'bpf',
    '-mcpu=v3',
    `-D__TARGET_ARCH_${arch}`,
    `-I${bpf}`,
    '-c',
    join(here, 'fill.bpf.c'),
    '-o',
    object,
  ])
  execFileSync('gcc', ['-O2', `-I${bpf}`, join(here, 'ring-tool.c'), '-o', tool, '-lbpf', '-lelf', '-lz'])
  return { object, tool }
}

/** Result of one row in one round. @typedef {{ records: number, wallNs: number, cpuNs: number[] }} Sample */

function cpuNs(since) {
  const used = process.cpuUsage(since)
  return (used.user + used.system) * 1000
}

function measureC(tools, mapId) {
  const text = execFileSync(tools.tool, ['consume', tools.object, String(mapId), String(FILLS_PER_ROUND)], {
    encoding: 'utf8',
  })
  const [records, wallNs, cpu] = text.trim().split(' ').map(Number)
  return { records, wallNs, cpuNs: [cpu] }
}

function fillRing(tools, mapId) {
  return Number(execFileSync(tools.tool, ['fill', tools.object, String(mapId)], { encoding: 'utf8' }))
}

function measureDrain(tools, mapId, ring, buffer) {
  const sample = { records: 0, wallNs: 0, cpuNs: [0] }
  for (let fill = 0; fill < FILLS_PER_ROUND; fill += 1) {
    const expected = fillRing(tools, mapId)
    const cpu = process.cpuUsage()
    const start = process.hrtime.bigint()
    let events = 0
    for (let more = true; more; ) {
      const drained = ring.drain(buffer, EVENTS_PER_BATCH)
      events += drained.events
      more = drained.more
    }
    sample.wallNs += Number(process.hrtime.bigint() - start)
    sample.cpuNs[0] += cpuNs(cpu)
    if (events !== expected) throw new Error(`drained ${events} of ${expected}`)
    sample.records += events
  }
  return sample
}

/** Starts the producer; resolves when it fills, `done` gives what it attempted. */
async function startProducer(tools, mapId) {
  const child = spawn(tools.tool, ['produce', tools.object, String(mapId), String(PRODUCE_MS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  const exited = new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`ring-tool produce: exit ${code}`))))
  })
  await Promise.race([
    exited,
    new Promise((resolve) => {
      child.stdout.on('data', (chunk) => {
        text += chunk
        resolve()
      })
    }),
  ])
  return {
    async done() {
      await exited
      const [attempted, dropped] = text.trim().split('\n')[1].split(' ').map(Number)
      return { attempted: attempted / PRODUCE_MS / 1000, dropped }
    },
  }
}

function emptyRing(ring, buffer) {
  while (ring.drain(buffer, EVENTS_PER_BATCH).more);
}

async function followC(tools, mapId) {
  const producer = await startProducer(tools, mapId)
  const child = spawn(tools.tool, ['follow', tools.object, String(mapId), String(WINDOW_MS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.on('data', (chunk) => (text += chunk))
  await new Promise((resolve) => child.on('close', resolve))
  const [records, wallNs, cpu] = text.trim().split(' ').map(Number)
  return { records, wallNs, cpuNs: [cpu], producer: await producer.done() }
}

async function followDrain(tools, mapId, ring, buffer) {
  const producer = await startProducer(tools, mapId)
  const cpu = process.cpuUsage()
  const start = process.hrtime.bigint()
  const end = start + BigInt(WINDOW_MS) * 1_000_000n
  let records = 0
  while (process.hrtime.bigint() < end) {
    const drained = ring.drain(buffer, EVENTS_PER_BATCH)
    records += drained.events
    if (!drained.more) await sleep(1)
  }
  const wallNs = Number(process.hrtime.bigint() - start)
  return { records, wallNs, cpuNs: [cpuNs(cpu)], producer: await producer.done() }
}

async function followWire(tools, mapId, receiver) {
  const uplink = receiver.newUplink()
  const producer = await startProducer(tools, mapId)
  const before = await receiver.report()
  const cpu = process.cpuUsage()
  const start = process.hrtime.bigint()
  uplink.start()
  await sleep(WINDOW_MS)
  const after = await receiver.report()
  const wallNs = Number(process.hrtime.bigint() - start)
  const records = after.events - before.events
  const sample = { records, wallNs, cpuNs: [cpuNs(cpu), after.cpuNs - before.cpuNs] }
  const produced = await producer.done()
  await uplink.drainToEnd()
  uplink.stop()
  await receiver.settle()
  return { ...sample, producer: produced }
}

/** The engine's end of the wire, and uplinks that send to it. */
async function startReceiver(dir, { addon, kernel }) {
  const path = join(dir, 'uplink.sock')
  const child = fork(join(here, 'receiver.mjs'), [path], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await new Promise((resolve) => child.once('message', resolve))
  const call = await connectUplink(path, 5000)
  let uplink = null
  let onAck = () => {}
  call.onMessage((message) => {
    if (message.ack) onAck(toBigInt(message.ack.batchSeq))
  })
  call.onDrain(() => uplink?.resume())
  const report = () =>
    new Promise((resolve) => {
      child.once('message', ({ cpu, events }) => resolve({ cpuNs: (cpu.user + cpu.system) * 1000, events }))
      child.send('report')
    })
  return {
    report,
    newUplink() {
      const losses = { changed: () => [] }
      let batchSeq = 0
      uplink = new Uplink({
        ...{ addon, kernel, losses, flushMs: FLUSH_MS, bootToUnixNs: addon.bootToUnixNs() },
        nextBatchSeq: () => ++batchSeq,
        push: ({ bytes }, done) => call.send(bytes, done),
      })
      return uplink
    },
    /** Resolves when the receiver says that it has as many. */
    acked: (events) =>
      new Promise((resolve) => {
        onAck = (count) => count >= events && resolve()
      }),
    /** Resolves when nothing more arrives. */
    async settle() {
      for (let before = -1, now = 0; before !== now; ) {
        await sleep(20)
        before = now
        now = (await report()).events
      }
    },
    stop() {
      call.end()
      child.disconnect()
    },
  }
}

async function measureWire(tools, mapId, receiver) {
  const sample = { records: 0, wallNs: 0, cpuNs: [0, 0] }
  for (let fill = 0; fill < FILLS_PER_ROUND; fill += 1) {
    const expected = fillRing(tools, mapId)
    const uplink = receiver.newUplink()
    const before = await receiver.report()
    const cpu = process.cpuUsage()
    const start = process.hrtime.bigint()
    const arrived = receiver.acked(BigInt(before.events + expected))
    await uplink.drainToEnd()
    await arrived
    sample.wallNs += Number(process.hrtime.bigint() - start)
    sample.cpuNs[0] += cpuNs(cpu)
    sample.cpuNs[1] += (await receiver.report()).cpuNs - before.cpuNs
    sample.records += expected
    uplink.stop()
  }
  return sample
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

function row(stage, samples, base) {
  const ratios = samples.map((sample, i) => sample.records / sample.wallNs / (base[i].records / base[i].wallNs))
  const perEvent = (index) => median(samples.map((s) => s.cpuNs[index] / s.records))
  const baseCpu = median(base.map((s) => s.cpuNs[0] / s.records))
  const cpus = samples[0].cpuNs.map(
    (_, index) => `${(perEvent(index) / 1000).toFixed(3)} µs (${(perEvent(index) / baseCpu).toFixed(1)} ×)`,
  )
  const cells = {
    stage,
    'M events/s': median(samples.map((s) => (s.records / s.wallNs) * 1000)).toFixed(2),
    'rate / C': `${(median(ratios) * 100).toFixed(0)} %`,
    'CPU an event (× C)': cpus.join(' + '),
  }
  if (samples[0].producer === undefined) return cells
  // Of what the producer attempted meanwhile: the rest was dropped, or is still in the ring.
  const shares = samples.map((s) => ((s.records / s.wallNs) * 1000) / s.producer.attempted)
  return {
    ...cells,
    'M attempted/s': median(samples.map((s) => s.producer.attempted)).toFixed(2),
    read: `${(median(shares) * 100).toFixed(0)} %`,
  }
}

function table(title, { c, drain, wire }) {
  console.log(`\n${title}`)
  console.table([
    row('pure C consumer, 3 fields', c, c),
    row('ring → protobuf batch in JS', drain, c),
    row('… → gRPC → engine, lazy walk (sensor + engine)', wire, c),
  ])
}

async function burst(rounds, { tools, mapId, bulk, buffer, receiver }) {
  const samples = { c: [], drain: [], wire: [] }
  for (let round = -1; round < rounds; round += 1) {
    const c = measureC(tools, mapId)
    const drain = measureDrain(tools, mapId, bulk, buffer)
    const wire = await measureWire(tools, mapId, receiver)
    if (round < 0) continue // warm-up
    samples.c.push(c)
    samples.drain.push(drain)
    samples.wire.push(wire)
  }
  return samples
}

async function concurrent(rounds, { tools, mapId, bulk, buffer, receiver }) {
  const samples = { c: [], drain: [], wire: [] }
  for (let round = 0; round < rounds; round += 1) {
    samples.c.push(await followC(tools, mapId))
    emptyRing(bulk, buffer)
    samples.drain.push(await followDrain(tools, mapId, bulk, buffer))
    emptyRing(bulk, buffer)
    samples.wire.push(await followWire(tools, mapId, receiver))
  }
  return samples
}

function engine(rounds, { tools, mapId, bulk, buffer }) {
  const samples = []
  for (let round = -1; round < rounds; round += 1) {
    emptyRing(bulk, buffer)
    fillRing(tools, mapId)
    const sample = measurePipeline({ ring: bulk, eventsPerBatch: EVENTS_PER_BATCH, bytes: BATCH_BYTES })
    if (round >= 0) samples.push(sample)
  }
  const cpu = median(samples.map((sample) => sample.microseconds)).toFixed(1)
  const bytes = median(samples.map((sample) => sample.bytes)).toFixed(0)
  console.log(`\nengine, one file open from walk to the client's message, no sockets: ${cpu} µs of CPU, ${bytes} bytes`)
}

export async function run([roundsText = '5']) {
  const rounds = Math.min(Number(roundsText), ROUNDS_MAX)
  const tools = buildTools()
  const addon = loadAddon()
  const object = addon.openObject('core')
  object.setMapSize('sl_ring_bulk', RING_BYTES)
  object.load()
  const bulk = addon.openRing(object, 'sl_ring_bulk')
  const priority = addon.openRing(object, 'sl_ring_priority')
  const mapId = object.mapId('sl_ring_bulk')
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const receiver = await startReceiver(dir, { addon, kernel: { object, bulk, priority, close() {} } })
  const buffer = Buffer.allocUnsafeSlow(Math.max(BATCH_BYTES, addon.maxEncodedEvent))
  const bench = { tools, mapId, bulk, buffer, receiver }
  table('burst: a full ring is drained, nobody fills it', await burst(rounds, bench))
  table('concurrent: the producer fills without pause', await concurrent(rounds, bench))
  engine(rounds, bench)
  receiver.stop()
  bulk.close()
  priority.close()
  object.close()
  rmSync(dir, { recursive: true, force: true })
}
