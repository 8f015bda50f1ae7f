/**
 * An agent's sensor that is killed, or stopped, with sandboxes in it, and the one that starts after it: the same sandboxes, no event
 * twice, none missing that is not counted, and nothing left where everything was given back.
 */
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import { fromBigInt, type ILimits, type KernelEvent, toBigInt } from '../../src/proto/codec.js'
import type { Role } from '../../src/supervise/role.js'
import { mountOwnBpfFs, type OwnBpfFs } from '../support/bpf-fs.js'
import { compileC } from '../support/c-program.js'
import { cgroupMount, freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { launch } from '../support/launcher.js'
import { testPolicy } from '../support/policed-sandbox.js'
import { privileged } from '../support/privileged.js'
import { hostSensors, type SensorHost, startSensor, waitFor } from '../support/sensor-process.js'
import { goOn } from '../support/shell-loops.js'
import { isAlive, until } from '../support/sluice-process.js'

const { skip, reason } = privileged('bpf')
const { SL_KIND_EXEC, SL_KIND_FILE_OPEN } = ABI.enums
/** read(2) of the sync descriptor, as /proc/PID/syscall writes it. */
const WAITS_FOR_GO = '0 0x3 '
const OPENS = 300_000
const CALLS = 150
/** To where nobody listens, again and again, for some minutes at most: `a` for allowed, `d` for denied. */
const CONNECTS = `
import socket, sys, time
told = open(sys.argv[1], "wb", buffering=0)
for _ in range(100_000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        told.write(b"d" if s.connect_ex(("127.0.0.2", 9)) else b"a")
    time.sleep(0.001)
`
const NOTHING = { attempted: 0n, dropped: 0n, missed: 0n, taken: 0n, takenMoreAtMost: 0n }

function readText(file: string): string {
  return existsSync(file) ? readFileSync(file, 'latin1') : ''
}

describe.skipIf(skip)(`an agent's sensor ${reason}`, () => {
  let dir: string
  let runDir: string
  let bpfFs: OwnBpfFs
  let path: string
  let host: SensorHost
  let sensor: Role
  let runs = 0
  const opened: number[] = []

  const start = (onStop = 'keep') =>
    startSensor({
      ...{ runtimeDir: join(dir, 'runs'), runDir, uplinkSocket: host.uplinkSocket },
      config: { agent: { pinDir: bpfFs.pinDir, watch: [], onStop } },
    })

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    runDir = join(dir, 'agent')
    mkdirSync(runDir)
    path = freeCgroupPath()
    mkdirSync(path)
    bpfFs = mountOwnBpfFs(dir)
    host = await hostSensors(dir)
    sensor = await start()
  })

  afterEach(async () => {
    for (const fd of opened.splice(0)) closeSync(fd)
    // Whatever became of it, everything is given back.
    await sensor.stop()
    await (await start('release')).stop()
    await host.close()
    await removeCgroupTree(path)
    bpfFs.unmount()
    rmSync(dir, { recursive: true, force: true })
  })

  /** A command in a sandbox that the sensor makes. */
  async function run(command: string[]) {
    const launched = launch({ command })
    const pid = launched.child.pid ?? 0
    await until('the launcher waits', () => readFileSync(`/proc/${pid}/syscall`, 'utf8').startsWith(WAITS_FOR_GO))
    const id = `test-${process.pid}-${++runs}`
    const started = await host.command({ startSandbox: { sandboxId: id, pid, descriptor: Buffer.from(id) } })
    launched.go('G')
    return { id, pid, cgroupId: toBigInt(started.cgroupId), result: launched.result }
  }

  /** CALLS execs; half of them wait for `goOn`, however long a sensor takes to start. */
  function callsInTwoHalves(): { script: string; goOn(): void } {
    const fifo = join(dir, 'fifo')
    execFileSync('mkfifo', [fifo])
    // For reading as well: else it would wait for the reader.
    const fd = openSync(fifo, 'r+')
    // Not before the command has read it.
    opened.push(fd)
    const half = `i=0; while [ $i -lt ${CALLS / 2} ]; do sleep 0.02; i=$((i+1)); done`
    return {
      script: `${half}; read go < ${fifo}; ${half}`,
      goOn: () => void writeSync(fd, 'go\n'),
    }
  }

  async function killSensor(): Promise<void> {
    process.kill(sensor.pid, 'SIGKILL')
    await sensor.exited
  }

  const count = (kind: number) => host.heard.events.filter((event) => event.kind === kind).length
  const loss = (kind: number) => host.heard.losses.get(kind) ?? NOTHING

  function expectNoneTwice(): void {
    const names = host.heard.events.map((event) => `${event.cpu} ${toBigInt(event.cpuSeq)}`)
    expect(names.length - new Set(names).size, 'events that came twice').toBe(0)
  }

  it('that is killed in a storm is followed by one that knows to the event what is missing', async () => {
    const storm = compileC('storm', dir)
    const calm = await run([storm, 'writes', '0'])
    await calm.result
    await host.command({ endSandbox: { sandboxId: calm.id } })
    const calmOpens = count(SL_KIND_FILE_OPEN)
    const { id, cgroupId, result } = await run([storm, 'writes', String(OPENS)])
    await waitFor('the storm', () => count(SL_KIND_FILE_OPEN) > 1000)
    await killSensor()
    sensor = await start()
    expect(await result).toMatchObject({ code: 0 })
    await host.command({ endSandbox: { sandboxId: id } })
    expectNoneTwice()
    const opens = loss(SL_KIND_FILE_OPEN)
    expect(Number(opens.attempted)).toBe(2 * calmOpens + OPENS)
    expect(opens.takenMoreAtMost).toBe(0n)
    // Everything that was recorded was taken from the rings by one of the two sensors or is counted as dropped.
    const dropped = host.heard.sandboxLosses.get(`${cgroupId} ${SL_KIND_FILE_OPEN}`) ?? 0n
    expect(opens.attempted).toBe(opens.taken + dropped)
    expect(opens.dropped, 'dropped and of no sandbox').toBe(0n)
    expect(Number(opens.taken)).toBeGreaterThanOrEqual(count(SL_KIND_FILE_OPEN))
    const [first, second] = host.heard.hellos
    expect(second?.counters).toBe(first?.counters)
    expect(second?.instance).not.toBe(first?.instance)
  })

  it('that is killed and followed by another in time misses nothing of what goes on', async () => {
    const { script, goOn } = callsInTwoHalves()
    const { id, pid, result } = await run(['sh', '-c', script])
    await waitFor('some calls', () => count(SL_KIND_EXEC) > 10)
    await killSensor()
    await sleep(100)
    sensor = await start()
    expect(host.heard.hellos.at(-1)?.sandboxes).toMatchObject([
      { sandboxId: id, cgroupPath: `/sluice/${id}`, adopted: false, frozen: false, descriptor: Buffer.from(id) },
    ])
    expect((await host.command({ whoIs: { pid } })).sandboxId).toBe(id)
    goOn()
    expect(await result).toMatchObject({ code: 0 })
    await host.command({ endSandbox: { sandboxId: id } })
    expectNoneTwice()
    const execs = loss(SL_KIND_EXEC)
    expect(execs).toMatchObject({ attempted: BigInt(CALLS + 1), dropped: 0n, taken: BigInt(CALLS + 1) })
    // What the dead one had taken and not sent, if anything, is the difference; two batches are more than it ever holds.
    expect(CALLS + 1 - count(SL_KIND_EXEC)).toBeLessThan(10)
  })

  it('that is told to stop and to keep everything is followed without a hole', async () => {
    const { script, goOn } = callsInTwoHalves()
    const { id, result } = await run(['sh', '-c', script])
    await waitFor('some calls', () => count(SL_KIND_EXEC) > 10)
    await sensor.stop()
    sensor = await start()
    goOn()
    expect(await result).toMatchObject({ code: 0 })
    await host.command({ endSandbox: { sandboxId: id } })
    expectNoneTwice()
    expect(count(SL_KIND_EXEC)).toBe(CALLS + 1)
  })

  it('goes on with adopted and frozen sandboxes, and forgets those that ended meanwhile', async () => {
    const gone = freeCgroupPath()
    mkdirSync(gone)
    const { id } = await run(['sleep', '60'])
    await host.command({ adoptSandbox: { sandboxId: 'adopted', cgroupPath: belowRoot(path) } })
    await host.command({ adoptSandbox: { sandboxId: 'gone', cgroupPath: belowRoot(gone) } })
    const [lower, higher] = [2, 20].map((perSecond) => ({ connects: { perSecond, burst: fromBigInt(5n) } }))
    await host.command({ applyPolicy: { sandboxId: id, policy: testPolicy({ limits: higher ?? null }) } })
    await host.command({ setThrottle: { sandboxId: id, limits: lower ?? null } })
    await host.command({ freezeSandbox: { sandboxId: id, frozen: true } })
    await killSensor()
    await removeCgroupTree(gone)
    sensor = await start()
    const { sandboxes } = await host.command({ listSandboxes: {} })
    expect(sandboxes.map(({ sandboxId, frozen, adopted }) => ({ sandboxId, frozen, adopted }))).toEqual([
      { sandboxId: id, frozen: true, adopted: false },
      { sandboxId: 'adopted', frozen: false, adopted: true },
    ])
    await host.command({ freezeSandbox: { sandboxId: id, frozen: false } })
    const throttle = async (limits: ILimits | null) =>
      (await host.command({ setThrottle: { sandboxId: id, limits } })).limits
    expect(await throttle(lower ?? null)).toMatchObject({ connects: { perSecond: 2 } })
    expect(await throttle(null)).toMatchObject({ connects: { perSecond: 20 } })
    // What another sandbox's end takes holds up nobody.
    const end = host.command({ endSandbox: { sandboxId: id } })
    const other = host.command({ setThrottle: { sandboxId: 'adopted', limits: null } })
    expect((await end).killed).toBe(1)
    expect(host.heard.results.slice(-2)).toEqual([await other, await end])
    await host.command({ releaseSandbox: { sandboxId: 'adopted' } })
  })

  it('takes its sandboxes under watch again where somebody removed the pins', async () => {
    const { id, pid, result } = await run(['sh', '-c', goOn()])
    await killSensor()
    for (const schema of readdirSync(bpfFs.pinDir)) rmSync(join(bpfFs.pinDir, schema), { recursive: true })
    sensor = await start()
    const [before, after] = host.heard.hellos
    expect(after?.counters).not.toBe(before?.counters)
    expect((await host.command({ whoIs: { pid } })).sandboxId).toBe(id)
    const events = host.heard.events.length
    await waitFor('what it does now', () => host.heard.events.length > events + 5)
    await host.command({ endSandbox: { sandboxId: id } })
    expect(await result).toMatchObject({ signal: 'SIGKILL' })
  })

  it('takes over from another version, and in every instant what is denied is denied', async () => {
    const [schema = ''] = readdirSync(bpfFs.pinDir)
    const told = join(dir, 'told')
    const { id, result } = await run(['python3', '-c', CONNECTS, told])
    await waitFor('a connect that nobody denies', () => readText(told).includes('a'))
    await host.command({ applyPolicy: { sandboxId: id, policy: testPolicy({ nets: [] }) } })
    const applied = readText(told).length + 1
    const denied = () => readText(told).slice(applied)
    await waitFor('a connect that is denied', () => denied().length > 10)
    await killSensor()
    // As a version has it whose maps have another layout: to us they are nothing that could be read.
    renameSync(join(bpfFs.pinDir, schema), join(bpfFs.pinDir, '0-00000000'))
    const before = denied().length
    sensor = await start()
    expect(readdirSync(bpfFs.pinDir)).toEqual([schema])
    const after = denied().length
    expect(after).toBeGreaterThan(before)
    await waitFor('connects under the new version alone', () => denied().length > after + 10)
    expect(new Set(denied())).toEqual(new Set('d'))
    expect(host.heard.hellos.at(-1)?.sandboxes).toMatchObject([{ sandboxId: id, policyDigest: 'test' }])
    await host.command({ endSandbox: { sandboxId: id } })
    expect(await result).toMatchObject({ signal: 'SIGKILL' })
  })

  it('refuses a folder in which somebody else has something', async () => {
    await sensor.stop()
    const other = join(bpfFs.pinDir, 'others')
    mkdirSync(join(other, 'things'), { recursive: true })
    await expect(start()).rejects.toMatchObject({ code: 'IO', message: `${other} is not sluice's` })
    rmSync(other, { recursive: true })
    sensor = await start()
  })

  it('that another one holds the pins of does not start', async () => {
    const second = startSensor({
      ...{ runtimeDir: join(dir, 'runs'), runDir: makeDir(join(dir, 'second')), uplinkSocket: host.uplinkSocket },
      config: { agent: { pinDir: bpfFs.pinDir, watch: [], onStop: 'keep' } },
    })
    await expect(second).rejects.toThrow(`another sensor holds the pins in ${bpfFs.pinDir}`)
  })

  it('that is told to stop and to release everything leaves nothing', async () => {
    await sensor.stop()
    sensor = await start('release')
    const { id, pid, result } = await run(['sleep', '60'])
    const beside = launch({ command: ['sleep', '60'] })
    writeFileSync(join(path, 'cgroup.procs'), String(beside.child.pid))
    await host.command({ adoptSandbox: { sandboxId: 'adopted', cgroupPath: belowRoot(path) } })
    await sensor.stop()
    expect([pid, beside.child.pid ?? 0].map(isAlive)).toEqual([true, true])
    expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).not.toContain(id)
    expect(readFileSync(join(path, 'cgroup.procs'), 'utf8')).toContain(String(beside.child.pid))
    expect(readdirSync(join(dir, 'bpf'))).not.toContain('sluice')
    for (const child of [pid, beside.child.pid ?? 0]) process.kill(child, 'SIGKILL')
    await Promise.all([result, beside.result])
    sensor = await start('release')
  })

  it('does not touch the sandbox of a run beside it', async () => {
    const other = await hostSensors(makeDir(join(dir, 'other')))
    const otherRun = makeDir(join(dir, 'runs', 'run-beside'))
    const beside = await startSensor({
      runtimeDir: join(dir, 'runs'),
      runDir: otherRun,
      uplinkSocket: other.uplinkSocket,
    })
    const launched = launch({ command: ['sh', '-c', 'sleep 0.1; sleep 0.1'] })
    const pid = launched.child.pid ?? 0
    const id = `beside-${process.pid}`
    await other.command({ startSandbox: { sandboxId: id, pid } })
    launched.go('G')
    expect((await host.command({ whoIs: { pid } })).sandboxId).toBe('unknown')
    await launched.result
    await other.command({ endSandbox: { sandboxId: id } })
    await beside.stop()
    await other.close()
    const execs = (events: readonly KernelEvent[]) => events.filter((event) => event.kind === SL_KIND_EXEC).length
    expect(execs(other.heard.events)).toBe(3)
    expect(execs(host.heard.events)).toBe(0)
  })
})

function belowRoot(path: string): string {
  return path.slice((cgroupMount() ?? '').length)
}

function makeDir(path: string): string {
  mkdirSync(path, { recursive: true })
  return path
}
