import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Image, type ProcessRef, ProcessTree } from '../../../src/engine/process-tree.js'

const ref = (pid: number, execCount: number, startTimeNs = BigInt(pid)): ProcessRef => ({
  pid,
  execCount,
  startTimeNs,
  sandbox: 1n,
})
const image = (exe: string, bytes = 0): Image => ({
  exe: Buffer.from(exe),
  cwd: Buffer.alloc(bytes),
  args: [],
  argsBytes: 0,
  argsTruncated: false,
})
const exeOf = (tree: ProcessTree, process: ProcessRef) => {
  const { image: found } = tree.look(process)
  return found === null ? null : Buffer.from(found.exe).toString()
}

describe('process tree', () => {
  it('names one exec of one process on one boot', () => {
    const boot = createHash('sha256').update('boot').digest('hex').slice(0, 8)
    expect(new ProcessTree('boot').execId(ref(10, 2, 1296n))).toBe(`${boot}-10-100-2`)
  })

  it('gives a child what its parent was when it forked, until it execs', () => {
    const tree = new ProcessTree('boot')
    tree.execed(ref(10, 1), image('/bin/sh'))
    tree.forked(ref(10, 1), { pid: 11, startTimeNs: 11n })
    tree.execed(ref(10, 2), image('/bin/other'))
    expect(exeOf(tree, ref(11, 0))).toBe('/bin/sh')
    expect(tree.look(ref(11, 0)).parentExecId).toBe(tree.execId(ref(10, 1)))
    tree.execed(ref(11, 1), image('/bin/ls'))
    expect(exeOf(tree, ref(11, 1))).toBe('/bin/ls')
    expect(tree.look(ref(11, 1)).parentExecId).toBe(tree.execId(ref(10, 1)))
  })

  it('answers a late fact with the exec before, and no other', () => {
    const tree = new ProcessTree('boot')
    for (const [count, exe] of ['/a', '/b', '/c'].entries()) tree.execed(ref(10, count + 1), image(exe))
    expect([1, 2, 3, 4].map((count) => exeOf(tree, ref(10, count)))).toEqual([null, '/b', '/c', null])
  })

  it('believes what is said of a process whose exec it did not see, of that very exec alone', () => {
    const tree = new ProcessTree('boot')
    tree.runs(ref(10, 2), image('/bin/sh'), null)
    tree.runs(ref(11, 1), image('/bin/said'), { pid: 10, startTimeNs: 10n })
    expect(exeOf(tree, ref(10, 1))).toBeNull()
    expect(exeOf(tree, ref(10, 2))).toBe('/bin/sh')
    expect(tree.look(ref(11, 1)).parentExecId).toBe(tree.execId(ref(10, 2)))
    tree.forked(ref(10, 2), { pid: 12, startTimeNs: 12n })
    expect(exeOf(tree, ref(12, 0))).toBe('/bin/sh')
    expect(exeOf(tree, ref(10, 3))).toBeNull()
  })

  it('passes on what is said of a process to the children that it forked unseen before', () => {
    const tree = new ProcessTree('boot')
    tree.runs(ref(10, 1), image('/bin/sh'), null)
    tree.forked(ref(10, 1), { pid: 12, startTimeNs: 12n })
    expect(exeOf(tree, ref(12, 0))).toBe('/bin/sh')
  })

  it('believes what it saw and not what is said', () => {
    const tree = new ProcessTree('boot')
    tree.execed(ref(10, 1), image('/bin/seen'))
    tree.runs(ref(10, 1), image('/bin/said'), null)
    expect(exeOf(tree, ref(10, 1))).toBe('/bin/seen')
    // Said from later than what comes: each exec is told with its own program.
    tree.runs(ref(11, 3), image('/bin/third'), null)
    tree.execed(ref(11, 1), image('/bin/first'))
    expect(exeOf(tree, ref(11, 1))).toBe('/bin/first')
    tree.execed(ref(11, 2), image('/bin/second'))
    expect(exeOf(tree, ref(11, 2))).toBe('/bin/second')
    expect(exeOf(tree, ref(11, 3))).toBe('/bin/third')
  })

  it('holds no more of what is said than it has room for, and forgets it with its sandbox', () => {
    const tree = new ProcessTree('boot', { imageBytesMax: 1_000, processesMax: 3 })
    tree.runs(ref(10, 1), image('/a', 900), null)
    tree.runs(ref(11, 1), image('/b', 900), null)
    expect(exeOf(tree, ref(11, 1))).toBeNull()
    tree.runs(ref(10, 1), image('/c', 10), null)
    tree.runs(ref(11, 1), image('/b', 900), null)
    expect(exeOf(tree, ref(11, 1))).toBe('/b')
    tree.forget(1n)
    expect(exeOf(tree, ref(10, 1))).toBeNull()
  })

  it('never takes a recycled pid for the old process', () => {
    const tree = new ProcessTree('boot')
    tree.execed(ref(10, 1, 5n), image('/old'))
    tree.exitedAt(ref(10, 1, 5n))
    tree.forked(ref(1, 1), { pid: 10, startTimeNs: 9n })
    expect(exeOf(tree, ref(10, 0, 9n))).toBeNull()
    expect(exeOf(tree, ref(10, 1, 5n))).toBe('/old')
  })

  it('has an exact execId for a process that it never met', () => {
    const tree = new ProcessTree('boot')
    expect(tree.look(ref(99, 3))).toMatchObject({ execId: tree.execId(ref(99, 3)), parentExecId: '', image: null })
  })

  it('forgets exited processes first, then those not heard of for longest, and counts both', () => {
    const tree = new ProcessTree('boot', { processesMax: 3 })
    for (const pid of [1, 2, 3]) tree.execed(ref(pid, 1), image(`/${pid}`))
    tree.exitedAt(ref(3, 1))
    tree.look(ref(1, 1))
    tree.execed(ref(4, 1), image('/4'))
    tree.execed(ref(5, 1), image('/5'))
    expect([1, 2, 3, 4, 5].map((pid) => exeOf(tree, ref(pid, 1)))).toEqual(['/1', null, null, '/4', '/5'])
    expect([tree.size, tree.evictedExited, tree.evictedLive]).toEqual([3, 1, 1])
  })

  it('keeps only so many exited processes', () => {
    const tree = new ProcessTree('boot', { exitedMax: 2 })
    for (const pid of [1, 2, 3]) {
      tree.execed(ref(pid, 1), image(`/${pid}`))
      tree.exitedAt(ref(pid, 1))
    }
    expect([1, 2, 3].map((pid) => exeOf(tree, ref(pid, 1)))).toEqual([null, '/2', '/3'])
  })

  it('is bounded in bytes, counting an image that is shared once', () => {
    const tree = new ProcessTree('boot', { imageBytesMax: 1_000 })
    tree.execed(ref(1, 1), image('', 600))
    for (let pid = 2; pid < 50; pid++) tree.forked(ref(1, 1), { pid, startTimeNs: BigInt(pid) })
    expect(tree.evictedLive).toBe(0)
    tree.execed(ref(50, 1), image('', 600))
    expect(tree.evictedLive).toBeGreaterThan(0)
    expect(exeOf(tree, ref(50, 1))).toBe('')
  })

  it('forgets a sandbox as a whole', () => {
    const tree = new ProcessTree('boot')
    tree.execed(ref(1, 1), image('/a'))
    tree.execed({ ...ref(2, 1), sandbox: 2n }, image('/b'))
    tree.forget(1n)
    expect(tree.size).toBe(1)
  })
})
