/** With rings too small for a storm: every attempt is either submitted or dropped, and every submitted record comes out of its ring. */
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type BpfObject, type Cgroup, loadAddon, type RingReader } from '../../src/native/addon.js'
import { ABI } from '../../src/native/generated/abi.js'
import { EventBatch, toBigInt } from '../../src/proto/codec.js'
import { compileC } from '../support/c-program.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { loadOnly } from '../support/few-programs.js'
import { launch } from '../support/launcher.js'
import { rounds } from '../support/patience.js'
import { privileged } from '../support/privileged.js'
import { until } from '../support/sluice-process.js'
import { withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const PAGE = 4096
const EXECS = rounds({ here: 300, emulated: 60 })
const EVENTS_PER_DRAIN = 256
/** read(2) of the sync descriptor, as /proc/PID/syscall writes it. */
const WAITS_FOR_GO = '0 0x3 '
const HOOKS = ['sl_fork_hook', 'sl_exit_hook', 'sl_exec_hook', 'sl_sys_exit']
const { SL_KIND_EXEC, SL_KIND_FORK, SL_KIND_EXIT, SL_KIND_FILE_OPEN } = ABI.enums

interface Counts {
  attempted: number
  submitted: number
  dropped: number
}

interface Drain {
  /** By kind. */
  events: Map<number, number>
  /** Of each CPU, in the order they came. */
  numbers: Map<number, bigint[]>
}

describe.skipIf(skip)(`the counters ${reason}`, () => {
  const addon = loadAddon()
  let object: BpfObject
  let cgroup: Cgroup
  let path: string
  let priority: RingReader
  let bulk: RingReader

  beforeEach(() => {
    path = freeCgroupPath()
    cgroup = addon.openCgroup(path, { create: true })
    object = addon.openObject('core')
    object.setMapSize('sl_ring_priority', PAGE)
    object.setMapSize('sl_ring_bulk', 2 * PAGE)
    loadOnly(object, HOOKS)
    priority = addon.openRing(object, 'sl_ring_priority')
    bulk = addon.openRing(object, 'sl_ring_bulk')
    for (const program of HOOKS) object.attach(program)
  })

  afterEach(async () => {
    priority.close()
    bulk.close()
    object.close()
    cgroup.close()
    await removeCgroupTree(path)
  })

  function counts(kind: number): Counts {
    const { size, fields } = ABI.structs.sl_counters
    const layout = ABI.structs.sl_kind_counters
    const value = object.lookup('sl_counters', Buffer.alloc(4)) ?? Buffer.alloc(0)
    const total: Counts = { attempted: 0, submitted: 0, dropped: 0 }
    for (let at = 0; at < value.length; at += size) {
      const base = at + fields.kinds + kind * layout.size
      for (const name of ['attempted', 'submitted', 'dropped'] as const) {
        total[name] += Number(value.readBigUInt64LE(base + layout.fields[name]))
      }
    }
    return total
  }

  function drain(...rings: RingReader[]): Drain {
    const buffer = Buffer.alloc(EVENTS_PER_DRAIN * 1024 + addon.maxEncodedEvent)
    const drained: Drain = { events: new Map(), numbers: new Map() }
    for (const ring of rings) {
      for (let more = true; more; ) {
        const result = ring.drain(buffer, EVENTS_PER_DRAIN)
        expect(result.malformed).toBe(0)
        more = result.more
        for (const { kind, cpu, cpuSeq } of EventBatch.decode(buffer.subarray(0, result.bytes)).events) {
          drained.events.set(kind ?? 0, (drained.events.get(kind ?? 0) ?? 0) + 1)
          drained.numbers.set(cpu ?? 0, [...(drained.numbers.get(cpu ?? 0) ?? []), toBigInt(cpuSeq)])
        }
      }
    }
    return drained
  }

  /** Runs a command as ours from its first instruction on; `meanwhile` is called until it ends. */
  async function run(command: string[], meanwhile: () => void = () => {}): Promise<void> {
    const launched = launch({ command })
    const pid = launched.child.pid ?? 0
    // Else its own loading would count as well.
    await until('the launcher waits', () => readFileSync(`/proc/${pid}/syscall`, 'utf8').startsWith(WAITS_FOR_GO))
    const { size, fields } = ABI.structs.sl_task
    const value = Buffer.alloc(size)
    value.writeBigUInt64LE(cgroup.id, fields.sandbox)
    object.updateTask('sl_tasks', pid, value)
    cgroup.addProcess(pid)
    launched.go('G')
    const timer = setInterval(meanwhile, 1)
    try {
      expect(await launched.result).toMatchObject({ code: 0 })
    } finally {
      clearInterval(timer)
    }
  }

  const ALL = [SL_KIND_EXEC, SL_KIND_FORK, SL_KIND_EXIT, SL_KIND_FILE_OPEN]

  it('add up when nobody reads, and the rings hold what was submitted', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      await run([storm, 'writes', '0'])
      const calm = counts(SL_KIND_FILE_OPEN)
      expect(calm).toMatchObject({ dropped: 0, submitted: calm.attempted })
      drain(priority, bulk)
      await run([storm, 'writes', '5000'])
      const opens = counts(SL_KIND_FILE_OPEN)
      expect(opens.attempted).toBe(2 * calm.attempted + 5000)
      expect(opens.dropped).toBeGreaterThan(4000)
      for (const kind of ALL) {
        const { attempted, submitted, dropped } = counts(kind)
        expect(attempted).toBe(submitted + dropped)
      }
      expect(drain(bulk).events.get(SL_KIND_FILE_OPEN)).toBe(opens.submitted - calm.submitted)
      // The open that was one too many did not cost the exec and the exit their places.
      expect(counts(SL_KIND_EXEC)).toEqual({ attempted: 2, submitted: 2, dropped: 0 })
      expect(counts(SL_KIND_EXIT)).toEqual({ attempted: 2, submitted: 2, dropped: 0 })
    })
  })

  it('add up while somebody reads, for each kind', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const total = new Map<number, number>()
      const take = () => {
        for (const [kind, count] of drain(priority, bulk).events) total.set(kind, (total.get(kind) ?? 0) + count)
      }
      await run([storm, 'execs', String(EXECS)], take)
      take()
      for (const [kind, attempted] of [
        [SL_KIND_EXEC, EXECS + 1],
        [SL_KIND_FORK, EXECS],
        [SL_KIND_EXIT, EXECS + 1],
      ] as const) {
        const count = counts(kind)
        expect(count.attempted, `kind ${kind}`).toBe(attempted)
        expect(count.submitted + count.dropped, `kind ${kind}`).toBe(attempted)
        expect(total.get(kind) ?? 0, `kind ${kind}`).toBe(count.submitted)
      }
      expect(counts(SL_KIND_FILE_OPEN).submitted).toBe(total.get(SL_KIND_FILE_OPEN))
    })
  })

  it('number every attempt of a CPU, so that a hole is a drop', async () => {
    await withTempDir(async (dir) => {
      await run([compileC('storm', dir), 'forks', '500'])
      const { numbers } = drain(priority, bulk)
      let attempted = 0
      let submitted = 0
      for (const kind of ALL) {
        attempted += counts(kind).attempted
        submitted += counts(kind).submitted
      }
      const all = [...numbers.values()].flat()
      expect(all.length).toBe(submitted)
      for (const ofCpu of numbers.values()) expect(new Set(ofCpu).size).toBe(ofCpu.length)
      const { size, fields } = ABI.structs.sl_counters
      const value = object.lookup('sl_counters', Buffer.alloc(4)) ?? Buffer.alloc(0)
      let numbered = 0
      for (let at = 0; at < value.length; at += size) numbered += Number(value.readBigUInt64LE(at + fields.seq))
      expect(numbered).toBe(attempted)
    })
  })

  it('stay at zero for a stranger', async () => {
    await withTempDir(async (dir) => {
      const launched = launch({ command: [compileC('storm', dir), 'opens', '100'] })
      launched.go('G')
      expect(await launched.result).toMatchObject({ code: 0 })
      for (const kind of ALL) expect(counts(kind).attempted).toBe(0)
      expect(drain(priority, bulk).events.size).toBe(0)
    })
  })
})
