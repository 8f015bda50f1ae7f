/** However hard one sandbox storms, another has room in the rings; and what each told and lost is counted by itself, exactly. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type BpfObject, type Cgroup, loadAddon, type RingReader } from '../../src/native/addon.js'
import { ABI } from '../../src/native/generated/abi.js'
import { EventBatch, toBigInt } from '../../src/proto/codec.js'
import { readCounters } from '../../src/sensor/kind-counters.js'
import { addShare, OTHERS, readShare, removeShare, shareRings } from '../../src/sensor/ring-shares.js'
import { compileC } from '../support/c-program.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { loadOnly } from '../support/few-programs.js'
import { launch } from '../support/launcher.js'
import { rounds } from '../support/patience.js'
import { privileged } from '../support/privileged.js'
import { until } from '../support/sluice-process.js'
import { withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const RING_BYTES = 64 * 1024
const SPAN_BYTES = RING_BYTES / ABI.limits.SL_SPANS_OF_RING
const STORM = 5_000
const REFILLS = rounds({ here: 20, emulated: 5 })
const EVENTS_PER_DRAIN = 256
/** read(2) of the sync descriptor, as /proc/PID/syscall writes it. */
const WAITS_FOR_GO = '0 0x3 '
const HOOKS = ['sl_fork_hook', 'sl_exit_hook', 'sl_exec_hook', 'sl_sys_exit']
const { SL_KIND_EXEC, SL_KIND_FORK, SL_KIND_EXIT, SL_KIND_FILE_OPEN, SL_KIND_CONNECT, SL_KIND_SOCKET } = ABI.enums
const ALL = [SL_KIND_EXEC, SL_KIND_FORK, SL_KIND_EXIT, SL_KIND_FILE_OPEN, SL_KIND_CONNECT, SL_KIND_SOCKET]

