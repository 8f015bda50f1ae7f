/** What makes one table of addresses another one, and what of two is not read twice. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ABI } from '../../../src/native/generated/abi.js'
import { type ICompiledPolicy, type INetEntry, Mode, Protocol } from '../../../src/proto/codec.js'
import { policyBytes, policyOf } from '../../../src/proto/policy-bytes.js'
import { type PolicyTable, policyTable } from '../../../src/sensor/policy-table.js'
import { changesOf } from '../../../src/sensor/table-changes.js'

const KEY = ABI.structs.sl_net_key.size
const VALUE = ABI.structs.sl_net.size
const MOST = 1_000

/** Entry `address` of 10.0.0.0/8, with a port. */
function entry(address: number, port: number, binary?: string): INetEntry {
  const prefix = Buffer.alloc(16)
  prefix.writeUInt16BE(0xffff, 10)
  prefix.writeUInt32BE(0x0a000000 + address * 256, 12)
  const range = { protocol: Protocol.PROTOCOL_TCP, first: port, last: port }
  const binaries = binary === undefined ? [] : [{ path: binary, rule: 1 }]
  return { prefix, prefixLength: 120, ports: [{ range, rule: 1 + port, binaries }] }
}

/** As it comes from the engine: not decoded. */
function onWire(nets: readonly INetEntry[], name = 'p'): ICompiledPolicy {
  return policyOf(policyBytes({ name, mode: Mode.MODE_ENFORCE, nets: [...nets] }))
}

const entries = fc
  .uniqueArray(fc.record({ address: fc.nat(400), port: fc.integer({ min: 1, max: 3 }) }), {
    selector: ({ address }) => address,
    maxLength: 80,
  })
  .map((each) => each.sort((a, b) => a.address - b.address).map(({ address, port }) => entry(address, port)))

function pairs({ keys, values }: { keys: Buffer; values: Buffer }): [string, string][] {
  return Array.from({ length: keys.length / KEY }, (_, index) => [
    keys.toString('hex', index * KEY, (index + 1) * KEY),
    values.toString('hex', index * VALUE, (index + 1) * VALUE),
  ])
}

/** As the kernel does it. */
function changed(from: PolicyTable, to: PolicyTable): Map<string, string> | null {
  const changes = changesOf(from, to, MOST)
  if (changes === null) return null
  const table = new Map(pairs(from))
  for (let at = 0; at < changes.gone.length; at += KEY) table.delete(changes.gone.toString('hex', at, at + KEY))
  for (const [key, value] of pairs(changes)) table.set(key, value)
  return table
}

describe('the changes of a table', () => {
  it('make it the other one, whatever the two are', () => {
    fc.assert(
      fc.property(entries, entries, (a, b) => {
        const [from, to] = [policyTable(onWire(a)), policyTable(onWire(b))]
        expect(changed(from, to)).toEqual(new Map(pairs(to)))
      }),
    )
  })

  it('are only what differs', () => {
    const nets = Array.from({ length: 20_000 }, (_, index) => entry(index, 1))
    const other = nets.toSpliced(9_000, 1).toSpliced(12_000, 1, entry(12_001, 2))
    const changes = changesOf(policyTable(onWire(nets)), policyTable(onWire([...other, entry(30_000, 1)])), MOST)
    const sizes = [changes?.gone.length, changes?.keys.length, changes?.values.length]
    expect(sizes).toEqual([KEY, 2 * KEY, 2 * VALUE])
    expect(changesOf(policyTable(onWire(nets)), policyTable(onWire([])), MOST)).toBeNull()
  })
})

describe('a table that is read beside one that is nearly the same', () => {
  it('is as if it were read alone, whatever the two are', () => {
    fc.assert(
      fc.property(entries, entries, fc.string({ minLength: 1, maxLength: 9 }), (a, b, name) => {
        const alone = policyTable(onWire(b, name))
        const beside = policyTable(onWire(b, name), policyTable(onWire(a)))
        expect([beside.keys.equals(alone.keys), beside.values.equals(alone.values)]).toEqual([true, true])
        expect(beside.isOrdered).toBe(true)
      }),
    )
  })

  it('is so with a change in the middle, too', () => {
    fc.assert(
      fc.property(entries, fc.nat(), fc.nat(2), (a, at, count) => {
        const index = a.length === 0 ? 0 : at % a.length
        const b = a.toSpliced(index, count, ...(count === 2 ? [] : [entry(401, 7)])).sort(byPrefix)
        const alone = policyTable(onWire(b))
        const beside = policyTable(onWire(b), policyTable(onWire(a)))
        expect(pairs(beside)).toEqual(pairs(alone))
      }),
    )
  })

  it('takes nothing over where programs are named: their sets have numbers of the policy’s own', () => {
    const a = [entry(1, 1, '/bin/a'), entry(2, 1, '/bin/b')]
    const b = [entry(2, 1, '/bin/b')]
    const like = policyTable(onWire(a))
    expect(like.wire).toBeNull()
    expect(pairs(policyTable(onWire(b), like))).toEqual(pairs(policyTable(onWire(b))))
    const plain = policyTable(onWire([entry(2, 1)]))
    expect(pairs(policyTable(onWire(b), plain))).toEqual(pairs(policyTable(onWire(b))))
  })

  it('that is not in order is taken for what it is', () => {
    const table = policyTable(onWire([entry(2, 1), entry(1, 1)]))
    expect(table.isOrdered).toBe(false)
  })

  it('is refused with a prefix twice, as alone', () => {
    const like = policyTable(onWire([entry(1, 1), entry(2, 1)]))
    expect(() => policyTable(onWire([entry(1, 1), entry(2, 1), entry(2, 1)]), like)).toThrowError(/there twice/)
  })
})

function byPrefix(a: INetEntry, b: INetEntry): number {
  return Buffer.compare(Buffer.from(a.prefix ?? []), Buffer.from(b.prefix ?? []))
}
