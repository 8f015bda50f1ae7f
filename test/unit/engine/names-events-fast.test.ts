/** The short ways of the engine's hot path give what the plain ones give. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { uuidV7 } from '../../../src/base/uuid.js'
import { EventUids } from '../../../src/engine/event-uids.js'
import { Memo } from '../../../src/engine/memo.js'
import { ProcessTree } from '../../../src/engine/process-tree.js'
import { ProcessViews } from '../../../src/engine/process-views.js'
import { addLongs, fromBigInt, type IKernelEvent, toBigInt } from '../../../src/proto/codec.js'
import { LineBuffer } from '../../../src/proto/line-buffer.js'
import { unixNsToText } from '../../../src/proto/time-text.js'
import { UnixSeconds } from '../../../src/proto/unix-seconds.js'

const u64 = fc.oneof(
  fc.constantFrom(
    0n,
    9_999_999n,
    10_000_000n,
    99_999_999_999_999n,
    100_000_000_000_000n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n,
    2n ** 64n - 1n,
  ),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
)
/** Close together, back and forth, as the times of a stream are. */
const near = fc.bigInt({ min: 1_769_869_386_999_000_000n, max: 1_769_869_387_003_000_000n })

describe('the short way', () => {
  it('to a uid is uuidV7', () => {
    const uids = new EventUids(0x2a_bcde)
    fc.assert(
      fc.property(fc.oneof(near, u64), fc.nat(70_000), u64, (unixNs, cpu, seq) => {
        const plain = uuidV7({ unixMs: unixNs / 1_000_000n, cpu, seq, hash: 0x2a_bcde })
        expect(uids.of(fromBigInt(unixNs), cpu, fromBigInt(seq))).toBe(plain)
      }),
    )
  })

  it('to the text of a time and of a number is the plain text', () => {
    const seconds = new UnixSeconds()
    const out = new LineBuffer(1)
    fc.assert(
      fc.property(fc.oneof(near, u64), (value) => {
        const [low, high] = [Number(value & 0xffff_ffffn), Number(value >> 32n)]
        seconds.put(out, low, high)
        expect(`${out.take()}Z`).toBe(unixNsToText(value))
        out.uint64(low, high)
        expect(out.take().toString()).toBe(value.toString())
      }),
    )
  })

  it('to a sum is the sum', () => {
    fc.assert(
      fc.property(u64, u64, (a, b) => {
        expect(toBigInt(addLongs(fromBigInt(a), fromBigInt(b)))).toBe(BigInt.asUintN(64, a + b))
      }),
    )
  })

  it('to a result that was had before gives it, and forgets when there are too many', () => {
    let made = 0
    const memo = new Memo((key: number) => {
      made++
      return [key]
    })
    expect(memo.of(1)).toBe(memo.of(1))
    for (let key = 2; key < 3_000; key++) expect(memo.of(key)).toEqual([key])
    expect(memo.of(1)).toEqual([1])
    expect(made).toBe(3_000)
  })
})

describe('ProcessViews', () => {
  const fact = (changes: Partial<IKernelEvent> = {}): IKernelEvent => ({
    ...{ pid: 7, tid: 7, ppid: 1, uid: 5, gid: 6, execCount: 1, startTimeNs: fromBigInt(9n), sandbox: fromBigInt(3n) },
    ...changes,
  })
  const image = {
    exe: Buffer.from('/a'),
    cwd: Buffer.from('/'),
    args: [Buffer.from('a')],
    argsBytes: 2,
    argsTruncated: false,
  }
  const ref = { pid: 7, startTimeNs: 9n, execCount: 1, sandbox: 3n }

  it('gives the same object for the same process', () => {
    const views = new ProcessViews(new ProcessTree('boot'))
    expect(views.of(fact(), 0n)).toBe(views.of(fact(), 0n))
  })

  it.each<[string, Partial<IKernelEvent>]>([
    ['pid', { pid: 8 }],
    ['thread', { tid: 8 + 256 * 7 }],
    ['parent', { ppid: 2 }],
    ['user', { uid: 0 }],
    ['group', { gid: 0 }],
    ['exec', { execCount: 2 }],
    ['start, as of a pid used again', { startTimeNs: fromBigInt(2n ** 40n + 9n) }],
  ])('gives another for another %s', (_, changes) => {
    const views = new ProcessViews(new ProcessTree('boot'))
    const first = views.of(fact(), 0n)
    const other = views.of(fact(changes), 0n)
    expect(other).not.toEqual(first)
    expect(other).toEqual(new ProcessViews(new ProcessTree('boot')).of(fact(changes), 0n))
    expect(views.of(fact(), 0n)).toEqual(first)
  })

  it('gives another when the tree has learnt something, or the clock was set', () => {
    const tree = new ProcessTree('boot')
    const views = new ProcessViews(tree)
    expect(views.of(fact(), 0n)).toMatchObject({ args: [], parentExecId: '' })
    tree.execed(ref, image)
    expect(views.of(fact(), 0n)).toMatchObject({ args: [Buffer.from('a')], exe: Buffer.from('/a') })
    expect(toBigInt(views.of(fact(), 5n).startTimeUnixNs)).toBe(14n)
    tree.forget(3n)
    expect(views.of(fact(), 5n)).toMatchObject({ args: [] })
  })
})
