/**
 * A sensor and cgroups that somebody else made, with processes already in them: taken under watch with every thread, stopped, let go
 * on, killed and let go, and never removed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import { type KernelEvent, toBigInt } from '../../src/proto/codec.js'
import type { Role } from '../../src/supervise/role.js'
import { compileC } from '../support/c-program.js'
import { cgroupMount, freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { privileged } from '../support/privileged.js'
import { hostSensors, type SensorHost, startSensor, waitFor } from '../support/sensor-process.js'
import { goOn } from '../support/shell-loops.js'
import { commandLine, isAlive, isStopped } from '../support/sluice-process.js'

const { skip, reason } = privileged('bpf')
const { SL_KIND_EXEC, SL_KIND_FORK, SL_KIND_FILE_OPEN, SL_KIND_PROCESS } = ABI.enums
const SWARM = 200

describe.skipIf(skip)(`a cgroup that somebody else made ${reason}`, () => {
  let dir: string
  let path: string
  let host: SensorHost
  let sensor: Role
  let children: ChildProcess[]

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    path = freeCgroupPath()
    mkdirSync(path)
    children = []
    host = await hostSensors(dir)
    const runDir = join(dir, 'run-test')
    mkdirSync(runDir)
    sensor = await startSensor({ runtimeDir: dir, runDir, uplinkSocket: host.uplinkSocket })
  })

  afterEach(async () => {
    await sensor.stop()
    await host.close()
    await removeCgroupTree(path)
    for (const child of children) child.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true })
  })

  /** A process that is in the cgroup before anybody watches it. */
  function runIn(cgroup: string, command: readonly [string, ...string[]]): number {
    const child = spawn('sh', ['-c', 'echo 0 > "$0/cgroup.procs"; exec "$@"', cgroup, ...command], { stdio: 'ignore' })
    children.push(child)
    return child.pid ?? 0
  }

  async function settledIn(cgroup: string, command: readonly [string, ...string[]]): Promise<number> {
    const pid = runIn(cgroup, command)
    // The shell that moves itself names the file that it moves itself by.
    await waitFor(
      'the process in its cgroup',
      () => pidsIn(cgroup).includes(pid) && !commandLine(pid).includes('procs'),
    )
    return pid
  }

  const adopt = (cgroup = path) =>
    host.command({
      adoptSandbox: { sandboxId: 'adopted', cgroupPath: belowRoot(cgroup), descriptor: Buffer.from('who') },
    })
  const ofKind = (kind: number) => host.heard.events.filter((event) => event.kind === kind)

  it('is taken under watch with what runs in it and below it', async () => {
    const below = join(path, 'a')
    mkdirSync(join(below, 'b'), { recursive: true })
    const top = await settledIn(path, ['sleep', '60'])
    const deep = await settledIn(join(below, 'b'), ['sh', '-c', goOn()])
    const result = await adopt()
    expect(result).toMatchObject({ cgroupPath: belowRoot(path), error: '' })
    expect(result.processes).toBeGreaterThanOrEqual(2)
    const found = await waitFor('both processes', () => {
      const facts = ofKind(SL_KIND_PROCESS)
      return facts.length >= 2 && new Map(facts.map((fact) => [fact.pid, fact]))
    })
    expect(found.get(top)).toMatchObject({ ppid: process.pid, execCount: 0, sandbox: result.cgroupId })
    expect(found.get(top)?.process?.args?.toString()).toBe('sleep\x0060\0')
    expect(found.get(top)?.process?.exe?.toString()).toMatch(/\/(?:sleep|coreutils)$/)
    expect(found.get(deep)?.process?.cwd?.toString()).toBe(process.cwd())
    const later = await waitFor('what it did next', () => ofKind(SL_KIND_FORK).find((event) => event.pid === deep))
    // The same exec of the same process as in the fact before it.
    expect(execOf(later)).toEqual(execOf(found.get(deep)))
    expect(host.heard.events.indexOf(later)).toBeGreaterThan(host.heard.events.findIndex((each) => each.pid === deep))
    const exec = await waitFor('an exec below', () => ofKind(SL_KIND_EXEC).find((event) => event.ppid === deep))
    expect(toBigInt(exec.sandbox)).toBe(toBigInt(result.cgroupId))
  })

  it('is held with every thread of two hundred processes that fork all the time', async () => {
    const marker = join(dir, 'marker')
    const swarm = compileC('swarm', dir)
    await settledIn(path, [swarm, String(SWARM), marker])
    await waitFor('the swarm', () => pidsIn(path).length > SWARM / 2)
    await adopt()
    writeFileSync(marker, '')
    const opened = () =>
      new Set(
        ofKind(SL_KIND_FILE_OPEN)
          .filter((event) => isOpenOf(event, marker))
          .map((event) => event.tid),
      )
    // The first process only waits for the others. A thread may open the file and end with a process that hands on late.
    await waitFor('every thread of those that are left', () => {
      const [seen, left] = [opened(), threadsIn(path)]
      return left.length === 2 * SWARM + 1 && left.filter((tid) => !seen.has(tid)).length === 1
    })
    for (const pid of pidsIn(path).slice(0, 20)) {
      expect((await host.command({ whoIs: { pid } })).sandboxId).toBe('adopted')
    }
    expect((await host.command({ killSandbox: { sandboxId: 'adopted' } })).killed).toBeGreaterThanOrEqual(SWARM)
    expect(pidsIn(path)).toEqual([])
    expect(existsSync(path)).toBe(true)
  })

  it('stands still, goes on, and is let go with what runs in it', async () => {
    const pid = await settledIn(path, ['sh', '-c', goOn(':', 100_000_000)])
    await adopt()
    await host.command({ freezeSandbox: { sandboxId: 'adopted', frozen: true } })
    expect(eventsOf(path)).toContain('frozen 1')
    expect((await host.command({ listSandboxes: {} })).sandboxes).toMatchObject([
      {
        sandboxId: 'adopted',
        cgroupPath: belowRoot(path),
        adopted: true,
        frozen: true,
        descriptor: Buffer.from('who'),
      },
    ])
    await host.command({ freezeSandbox: { sandboxId: 'adopted', frozen: false } })
    expect(eventsOf(path)).toContain('frozen 0')
    await host.command({ freezeSandbox: { sandboxId: 'adopted', frozen: true } })
    await host.command({ releaseSandbox: { sandboxId: 'adopted' } })
    expect(eventsOf(path)).toContain('frozen 0')
    expect(isAlive(pid)).toBe(true)
    expect(pidsIn(path)).toEqual([pid])
    expect((await host.command({ listSandboxes: {} })).sandboxes).toEqual([])
    expect((await host.command({ whoIs: { pid } })).sandboxId).toBe('')
    // And again: nothing of the first time is left.
    expect((await adopt()).processes).toBe(1)
  })

  it('stops and kills what left it', async () => {
    // Not dash: it waits in vfork(2) for a child that is stopped, and is not to be seen as stopped itself then.
    const pid = await settledIn(path, ['bash', '-c', goOn()])
    await adopt()
    writeFileSync(join(cgroupMount() ?? '', 'cgroup.procs'), String(pid))
    expect((await host.command({ whoIs: { pid } })).sandboxId).toBe('adopted')
    await host.command({ freezeSandbox: { sandboxId: 'adopted', frozen: true } })
    await waitFor('the stop', () => isStopped(pid))
    await host.command({ freezeSandbox: { sandboxId: 'adopted', frozen: false } })
    await waitFor('the going on', () => !isStopped(pid))
    await host.command({ freezeSandbox: { sandboxId: 'adopted', frozen: true } })
    expect((await host.command({ killSandbox: { sandboxId: 'adopted' } })).killed).toBeGreaterThanOrEqual(1)
    expect(isAlive(pid)).toBe(false)
  })

  it('is released when the sensor stops, and frozen no longer', async () => {
    const pid = await settledIn(path, ['sleep', '60'])
    await adopt()
    await host.command({ freezeSandbox: { sandboxId: 'adopted', frozen: true } })
    await sensor.stop()
    await waitFor('the thaw', () => eventsOf(path).includes('frozen 0'))
    expect(pidsIn(path)).toEqual([pid])
  })

  it('is refused where it can be none', async () => {
    const own = readFileSync('/proc/self/cgroup', 'utf8').match(/^0::(.*)$/m)?.[1] ?? ''
    const refused = (cgroupPath: string) => host.command({ adoptSandbox: { sandboxId: 'x', cgroupPath } })
    await expect(refused('/')).rejects.toThrow('must be a path below the cgroup v2 root')
    await expect(refused('/a/../b')).rejects.toThrow('must be a path below the cgroup v2 root')
    await expect(refused('/sluice/x')).rejects.toThrow('where sluice keeps the sandboxes')
    await expect(refused('/there/is/none')).rejects.toThrow(
      'there/is/none: No such file or directory; name one that is there',
    )
    if (own !== '/') await expect(refused(own)).rejects.toThrow('does not watch itself')
    await adopt()
    mkdirSync(join(path, 'below'))
    await expect(refused(`${belowRoot(path)}/below`)).rejects.toThrow('overlaps with sandbox adopted')
    await expect(adopt()).rejects.toThrow('sandbox adopted is already running')
    await expect(host.command({ endSandbox: { sandboxId: 'adopted' } })).rejects.toThrow('release it instead')
    await expect(host.command({ killSandbox: { sandboxId: 'y' } })).rejects.toThrow('there is no sandbox y')
  })

  it('is told apart from processes that are nobody’s or gone', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    children.push(child)
    expect((await host.command({ whoIs: { pid: child.pid ?? 0 } })).sandboxId).toBe('')
    expect((await host.command({ whoIs: { pid: 2 ** 22 + 1 } })).sandboxId).toBe('unknown')
  })
})

function execOf(event: KernelEvent | undefined) {
  return { pid: event?.pid, execCount: event?.execCount, startTimeNs: toBigInt(event?.startTimeNs) }
}

function isOpenOf(event: KernelEvent, path: string): boolean {
  return event.fileOpen?.path?.toString() === path
}

function belowRoot(path: string): string {
  return path.slice((cgroupMount() ?? '').length)
}

function eventsOf(path: string): string {
  return readFileSync(join(path, 'cgroup.events'), 'utf8')
}

const pidsIn = (path: string) => numbersOf(path, 'cgroup.procs')
const threadsIn = (path: string) => numbersOf(path, 'cgroup.threads')

function numbersOf(path: string, file: string): number[] {
  const below = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const own = readFileSync(join(path, file), 'utf8').split('\n').filter(Boolean).map(Number)
  return [...own, ...below.flatMap((entry) => numbersOf(join(path, entry.name), file))]
}
