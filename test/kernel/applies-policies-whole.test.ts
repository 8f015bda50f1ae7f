/** Policies in the kernel's maps: whole or not at all, one in another's place, and nothing left of them when they are over. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLog } from '../../src/base/log.js'
import { type BpfObject, loadAddon } from '../../src/native/addon.js'
import { type ICompiledPolicy, Mode } from '../../src/proto/codec.js'
import { sandboxKey } from '../../src/sensor/map-values.js'
import { PolicyMaps } from '../../src/sensor/policy-maps.js'
import { PolicyPrograms } from '../../src/sensor/policy-programs.js'
import { decodeSandboxPolicy, POLICY_STATE_KEY, policyKey } from '../../src/sensor/policy-values.js'
import { loadOnly } from '../support/few-programs.js'
import { rounds } from '../support/patience.js'
import { net, TCP, testPolicy } from '../support/policed-sandbox.js'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('bpf')
const [FIRST, SECOND, THIRD] = [101n, 102n, 103n] as const
const ROOM = 2
const MANY = 50_000
/** A change of so many is a change of some. */
const SPARED = 5_000
const THOUSAND = rounds({ here: 1_000, emulated: 100 })
const HUNDREDS = rounds({ here: 300, emulated: 50 })
/** Beyond that an old policy's table is gone. */
const RETIRED_MS = 1_500
const nothing = () => {}
const openPrograms = () => new Map<number, Buffer>()
const log = createLog({ role: 'test', level: 'silent' })

