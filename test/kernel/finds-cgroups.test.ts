/** Cgroups below a sandbox are the sandbox's from mkdir on, those below a watched one are sandboxes, and nobody else's mean anything. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import { type IKernelEvent, toBigInt } from '../../src/proto/codec.js'
import type { HeldNames } from '../../src/sensor/held-names.js'
import { encodeWatch, sandboxKey, watchLevels } from '../../src/sensor/map-values.js'
import { TaskWalk } from '../../src/sensor/task-walk.js'
import { compileC } from '../support/c-program.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { CoreObject } from '../support/core-object.js'
import { rounds } from '../support/patience.js'
import { privileged } from '../support/privileged.js'
import { until } from '../support/sluice-process.js'
import { withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const { SL_CGROUP_MKDIR, SL_CGROUP_RMDIR, SL_CGROUP_ATTACH, SL_CGROUP_FOUND, SL_SANDBOX_FOUND } = ABI.enums

const MOVING_MS = 1_500
const FORKING = 50
const WALKS = rounds({ here: 2_000, emulated: 50 })

const processesOf = (path: string) =>
  readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number)

function moveIfAlive(path: string, pid: number): void {
  try {
    writeFileSync(join(path, 'cgroup.procs'), String(pid))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** None of a process that has ended since. */
const threadsOf = (pid: number) => {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return []
  }
}
const idOf = (path: string) => statSync(path, { bigint: true }).ino

