/** A policy with its encoding: the same policy, the same digest and the same table in the kernel, whichever way it came. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  CompiledPolicy,
  encodeBuffer,
  type ICompiledPolicy,
  type INetEntry,
  Protocol,
} from '../../../src/proto/codec.js'
import { digested, policyBytes, policyOf } from '../../../src/proto/policy-bytes.js'
import { policyDigest } from '../../../src/proto/policy-digest.js'
import { policyTable } from '../../../src/sensor/policy-table.js'

const anyPorts = fc.record({
  range: fc.record({
    protocol: fc.constantFrom(Protocol.PROTOCOL_UNSPECIFIED, Protocol.PROTOCOL_TCP, Protocol.PROTOCOL_UDP, 99),
    first: fc.nat(70_000),
    last: fc.nat(70_000),
  }),
  deny: fc.boolean(),
  binaries: fc.array(fc.record({ path: fc.constantFrom('/usr/bin/git', '/usr/bin/ssh') }), { maxLength: 2 }),
  rule: fc.oneof(fc.nat(300), fc.constantFrom(0xffffffff, 1 << 20)),
})
const goodPorts = anyPorts.map(({ range: { first, last, protocol }, deny, rule, binaries }) => ({
  ...{ deny, rule, binaries: deny ? [] : binaries },
  range: {
    protocol: deny || [1, 2].includes(protocol) ? protocol % 90 : Protocol.PROTOCOL_TCP,
    first: Math.min(first, last) % 65_536,
    last: 65_535,
  },
}))
const net = (ports: fc.Arbitrary<unknown>): fc.Arbitrary<INetEntry> =>
  fc.record({
    prefix: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    prefixLength: fc.nat(128),
    ports: fc.array(ports, { maxLength: 9 }),
  }) as fc.Arbitrary<INetEntry>
const policies = (ports: fc.Arbitrary<unknown>) =>
  fc.record({
    name: fc.string(),
    rules: fc.array(fc.record({ path: fc.string(), reason: fc.string() }), { maxLength: 5 }),
    nets: fc.array(net(ports), { maxLength: 12 }),
    unjudged: fc.array(fc.string(), { maxLength: 3 }),
  })

/** What it comes to, or what is wrong with it. */
function tableOf(policy: ICompiledPolicy) {
  try {
    const { keys, values } = policyTable(policy)
    return [keys.toString('hex'), values.toString('hex')]
  } catch (error) {
    return (error as Error).message
  }
}

describe('a policy that came as bytes', () => {
  it('says what it said, and is the same bytes again', () => {
    fc.assert(
      fc.property(policies(anyPorts), (policy) => {
        const bytes = encodeBuffer(CompiledPolicy, policy)
        const came = policyOf(bytes)
        expect(policyBytes(came).equals(bytes)).toBe(true)
        expect(encodeBuffer(CompiledPolicy, came).equals(bytes)).toBe(true)
        expect(CompiledPolicy.decode(bytes)).toMatchObject({ name: came.name, unjudged: came.unjudged })
        expect(came.nets).toEqual(CompiledPolicy.decode(bytes).nets)
      }),
    )
  })

  it.each([
    ['plain', goodPorts],
    ['any', anyPorts],
  ])('comes to the table that it comes to as an object, or is refused for the same, with %s ports', (_, ports) => {
    fc.assert(
      fc.property(policies(ports), (policy) => {
        expect(tableOf(policyOf(encodeBuffer(CompiledPolicy, policy)))).toEqual(tableOf(policy))
      }),
      { numRuns: 300 },
    )
  })

  it('is refused where a prefix is there twice, in order or not', () => {
    const entry = (last: number): INetEntry => ({ prefix: Buffer.alloc(16, last), prefixLength: 128, ports: [] })
    for (const nets of [
      [entry(1), entry(1)],
      [entry(2), entry(1), entry(2)],
    ]) {
      expect(tableOf(policyOf(encodeBuffer(CompiledPolicy, { nets })))).toContain('is there twice')
    }
  })

  it('is refused where it is cut off', () => {
    const bytes = encodeBuffer(CompiledPolicy, { nets: [{ prefix: Buffer.alloc(16), prefixLength: 128 }] })
    for (let end = 1; end < bytes.length; end++) expect(() => policyOf(bytes.subarray(0, end))).toThrow()
  })
})

describe('a policy with its digest', () => {
  it('is encoded as any other, and has the digest that others find', () => {
    fc.assert(
      fc.property(policies(anyPorts), (body) => {
        const policy = digested(body)
        expect(policy.digest).toBe(policyDigest(policy))
        expect(policyBytes(policy).equals(encodeBuffer(CompiledPolicy, { ...policy }))).toBe(true)
      }),
    )
  })

  it('has a digest without a name, too', () => {
    const policy = digested({ unjudged: ['x'] })
    expect(policyBytes(policy).equals(encodeBuffer(CompiledPolicy, { ...policy }))).toBe(true)
  })

  it('has bytes no more where a copy says something else', () => {
    const policy = digested({ name: 'one' })
    expect(CompiledPolicy.decode(policyBytes({ ...policy, name: 'two' })).name).toBe('two')
  })
})