describe.skipIf(skip)(`a sandbox's share of the rings ${reason}`, () => {
  const addon = loadAddon()
  let object: BpfObject
  let rings: RingReader[]
  let made: { cgroup: Cgroup; path: string }[]

  beforeEach(() => {
    made = []
    load()
  })

  function load({ sharesMax = ABI.limits.SL_SHARES_MAX as number } = {}): void {
    object = addon.openObject('core')
    object.setMapSize('sl_ring_priority', RING_BYTES)
    object.setMapSize('sl_ring_bulk', RING_BYTES)
    object.setMapSize('sl_shares', sharesMax)
    loadOnly(object, HOOKS)
    rings = [addon.openRing(object, 'sl_ring_priority'), addon.openRing(object, 'sl_ring_bulk')]
    for (const program of HOOKS) object.attach(program)
  }

  function close(): void {
    for (const ring of rings) ring.close()
    object.close()
  }

  afterEach(async () => {
    close()
    for (const { cgroup, path } of made) {
      cgroup.close()
      await removeCgroupTree(path)
    }
  })

  function sandbox({ share = true } = {}): bigint {
    const path = freeCgroupPath()
    const cgroup = addon.openCgroup(path, { create: true })
    made.push({ cgroup, path })
    if (share) addShare(object, cgroup.id)
    return cgroup.id
  }

  /** Runs a command as the sandbox's from its first instruction on. */
  async function run(id: bigint, command: string[], meanwhile: () => void = () => {}): Promise<void> {
    const launched = launch({ command })
    const pid = launched.child.pid ?? 0
    await until('the launcher waits', () => readFileSync(`/proc/${pid}/syscall`, 'utf8').startsWith(WAITS_FOR_GO))
    const { size, fields } = ABI.structs.sl_task
    const value = Buffer.alloc(size)
    value.writeBigUInt64LE(id, fields.sandbox)
    object.updateTask('sl_tasks', pid, value)
    launched.go('G')
    const timer = setInterval(meanwhile, 1)
    try {
      expect(await launched.result).toMatchObject({ code: 0 })
    } finally {
      clearInterval(timer)
    }
  }

  function counts(id: bigint, kind: number) {
    const { attempted = 0n, submitted = 0n, dropped = 0n } = readShare(object, id).get(kind) ?? {}
    return { attempted: Number(attempted), submitted: Number(submitted), dropped: Number(dropped) }
  }

  /** Records by sandbox and kind. */
  function drain(eventsMax = Number.POSITIVE_INFINITY): Map<string, number> {
    const buffer = Buffer.alloc(EVENTS_PER_DRAIN * 1024 + addon.maxEncodedEvent)
    const found = new Map<string, number>()
    let left = eventsMax
    for (const ring of rings) {
      for (let more = true; more && left > 0; ) {
        const result = ring.drain(buffer, Math.min(left, EVENTS_PER_DRAIN))
        more = result.more
        left -= result.events
        for (const { kind, sandbox: id } of EventBatch.decode(buffer.subarray(0, result.bytes)).events) {
          const key = `${toBigInt(id)} ${kind}`
          found.set(key, (found.get(key) ?? 0) + 1)
        }
      }
    }
    return found
  }

  /** What a share says is in the bulk ring, all spans together. */
  function bulkBytes(id: bigint): number {
    const value = object.lookup('sl_shares', keyOf(id)) ?? Buffer.alloc(0)
    const spans = ABI.limits.SL_SPANS_OF_RING * 2
    const at = ABI.structs.sl_share.fields.spans + ABI.enums.SL_RING_BULK * spans * 8
    let bytes = 0
    for (let span = 0; span < spans; span += 1) bytes += value.readUInt32LE(at + span * 8)
    return bytes
  }

  it('is half of a ring while nobody else storms, and the other one loses nothing', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      shareRings(object)
      const [loud, quiet] = [sandbox(), sandbox()]
      await run(loud, [storm, 'writes', String(STORM)])
      const held = bulkBytes(loud)
      expect(held).toBeGreaterThan(RING_BYTES / 2 - SPAN_BYTES - 512)
      expect(held).toBeLessThan(RING_BYTES / 2 + 2 * 512)
      await run(quiet, [storm, 'writes', '20'])
      for (const kind of ALL) expect(counts(quiet, kind).dropped, `kind ${kind}`).toBe(0)
      expect(counts(quiet, SL_KIND_FILE_OPEN).submitted).toBeGreaterThanOrEqual(20)
      expect(counts(loud, SL_KIND_FILE_OPEN).dropped).toBeGreaterThan(STORM / 2)
      for (const id of [loud, quiet])
        expect(counts(id, SL_KIND_EXEC)).toEqual({ attempted: 1, submitted: 1, dropped: 0 })
      const found = drain()
      for (const id of [loud, quiet])
        for (const kind of ALL) expect(found.get(`${id} ${kind}`) ?? 0).toBe(counts(id, kind).submitted)
    })
  })

  it('is less the more storm, and there is room for one more each time', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      shareRings(object)
      const ids: bigint[] = []
      for (let each = 0; each < 4; each += 1) {
        const id = sandbox()
        await run(id, [storm, 'writes', String(STORM)])
        ids.push(id)
      }
      const held = ids.map(bulkBytes)
      for (const [index, bytes] of held.entries()) {
        const left = RING_BYTES - held.slice(0, index).reduce((sum, each) => sum + each, 0)
        expect(bytes, held.join()).toBeLessThanOrEqual(left / 2 + 512)
        expect(bytes, held.join()).toBeGreaterThan(512)
      }
      const quiet = sandbox()
      await run(quiet, [storm, 'writes', '0'])
      for (const kind of ALL) expect(counts(quiet, kind).dropped, `kind ${kind}`).toBe(0)
      expectSums([...ids, quiet])
    })
  })

  it('is given back as it is read, by any reader', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      shareRings(object)
      const loud = sandbox()
      await run(loud, [storm, 'writes', String(STORM)])
      const full = counts(loud, SL_KIND_FILE_OPEN).submitted
      for (const ring of rings) ring.close()
      rings = [addon.openRing(object, 'sl_ring_priority'), addon.openRing(object, 'sl_ring_bulk')]
      for (let round = 1; round <= REFILLS; round += 1) {
        drain()
        await run(loud, [storm, 'writes', String(STORM)])
      }
      const more = (counts(loud, SL_KIND_FILE_OPEN).submitted - full) / REFILLS
      expect(more).toBeGreaterThan(full * 0.7)
      expect(more).toBeLessThan(full * 1.1)
    })
  })

  it('keeps exact counts of each while several storm and somebody reads', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      shareRings(object)
      const ids = [sandbox(), sandbox(), sandbox()]
      const total = new Map<string, number>()
      const take = () => {
        for (const [key, count] of drain(200)) total.set(key, (total.get(key) ?? 0) + count)
      }
      const [one = 0n, two = 0n, three = 0n] = ids
      await Promise.all([
        run(one, [storm, 'writes', '20000'], take),
        run(two, [storm, 'connects', '5000']),
        run(three, [storm, 'forks', '500']),
      ])
      for (const [key, count] of drain()) total.set(key, (total.get(key) ?? 0) + count)
      for (const id of ids)
        for (const kind of ALL) expect(total.get(`${id} ${kind}`) ?? 0).toBe(counts(id, kind).submitted)
      expect(counts(two, SL_KIND_CONNECT).attempted).toBe(5_000)
      expect(counts(two, SL_KIND_SOCKET).attempted).toBe(5_000)
      expect(counts(three, SL_KIND_FORK).attempted).toBe(500)
      expect(counts(three, SL_KIND_EXIT).attempted).toBe(501)
      expect(counts(one, SL_KIND_FILE_OPEN).attempted).toBeGreaterThanOrEqual(20_000)
      expectSums(ids)
    })
  })

  it('is one for all processes of the sandbox, in whatever cgroup', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      shareRings(object)
      const [loud, quiet] = [sandbox(), sandbox()]
      const { path = '' } = made[0] ?? {}
      const below = Array.from({ length: 20 }, (_, index) => join(path, `below${index}`))
      for (const each of below) mkdirSync(each)
      const moved = 'for dir in "$@"; do (echo 0 > "$dir/cgroup.procs"; exec "$0" writes 500) & done; wait'
      await run(loud, ['sh', '-c', moved, storm, ...below])
      expect(bulkBytes(loud)).toBeLessThan(RING_BYTES / 2 + 4 * 512)
      await run(quiet, [storm, 'writes', '20'])
      for (const kind of ALL) expect(counts(quiet, kind).dropped, `kind ${kind}`).toBe(0)
      expect(counts(loud, SL_KIND_FILE_OPEN).attempted).toBeGreaterThanOrEqual(10_000)
      expectSums([loud, quiet])
    })
  })

  it('is less for each of many, and what each lost is exact', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      shareRings(object)
      const ids = Array.from({ length: 24 }, () => sandbox())
      const total = new Map<string, number>()
      const take = () => {
        for (const [key, count] of drain(50)) total.set(key, (total.get(key) ?? 0) + count)
      }
      await Promise.all(ids.map((id, index) => run(id, [storm, 'writes', '1000'], index === 0 ? take : undefined)))
      for (const [key, count] of drain()) total.set(key, (total.get(key) ?? 0) + count)
      for (const id of ids)
        for (const kind of ALL) expect(total.get(`${id} ${kind}`) ?? 0).toBe(counts(id, kind).submitted)
      const opened = new Set(ids.map((id) => counts(id, SL_KIND_FILE_OPEN).attempted))
      expect(opened.size).toBe(1)
      expectSums(ids)
    })
  })

  it('is the others’ for a sandbox for which there is no room, and nothing fails', async () => {
    close()
    load({ sharesMax: 2 })
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      shareRings(object)
      const ids = [sandbox(), sandbox(), sandbox()]
      for (const id of ids) await run(id, [storm, 'writes', '10'])
      expect(counts(ids[0] ?? 0n, SL_KIND_EXEC).attempted).toBe(1)
      expect(counts(OTHERS, SL_KIND_EXEC).attempted).toBe(2)
      removeShare(object, ids[0] ?? 0n)
      addShare(object, ids[1] ?? 0n)
      await run(ids[1] ?? 0n, [storm, 'writes', '10'])
      expect(counts(ids[1] ?? 0n, SL_KIND_EXEC).attempted).toBe(1)
    })
  })

  it('of those that have none is one together, and so are their counts', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      shareRings(object)
      const ids = [sandbox({ share: false }), sandbox({ share: false })]
      for (const id of ids) await run(id, [storm, 'writes', String(STORM)])
      const others = bulkBytes(OTHERS)
      expect(others).toBeLessThan(RING_BYTES / 2 + 2 * 512)
      expect(counts(OTHERS, SL_KIND_EXEC).attempted).toBe(2)
      expect(counts(OTHERS, SL_KIND_FILE_OPEN).attempted).toBeGreaterThanOrEqual(2 * STORM)
      removeShare(object, OTHERS) // is never removed
      expectSums([OTHERS])
    })
  })

  it('is all of a ring that one sandbox has for itself', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const alone = sandbox()
      await run(alone, [storm, 'writes', String(STORM)])
      const { submitted, dropped } = counters(SL_KIND_FILE_OPEN)
      expect(readShare(object, alone).size).toBe(0)
      expect(submitted).toBeGreaterThan(RING_BYTES / 2 / 200)
      expect(submitted + dropped).toBeGreaterThanOrEqual(STORM)
      shareRings(object)
      const other = sandbox()
      await run(other, [storm, 'writes', '0'])
      expect(counts(other, SL_KIND_FILE_OPEN).submitted).toBe(0)
    })
  })

  function counters(kind: number) {
    const { attempted = 0n, submitted = 0n, dropped = 0n } = readCounters(object).kinds.get(kind) ?? {}
    return { attempted: Number(attempted), submitted: Number(submitted), dropped: Number(dropped) }
  }

  function expectSums(ids: readonly bigint[]): void {
    for (const kind of ALL) {
      for (const count of ['attempted', 'submitted', 'dropped'] as const) {
        const sum = ids.reduce((before, id) => before + counts(id, kind)[count], 0)
        expect(sum, `${count} of kind ${kind}`).toBe(counters(kind)[count])
      }
    }
  }
})

function keyOf(id: bigint): Buffer {
  const key = Buffer.alloc(8)
  key.writeBigUInt64LE(id)
  return key
}