describe.skipIf(skip)(`a cgroup ${reason}`, () => {
  let core: CoreObject
  let top: string

  beforeAll(() => {
    core = new CoreObject()
  })

  afterAll(() => core.close())

  beforeEach(() => {
    core.events()
    top = freeCgroupPath()
    mkdirSync(top)
  })

  afterEach(() => removeCgroupTree(top))

  function make(...names: string[]): { path: string; id: bigint } {
    const path = join(top, ...names)
    mkdirSync(path)
    return { path, id: idOf(path) }
  }

  const sandboxEntry = (id: bigint) => core.entry('sl_sandboxes', 'sl_sandbox', id)
  const watchDepth = (id: bigint) => {
    const value = core.object.lookup('sl_watched_cgroups', sandboxKey(id))
    return value === null ? undefined : watchLevels(value)
  }
  const startSandbox = (id: bigint) => core.write('sl_sandboxes', 'sl_sandbox', id, { id })
  const watch = (id: bigint, depth: number, held: HeldNames | null = null) =>
    core.object.update('sl_watched_cgroups', sandboxKey(id), encodeWatch(depth, held))

  const policyEntry = (id: bigint) => core.entry('sl_sandbox_policies', 'sl_sandbox_policy', id)
  const heldEntry = (id: bigint) => ({
    ...{ sandbox: id, sandbox_again: id, policy: 0n, pad: 0n },
    ...{ generation: BigInt(ABI.limits.SL_GENERATION_HELD) },
    flags: BigInt(ABI.enums.SL_POLICY_ENFORCED | ABI.enums.SL_POLICY_HELD),
  })

  /** What was told of cgroups: sandbox, op, path below `top`, cgroup, flags. */
  function told(events: IKernelEvent[] = core.events()): unknown[][] {
    return events.flatMap(({ cgroup, sandbox }) => {
      if (!cgroup) return []
      const path = Buffer.from(cgroup.path ?? []).toString()
      expect(path.startsWith(`/${basename(top)}/`)).toBe(true)
      const below = path.slice(basename(top).length + 2)
      return [[toBigInt(sandbox), cgroup.op, below, toBigInt(cgroup.target), cgroup.flags ?? 0]]
    })
  }

  it('below a sandbox is the sandbox’s until it is removed, as deep as it may lie', () => {
    const root = make('box')
    startSandbox(root.id)
    const child = make('box', 'child')
    const grandchild = make('box', 'child', 'grandchild')
    expect(sandboxEntry(child.id)).toMatchObject({ id: root.id, flags: 0n })
    expect(sandboxEntry(grandchild.id)).toMatchObject({ id: root.id, flags: 0n })
    expect(sandboxEntry(root.id)).toMatchObject({ cgroups: 2n })
    rmdirSync(grandchild.path)
    rmdirSync(child.path)
    expect(sandboxEntry(child.id)).toBeNull()
    expect(sandboxEntry(grandchild.id)).toBeNull()
    expect(sandboxEntry(root.id)).toMatchObject({ cgroups: 0n })
    expect(told()).toEqual([
      [root.id, SL_CGROUP_MKDIR, 'box/child', child.id, 0],
      [root.id, SL_CGROUP_MKDIR, 'box/child/grandchild', grandchild.id, 0],
      [root.id, SL_CGROUP_RMDIR, 'box/child/grandchild', grandchild.id, 0],
      [root.id, SL_CGROUP_RMDIR, 'box/child', child.id, 0],
    ])
  })

  it('has one name for life: nothing has to be seen to know it', () => {
    const { path } = make('box')
    expect(() => renameSync(path, `${path}-renamed`)).toThrowError(expect.objectContaining({ code: 'EPERM' }))
  })

  it('has its whole path, however deep it lies', () => {
    const root = make('box')
    startSandbox(root.id)
    const names = Array.from({ length: 60 }, (_, level) => `level-${level}`)
    for (let depth = 1; depth <= names.length; depth += 1) make('box', ...names.slice(0, depth))
    expect(told().at(-1)?.[2]).toBe(['box', ...names].join('/'))
  })

  it('of a stranger leaves no trace', () => {
    const { path, id } = make('stranger')
    make('stranger', 'child')
    rmdirSync(join(path, 'child'))
    expect(sandboxEntry(id)).toBeNull()
    expect(core.events()).toEqual([])
  })

  it('that is a sandbox’s root keeps its entry when it is removed: ids that were given out outlive it', () => {
    const root = make('box')
    startSandbox(root.id)
    rmdirSync(root.path)
    expect(sandboxEntry(root.id)).toMatchObject({ id: root.id })
    expect(told()).toEqual([[root.id, SL_CGROUP_RMDIR, 'box', root.id, 0]])
  })

  it('is told to nobody when its sandbox has ended', () => {
    const root = make('box')
    startSandbox(root.id)
    const child = make('box', 'child')
    core.events()
    const key = Buffer.alloc(8)
    key.writeBigUInt64LE(root.id)
    core.object.delete('sl_sandboxes', key)
    rmdirSync(child.path)
    expect(sandboxEntry(child.id)).toBeNull()
    expect(core.events()).toEqual([])
  })

  it('right below a watched one is a sandbox at once, and goes with its cgroup', () => {
    const parent = make('slice')
    watch(parent.id, 1)
    const found = make('slice', 'scope')
    expect(sandboxEntry(found.id)).toEqual({ id: found.id, flags: BigInt(SL_SANDBOX_FOUND), cgroups: 0n })
    const child = make('slice', 'scope', 'child')
    expect(sandboxEntry(child.id)).toMatchObject({ id: found.id })
    rmdirSync(child.path)
    rmdirSync(found.path)
    expect(sandboxEntry(found.id)).toBeNull()
    expect(told()).toEqual([
      [found.id, SL_CGROUP_MKDIR, 'slice/scope', found.id, SL_CGROUP_FOUND],
      [found.id, SL_CGROUP_MKDIR, 'slice/scope/child', child.id, 0],
      [found.id, SL_CGROUP_RMDIR, 'slice/scope/child', child.id, 0],
      [found.id, SL_CGROUP_RMDIR, 'slice/scope', found.id, 0],
    ])
  })

  it('below a watched one is watched as deep as it was said, and forgotten when it is removed', () => {
    const parent = make('a')
    watch(parent.id, 3)
    const second = make('a', 'b')
    const third = make('a', 'b', 'c')
    const found = make('a', 'b', 'c', 'd')
    expect([second.id, third.id, found.id].map(watchDepth)).toEqual([2, 1, undefined])
    expect([second.id, third.id].map(sandboxEntry)).toEqual([null, null])
    expect(sandboxEntry(found.id)).toMatchObject({ id: found.id })
    for (const { path } of [found, third, second]) rmdirSync(path)
    expect([second.id, third.id].map(watchDepth)).toEqual([undefined, undefined])
  })

  it('below a sandbox is not watched, whoever watches its parent', () => {
    const root = make('box')
    startSandbox(root.id)
    watch(root.id, 1)
    expect(sandboxEntry(make('box', 'child').id)).toMatchObject({ id: root.id, flags: 0n })
  })

  it('that was taken over keeps its entry when it is removed', () => {
    const parent = make('slice')
    watch(parent.id, 1)
    const found = make('slice', 'scope')
    startSandbox(found.id)
    rmdirSync(found.path)
    expect(sandboxEntry(found.id)).toMatchObject({ id: found.id, flags: 0n })
  })

  it.each<[HeldNames, readonly string[], readonly string[]]>([
    [
      { head: 'box-', tail: '.scope', isOne: false },
      ['box-1.scope', 'box-.scope'],
      ['box.scope', 'box-1', 'x-1.scope'],
    ],
    [{ head: '', tail: '', isOne: false }, ['a', 'box'], []],
    [{ head: 'ab', tail: 'ba', isOne: false }, ['abba', 'ab.ba'], ['aba', 'ab', 'ba']],
    [{ head: 'box', tail: '', isOne: true }, ['box'], ['box-1', 'bo', 'xbox']],
    [
      { head: 'b'.repeat(31), tail: 't'.repeat(31), isOne: false },
      [`${'b'.repeat(31)}${'t'.repeat(31)}`],
      ['b'.repeat(62)],
    ],
  ])(
    'of a name that is to be held (%j) is held before it is a sandbox, and others are not touched',
    (held, ours, others) => {
      const parent = make('slice')
      watch(parent.id, 2, held)
      make('slice', 'below')
      for (const name of [...ours, ...others]) {
        const found = make('slice', 'below', name)
        expect(sandboxEntry(found.id)).toMatchObject({ id: found.id })
        expect([name, policyEntry(found.id)]).toEqual([name, ours.includes(name) ? heldEntry(found.id) : null])
        const child = make('slice', 'below', name, 'child')
        expect([sandboxEntry(child.id)?.id, policyEntry(child.id)]).toEqual([found.id, null])
        rmdirSync(child.path)
        rmdirSync(found.path)
        expect(policyEntry(found.id)).toBeNull()
      }
      // Nor are those that are a sandbox's, or nobody's.
      const [box, plain] = [make('box'), make('plain')]
      startSandbox(box.id)
      watch(box.id, 1, held)
      for (const path of [make('box', ours[0] ?? ''), make('plain', ours[0] ?? ''), plain]) {
        expect(policyEntry(path.id)).toBeNull()
      }
    },
  )

  it('that was held and taken over keeps what it is held by when it is removed', () => {
    const parent = make('slice')
    watch(parent.id, 1, { head: '', tail: '', isOne: false })
    const found = make('slice', 'scope')
    startSandbox(found.id)
    rmdirSync(found.path)
    expect(policyEntry(found.id)).toEqual(heldEntry(found.id))
    core.object.delete('sl_sandbox_policies', sandboxKey(found.id))
  })

  it('that was found has its first process from its first instruction on', async () => {
    const parent = make('slice')
    watch(parent.id, 1)
    const found = make('slice', 'scope')
    // As container runtimes do it: a process that waits is put there, then execs.
    const child = spawn('sh', ['-c', 'read go; exec /bin/true first'], { stdio: ['pipe', 'ignore', 'inherit'] })
    const exited = once(child, 'exit')
    core.events()
    writeFileSync(join(found.path, 'cgroup.procs'), String(child.pid))
    expect(core.sandboxOf(child.pid ?? 0)).toBe(found.id)
    child.stdin.end('go\n')
    await exited
    const events = core.events()
    expect(told(events)).toEqual([[found.id, SL_CGROUP_ATTACH, 'slice/scope', found.id, 0]])
    expect(events.find(({ cgroup }) => cgroup)).toMatchObject({ pid: child.pid, cgroup: { actorPid: process.pid } })
    const execs = events.filter(({ exec }) => exec)
    expect(execs.map(({ exec, sandbox, pid }) => [toBigInt(sandbox), pid, exec?.argc])).toEqual([
      [found.id, child.pid, 2],
    ])
    expect(events.filter(({ exit }) => exit)).toMatchObject([{ pid: child.pid }])
  })

  it('whose tasks are found over and over while they fork loses the id of none', async () => {
    await withTempDir(async (dir) => {
      const box = make('box')
      const walk = new TaskWalk(core.addon, core.object)
      const file = join(dir, 'file')
      const child = spawn(
        'sh',
        ['-c', `echo 0 >${box.path}/cgroup.procs; exec ${compileC('swarm', dir)} ${FORKING} ${file}`],
        { stdio: 'inherit' },
      )
      try {
        await until('they are there', () => processesOf(box.path).length >= FORKING)
        startSandbox(box.id)
        const told: IKernelEvent[] = []
        for (let round = 0; round < WALKS; round++) {
          // Who was just forked gets its id from its parent and from the walk, at the same moment.
          walk.untilSettled('tag', box.id)
          told.push(...core.events().filter(({ quarantine }) => quarantine))
        }
        expect(told).toEqual([])
        expect(sandboxEntry(box.id)).toMatchObject({ flags: 0n })
      } finally {
        writeFileSync(file, '')
        child.kill('SIGKILL')
        writeFileSync(join(box.path, 'cgroup.kill'), '1')
        walk.close()
      }
    })
  })

  it('that is filled while its processes fork and hand on holds nobody who is not the sandbox’s', async () => {
    await withTempDir(async (dir) => {
      const [from, box] = [make('from'), make('box')]
      startSandbox(box.id)
      const file = join(dir, 'file')
      const swarm = compileC('swarm', dir)
      const child = spawn('sh', ['-c', `echo 0 >${from.path}/cgroup.procs; exec ${swarm} 6 ${file}`])
      await until('they are there', () => processesOf(from.path).length > 0)
      const deadline = performance.now() + MOVING_MS
      while (performance.now() < deadline || processesOf(from.path).length > 0) {
        for (const pid of processesOf(from.path)) moveIfAlive(box.path, pid)
        core.events()
        await sleep(1)
      }
      writeFileSync(file, '')
      const seen: IKernelEvent[] = []
      const openers = () => {
        seen.push(...core.events())
        return new Set(seen.filter(({ fileOpen }) => fileOpen?.path?.toString() === file).map(({ tid }) => tid))
      }
      // All but the first process, which only waits for the others. One of two threads may have opened it when the process hands on late.
      const left = await until('all threads that are left have opened the file', () => {
        const seenOf = openers()
        const processes = processesOf(box.path).filter((pid) => pid !== child.pid)
        return processes.length > 2 && processes.flatMap(threadsOf).every((tid) => seenOf.has(tid)) && processes
      })
      expect(processesOf(from.path)).toEqual([])
      for (const pid of [child.pid ?? 0, ...left]) expect(core.sandboxOf(pid), `process ${pid}`).toBe(box.id)
      child.kill('SIGKILL')
    })
  })
})
