/**
 * A sensor that watches for cgroups by pattern: those that are there, those that are made later, with what runs in them from its first
 * instruction on; names that don't match are let be, and a removed cgroup is told.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import { toBigInt } from '../../src/proto/codec.js'
import type { Role } from '../../src/supervise/role.js'
import { mountOwnBpfFs, type OwnBpfFs } from '../support/bpf-fs.js'
import { cgroupMount, freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { privileged } from '../support/privileged.js'
import { hostSensors, type SensorHost, startSensor, waitFor } from '../support/sensor-process.js'

const { skip, reason } = privileged('bpf')
const { SL_KIND_EXEC, SL_KIND_PROCESS } = ABI.enums
/** Long enough for a second look. */
const SETTLE_MS = 1_500

describe.skipIf(skip)(`a sensor that watches for cgroups ${reason}`, () => {
  let dir: string
  let runDir: string
  let bpfFs: OwnBpfFs
  let top: string
  let host: SensorHost
  let sensor: Role
  let children: ChildProcess[]

  const start = (watch: string[], onStop = 'keep') =>
    startSensor({
      ...{ runtimeDir: join(dir, 'runs'), runDir, uplinkSocket: host.uplinkSocket },
      config: { agent: { pinDir: bpfFs.pinDir, watch, onStop } },
    })
  const below = (path: string) => path.slice((cgroupMount() ?? '').length)

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    runDir = join(dir, 'agent')
    mkdirSync(runDir)
    top = freeCgroupPath()
    mkdirSync(join(top, 'user-1'), { recursive: true })
    bpfFs = mountOwnBpfFs(dir)
    host = await hostSensors(dir)
    children = []
  })

  afterEach(async () => {
    await sensor.stop()
    await (await start([], 'release')).stop()
    await host.close()
    await removeCgroupTree(top)
    for (const child of children) child.kill('SIGKILL')
    bpfFs.unmount()
    rmSync(dir, { recursive: true, force: true })
  })

  function runIn(path: string, command: readonly [string, ...string[]]): number {
    const child = spawn('sh', ['-c', 'echo 0 > "$0/cgroup.procs"; exec "$@"', path, ...command], { stdio: 'ignore' })
    children.push(child)
    return child.pid ?? 0
  }

  const announcedAt = (path: string) => host.heard.announced.find(({ cgroupPath }) => cgroupPath === below(path))
  const eventsOf = (sandbox: bigint, kind: number) =>
    host.heard.events.filter((event) => event.kind === kind && toBigInt(event.sandbox) === sandbox)

  it('takes those that are there, with what runs in them', async () => {
    const there = join(top, 'user-1', 'agents-there')
    mkdirSync(there)
    const pid = runIn(there, ['sleep', '60'])
    await waitFor('it to run there', () => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n')
    const pattern = `${below(top)}/*/agents-*`
    sensor = await start([pattern])
    const announced = await waitFor('the announcement', () => announcedAt(there))
    expect(announced).toMatchObject({ adopted: true, watch: pattern, frozen: false })
    // The test runs as root, and so does what it started there.
    expect(announced.degraded?.join()).toContain('privileged')
    expect(announced.sandboxId).toMatch(/^agents-there-[0-9a-f]{8}$/)
    const facts = await waitFor('its process', () => eventsOf(toBigInt(announced.cgroupId), SL_KIND_PROCESS)[0])
    expect(facts.pid).toBe(pid)
    expect((await host.command({ whoIs: { pid } })).sandboxId).toBe(announced.sandboxId)
  })

  it('takes new ones from their first instruction on, also below new folders, and no others', async () => {
    sensor = await start([`${below(top)}/*/agents-*`])
    for (const folder of ['user-1', 'user-2']) {
      const made = join(top, folder, 'agents-new')
      mkdirSync(made, { recursive: true })
      runIn(made, ['true'])
      const announced = await waitFor('the announcement', () => announcedAt(made))
      const sandbox = toBigInt(announced.cgroupId)
      const exec = await waitFor('its exec', () => eventsOf(sandbox, SL_KIND_EXEC)[0])
      expect(exec.exec?.args?.toString()).toBe('true\0')
    }
    const other = join(top, 'user-1', 'other')
    mkdirSync(other)
    const pid = runIn(other, ['sleep', '60'])
    await sleep(SETTLE_MS)
    expect(announcedAt(other)).toBeUndefined()
    expect((await host.command({ whoIs: { pid } })).sandboxId).toBe('')
    expect((await host.command({ listSandboxes: {} })).sandboxes).toHaveLength(2)
  })

  it('announces a sandbox before the watermark that lets anything of it out', async () => {
    sensor = await start([`${below(top)}/user-1/a-*`])
    for (let i = 0; i < 10; i += 1) {
      const made = join(top, 'user-1', `a-${i}`)
      mkdirSync(made)
      runIn(made, ['true'])
      await waitFor('the announcement', () => announcedAt(made))
    }
    for (const announced of host.heard.announced) {
      const sandbox = toBigInt(announced.cgroupId)
      await waitFor('its exec', () => eventsOf(sandbox, SL_KIND_EXEC)[0])
      expect(host.heard.unannounced.has(sandbox), 'a watermark let out an event of a sandbox not announced').toBe(false)
    }
  })

  it('tells of one that is removed, after its last event, and takes its name again', async () => {
    sensor = await start([`${below(top)}/*/agents-*`])
    const made = join(top, 'user-1', 'agents-short')
    mkdirSync(made)
    const first = await waitFor('the announcement', () => announcedAt(made))
    rmdirSync(made)
    await waitFor('its end', () => host.heard.gone.includes(first.sandboxId))
    mkdirSync(made)
    const second = await waitFor('the next announcement', () => host.heard.announced[1])
    expect(second.cgroupPath).toBe(below(made))
    expect(second.sandboxId).not.toBe(first.sandboxId)
    expect((await host.command({ listSandboxes: {} })).sandboxes).toMatchObject([{ sandboxId: second.sandboxId }])
  })

  it('leaves alone what somebody ordered to be released, until somebody orders otherwise', async () => {
    sensor = await start([`${below(top)}/*/agents-*`])
    const made = join(top, 'user-1', 'agents-released')
    mkdirSync(made)
    const first = await waitFor('the announcement', () => announcedAt(made))
    await host.command({ releaseSandbox: { sandboxId: first.sandboxId } })
    const pid = runIn(made, ['sleep', '60'])
    await sleep(SETTLE_MS)
    expect(host.heard.announced).toHaveLength(1)
    expect((await host.command({ whoIs: { pid } })).sandboxId).toBe('')
    await host.command({ adoptSandbox: { sandboxId: 'again', cgroupPath: below(made) } })
    expect((await host.command({ whoIs: { pid } })).sandboxId).toBe('again')
  })

  it('that is killed is followed by one that holds the same and finds what was made meanwhile', async () => {
    const pattern = `${below(top)}/*/agents-*`
    sensor = await start([pattern])
    const [before, meanwhile, other] = ['agents-before', 'agents-meanwhile', 'other'].map((name) =>
      join(top, 'user-1', name),
    )
    mkdirSync(before ?? '')
    const announced = await waitFor('the announcement', () => announcedAt(before ?? ''))
    process.kill(sensor.pid, 'SIGKILL')
    await sensor.exited
    mkdirSync(meanwhile ?? '')
    mkdirSync(other ?? '')
    runIn(meanwhile ?? '', ['true'])
    await sleep(200)
    sensor = await start([pattern])
    expect(host.heard.hellos.at(-1)?.sandboxes).toMatchObject([{ sandboxId: announced.sandboxId, watch: pattern }])
    const found = await waitFor('what was made meanwhile', () => announcedAt(meanwhile ?? ''))
    // It ran and ended while nobody was there but the programs.
    await waitFor('its exec', () => eventsOf(toBigInt(found.cgroupId), SL_KIND_EXEC)[0])
    expect(host.heard.announced.map(({ cgroupPath }) => basename(cgroupPath))).toEqual([
      'agents-before',
      'agents-meanwhile',
    ])
  })

  it('refuses a pattern that it does not understand, before it attaches anything', async () => {
    await expect(start(['/a/**'])).rejects.toThrow('has **; write a * for each level')
    expect(existsSync(bpfFs.pinDir)).toBe(false)
    sensor = await start([])
  })
})
