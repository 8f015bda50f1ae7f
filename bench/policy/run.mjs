/**
 * What policies of a size take: compiled from the file as a run does it, applied to a sandbox for the first time, changed while it runs in every range and in one, and all
 * that for a thousand sandboxes with policies of their own and with one in common. The sensor is its own process, the engine's commands
 * are the engine's.
 *
 *   node bench/run.mjs policy [SANDBOXES]        needs root and cgroup v2; about a minute
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { compiled, policyText } from '../support/big-policy.mjs'
import { withPolicedSensor } from '../support/policed-sensor.mjs'

const SIZES = [
  { names: 100, ranges: 100 },
  { names: 10_000, ranges: 100 },
  { names: 100, ranges: 50_000 },
  { names: 10_000, ranges: 50_000 },
]
const CHANGES = 3
/** Of a policy that one sandbox of many has. */
const SMALL = { names: 20, ranges: 100 }
const RETIRED_MS = 2_500
const KIB = 1024
const NS_PER_MS = 1e6

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const mib = (bytes) => (bytes / (KIB * KIB)).toFixed(1)

async function timed(work) {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** CPU time of this process and of the sensor, which waiting for a CPU does not change. */
function cpuMs(sensor) {
  const of = (pid) => Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / NS_PER_MS
  return { engine: of(process.pid), sensor: of(sensor.pid) }
}

/** What the kernel holds for itself, in bytes: the tables are in its slabs and per-CPU memory. */
function kernelBytes() {
  const text = readFileSync('/proc/meminfo', 'utf8')
  const of = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * KIB
  return of('SUnreclaim') + of('Percpu')
}

function rssBytes(pid) {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * KIB
}

async function onePolicy(sensor, size) {
  const id = `s${size.names}-${size.ranges}`
  await sensor.addSandbox(id)
  const first = compiled(policyText(size))
  const before = kernelBytes()
  const apply = await timed(() => sensor.apply(id, first.policy))
  const held = kernelBytes() - before
  // Each differs from the one before in every range.
  const others = Array.from({ length: CHANGES }, (_, index) => compiled(policyText({ ...size, port: 8000 + index })))
  const changes = []
  const cpu = { engine: [], sensor: [] }
  for (const { policy } of others) {
    const start = cpuMs(sensor)
    changes.push(await timed(() => sensor.apply(id, policy)))
    const end = cpuMs(sensor)
    for (const part of ['engine', 'sensor']) cpu[part].push(end[part] - start[part])
    await sleep(RETIRED_MS / CHANGES)
  }
  await sensor.apply(id, first.policy)
  await sleep(RETIRED_MS)
  const one = []
  for (let index = 0; index < CHANGES; index += 1) {
    const { policy } = compiled(policyText({ ...size, changed: index + 1 }))
    one.push(await timed(() => sensor.apply(id, policy)))
    await sleep(RETIRED_MS / CHANGES)
  }
  await sensor.apply(id, null)
  await sleep(RETIRED_MS)
  return {
    'names / ranges': `${size.names} / ${size.ranges}`,
    'compiled, ms': median([first, ...others].map(({ ms }) => ms)).toFixed(0),
    'CPU ms': median([first, ...others].map((each) => each.cpuMs)).toFixed(0),
    'on the wire, MiB': mib(first.bytes),
    'first applied, ms': apply.toFixed(1),
    'changed, ms (median)': median(changes).toFixed(1),
    'changed, ms (most)': Math.max(...changes).toFixed(1),
    'one range changed, ms (median)': median(one).toFixed(1),
    'one range changed, ms (most)': Math.max(...one).toFixed(1),
    'CPU ms engine + sensor': `${median(cpu.engine).toFixed(0)} + ${median(cpu.sensor).toFixed(0)}`,
    'kernel memory, MiB': mib(held),
  }
}

async function manySandboxes(sensor, count) {
  const ids = Array.from({ length: count }, (_, index) => `m${index}`)
  for (const id of ids) await sensor.addSandbox(id)
  const own = ids.map((id, index) => compiled(policyText({ ...SMALL, name: id, port: 1000 + index })).policy)
  const big = [443, 444].map((port) => compiled(policyText({ ...SIZES.at(-1), port })).policy)
  const all = (policyOf) => timed(() => Promise.all(ids.map((id, index) => sensor.apply(id, policyOf(index)))))
  const row = async (what, policyOf) => {
    const before = kernelBytes()
    const ms = await all(policyOf)
    const held = kernelBytes() - before
    await sleep(RETIRED_MS)
    const rss = mib(rssBytes(sensor.pid))
    return {
      what,
      'all, ms': ms.toFixed(0),
      'each, ms': (ms / count).toFixed(2),
      'kernel, MiB': mib(held),
      'sensor RSS, MiB': rss,
    }
  }
  const small = `${SMALL.names} names, ${SMALL.ranges} ranges`
  const rows = [
    await row(`${count} sandboxes, a first policy of its own each (${small})`, (index) => own[index]),
    await row('… each changed to its neighbour’s', (index) => own[(index + 1) % count]),
    await row('… to one for all (10,000 names, 50,000 ranges)', () => big[0]),
    await row('… that one changed for all', () => big[1]),
  ]
  const ms = await timed(() => Promise.all(ids.map((id) => sensor.release(id))))
  return [...rows, { what: '… all released', 'all, ms': ms.toFixed(0), 'each, ms': (ms / count).toFixed(2) }]
}

export async function run([countText = '1000']) {
  await withPolicedSensor(async (sensor) => {
    const rows = []
    for (const size of SIZES) rows.push(await onePolicy(sensor, size))
    console.table(rows)
    console.table(await manySandboxes(sensor, Number(countText)))
  })
}