describe.skipIf(skip)(`policies in the kernel ${reason}`, () => {
  const addon = loadAddon()
  let object: BpfObject
  let maps: PolicyMaps

  beforeEach(() => {
    object = addon.openObject('core')
    object.setMapSize('sl_sandbox_policies', ROOM)
    loadOnly(object, [])
    maps = new PolicyMaps(addon, object, programsOf(object))
  })

  afterEach(() => object.close())

  const programsOf = (core: BpfObject) =>
    new PolicyPrograms({ object: core, walk: { list: () => [], openPrograms }, log })
  const entry = (sandbox: bigint) => {
    const value = object.lookup('sl_sandbox_policies', sandboxKey(sandbox))
    return value === null ? null : decodeSandboxPolicy(value)
  }
  const tables = () => object.keys('sl_policies').map((key) => key.readUInt32LE())
  const isPoliced = () => object.lookup('sl_policy_state', POLICY_STATE_KEY)?.readUInt32LE() === 1

  it('are there with their table, their mode and a generation of their own', () => {
    expect([maps.apply(FIRST, testPolicy(), nothing), maps.apply(SECOND, testPolicy(), nothing)]).toEqual([1, 2])
    expect(tables()).toEqual(expect.arrayContaining([entry(FIRST)?.policy, entry(SECOND)?.policy]))
    expect([maps.generationOf(FIRST), maps.generationOf(THIRD)]).toEqual([1, 0])
    expect(isPoliced()).toBe(true)
  })

  it('take one another’s place, and the earlier table goes a little later', async () => {
    maps.apply(FIRST, testPolicy(), nothing)
    const before = entry(FIRST)?.policy ?? 0
    maps.apply(FIRST, testPolicy({ nets: [net('10.0.0.9')] }), nothing)
    expect(entry(FIRST)?.policy).not.toBe(before)
    expect(object.lookup('sl_policies', policyKey(before))).not.toBeNull()
    await sleep(RETIRED_MS)
    expect(tables()).toEqual([entry(FIRST)?.policy])
  })

  it('that come to the same addresses have one table, which goes with the last of them', async () => {
    maps.apply(FIRST, testPolicy(), nothing)
    maps.apply(SECOND, testPolicy({ digest: 'other', mode: Mode.MODE_MONITOR }), nothing)
    expect(tables()).toEqual([entry(FIRST)?.policy])
    expect(entry(SECOND)?.policy).toBe(entry(FIRST)?.policy)
    expect(entry(SECOND)).not.toMatchObject({ generation: entry(FIRST)?.generation, flags: entry(FIRST)?.flags })
    maps.apply(FIRST, testPolicy({ nets: [net('10.0.0.9')] }), nothing)
    await sleep(RETIRED_MS)
    expect(tables().sort()).toEqual([entry(FIRST)?.policy, entry(SECOND)?.policy].sort())
    maps.forget(SECOND)
    // Nobody has it now; whoever comes before it goes has it again.
    const [kept] = [maps.apply(SECOND, testPolicy(), nothing), await sleep(RETIRED_MS)]
    expect([kept, object.lookup('sl_policies', policyKey(entry(SECOND)?.policy ?? 0))]).not.toContain(null)
  })

  it('are made together where many are about to be applied, and go where nobody takes them', async () => {
    const many = Array.from({ length: HUNDREDS }, (_, index) =>
      testPolicy({ nets: [net(`10.1.${index >> 8}.${index & 255}`)] }),
    )
    maps.prepare([...many, ...many])
    expect(tables()).toHaveLength(HUNDREDS)
    const [first = testPolicy()] = many
    maps.apply(FIRST, first, nothing)
    await sleep(RETIRED_MS)
    expect(tables()).toEqual([entry(FIRST)?.policy])
    maps.prepare([testPolicy({ nets: [withPorts(9)] }), testPolicy({ nets: [net('10.0.0.1')] })])
    expect(() => maps.apply(FIRST, testPolicy({ nets: [withPorts(9)] }), nothing)).toThrowError(/8 port ranges/)
    expect(entry(FIRST)?.generation).toBe(1)
  })

  it('may be a thousand different ones, for a thousand sandboxes, and change for all of them', () => {
    object.close()
    object = addon.openObject('core')
    loadOnly(object, [])
    maps = new PolicyMaps(addon, object, programsOf(object))
    const sandboxes = Array.from({ length: THOUSAND }, (_, index) => BigInt(1_000 + index))
    const own = sandboxes.map((_, index) => testPolicy({ nets: [net(`10.2.${index >> 8}.${index & 255}`)] }))
    const applyAll = (policyOf: (index: number) => ICompiledPolicy) => {
      maps.prepare(sandboxes.map((_, index) => policyOf(index)))
      return sandboxes.map((sandbox, index) => maps.apply(sandbox, policyOf(index), nothing))
    }
    expect(new Set(applyAll((index) => own[index] ?? testPolicy())).size).toBe(THOUSAND)
    const numbers = sandboxes.map((sandbox) => entry(sandbox)?.policy)
    expect(new Set(numbers).size).toBe(THOUSAND)
    applyAll((index) => own[(index + 1) % THOUSAND] ?? testPolicy())
    expect(sandboxes.map((sandbox) => entry(sandbox)?.policy)).toEqual([...numbers.slice(1), numbers[0]])
    applyAll(() => own[0] ?? testPolicy())
    expect(new Set(sandboxes.map((sandbox) => entry(sandbox)?.policy))).toEqual(new Set([numbers[0]]))
  })

  it('that find no room are refused, and leave all as it was', () => {
    maps.apply(FIRST, testPolicy(), nothing)
    maps.apply(SECOND, testPolicy(), nothing)
    const before = { tables: tables(), first: entry(FIRST), second: entry(SECOND) }
    expect(() => maps.apply(THIRD, testPolicy(), nothing)).toThrowError(/the kernel has no room for its entry/)
    expect({ tables: tables(), first: entry(FIRST), second: entry(SECOND) }).toEqual(before)
    expect(entry(THIRD)).toBeNull()
    expect(maps.apply(FIRST, testPolicy(), nothing)).toBe(3)
  })

  it.each([
    ['has no mode', { mode: 0 }, /either monitors or enforces/],
    ['goes by a program of no place', { nets: [withBinary('git')] }, /a path that begins with \//],
    ['names a prefix twice', { nets: [net('10.0.0.1'), net('10.0.0.1')] }, /is there twice/],
    ['has more ports than are kept', { nets: [withPorts(9)] }, /more than 8 port ranges/],
    ['allows every protocol', { nets: [{ ...net('10.0.0.1'), ports: [{ rule: 1, range: {} }] }] }, /tcp, udp or icmp/],
    ['has ports the wrong way round', { nets: [withRange(2, 1)] }, /2-1 are no ports/],
    ['has a prefix of four bytes', { nets: [{ ...net('10.0.0.1'), prefix: Buffer.alloc(4) }] }, /has 16 bytes/],
  ] as [string, Partial<ICompiledPolicy>, RegExp][])(
    'that can not be judged are refused: one that %s',
    (_, wrong, why) => {
      expect(() => maps.apply(FIRST, testPolicy(wrong), nothing)).toThrowError(why)
      expect({ tables: tables(), entry: entry(FIRST) }).toEqual({ tables: [], entry: null })
    },
  )

  it('are forgotten with their sandbox, by the next sensor too', async () => {
    maps.apply(FIRST, testPolicy(), nothing)
    maps.apply(SECOND, testPolicy(), nothing)
    const next = new PolicyMaps(addon, object, programsOf(object))
    next.forgetAllBut(new Set([SECOND]))
    expect([entry(FIRST), isPoliced()]).toEqual([null, true])
    expect(next.apply(SECOND, testPolicy(), nothing)).toBe(3)
    next.forget(SECOND)
    expect([entry(SECOND), isPoliced()]).toEqual([null, false])
    await vi.waitFor(() => expect(tables()).toEqual([]), { timeout: 10 * RETIRED_MS })
  })

  it('may have fifty thousand prefixes', () => {
    const nets = Array.from({ length: MANY }, (_, index) => {
      const address = `10.${index >> 16}.${(index >> 8) & 0xff}.${index & 0xff}`
      return { ...net(address, { protocols: [TCP] }) }
    })
    expect(maps.apply(FIRST, testPolicy({ nets }), nothing)).toBe(1)
    expect(entry(FIRST)?.generation).toBe(1)
  })

  it('that are big change in a table aside that is nearly the same, and leave none behind', async () => {
    const big = (rule: number) => testPolicy({ nets: [net('10.0.0.1', { rule }), ...many(SPARED)] })
    const numbers = Array.from({ length: 6 }, (_, index) => {
      expect(maps.apply(FIRST, big(index), nothing)).toBe(index + 1)
      return entry(FIRST)?.policy
    })
    // The one that decides, the one before it, and the one that was made ready while nothing was to be done.
    expect(new Set(numbers).size).toBeLessThanOrEqual(3)
    // Nobody's table is changed while somebody else has it.
    const shared = entry(FIRST)?.policy
    maps.apply(SECOND, big(5), nothing)
    maps.apply(FIRST, big(6), nothing)
    expect(entry(SECOND)?.policy).toBe(shared)
    expect(entry(FIRST)?.policy).not.toBe(shared)
    maps.forget(FIRST)
    maps.forget(SECOND)
    await vi.waitFor(() => expect(tables()).toEqual([]), { timeout: 20 * RETIRED_MS })
  })
})

function many(count: number) {
  return Array.from({ length: count }, (_, index) => net(`10.1.${index >> 8}.${index & 0xff}`, { protocols: [TCP] }))
}

function withBinary(path: string) {
  const { ports, ...rest } = net('10.0.0.1', { protocols: [TCP] })
  return { ...rest, ports: (ports ?? []).map((rule) => ({ ...rule, binaries: [{ path }] })) }
}

function withPorts(count: number) {
  const ports = Array.from({ length: count }, (_, index) => ({
    rule: 1,
    range: { protocol: TCP, first: index, last: index },
  }))
  return { ...net('10.0.0.1'), ports }
}

function withRange(first: number, last: number) {
  return { ...net('10.0.0.1'), ports: [{ rule: 1, range: { protocol: TCP, first, last } }] }
}
