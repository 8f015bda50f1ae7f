/** A sensor that takes over goes on with the policies and leases of the one before it, by what it kept on disk and what the kernel says. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLog } from '../../src/base/log.js'
import { type BpfObject, loadAddon } from '../../src/native/addon.js'
import { CompiledPolicy, ConnectRequest, HostForm, type ICompiledPolicy } from '../../src/proto/codec.js'
import { policyDigest } from '../../src/proto/policy-digest.js'
import { Controllers } from '../../src/sensor/controllers.js'
import { sandboxKey } from '../../src/sensor/map-values.js'
import { decodeLeases, encodeLeases, encodeSandboxPolicy, leaseKey } from '../../src/sensor/policy-values.js'
import type { HeldSandbox } from '../../src/sensor/sandbox-cgroups.js'
import { SandboxLimits } from '../../src/sensor/sandbox-limits.js'
import { SandboxPolicies } from '../../src/sensor/sandbox-policies.js'
import { TaskWalk } from '../../src/sensor/task-walk.js'
import { cgroupMount } from '../support/cgroup-folder.js'
import { loadOnly } from '../support/few-programs.js'
import { addressBytes, TCP, testPolicy } from '../support/policed-sandbox.js'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('bpf')
const [BOX, OTHER] = [101n, 102n] as const
const ADDRESS = addressBytes('192.0.2.1')
const ORIGIN = Buffer.from('from a test')

function named(base: string, changes: Partial<ICompiledPolicy> = {}): ICompiledPolicy {
  const host = { form: HostForm.HOST_FORM_ALL, base }
  const ports = [{ protocol: TCP, first: 443, last: 443 }]
  const allowPrivate = [{ prefix: addressBytes('192.0.2.0'), prefixLength: 120 }]
  const policy = testPolicy({ nets: [], hosts: [{ rule: 1, host, ports, allowPrivate }], ...changes })
  return { ...policy, digest: policyDigest(policy) }
}

describe.skipIf(skip)(`a sensor that takes over ${reason}`, () => {
  const addon = loadAddon()
  let object: BpfObject
  let walk: TaskWalk
  let folder: string

  beforeEach(() => {
    object = addon.openObject('core')
    loadOnly(object, [])
    walk = new TaskWalk(addon, object)
    folder = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  })
  afterEach(() => {
    walk.close()
    object.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const log = createLog({ role: 'test', level: 'silent' })
  const sensor = (on = object) =>
    new SandboxPolicies({
      ...{ addon, object: on, walk, mailbox: null, resets: { soon() {} }, folder, log },
      // No policy here has limits.
      limits: new SandboxLimits({
        ...{ object: on, controllers: new Controllers(cgroupMount() ?? ''), log },
        sandbox: () => null,
        keep() {},
      }),
      limitsOver() {},
    })
  function apply(on: SandboxPolicies, box: bigint, policy: ICompiledPolicy, origin: Uint8Array): void {
    const [applied] = on.applyAll([{ sandbox: () => box, policy, name: '', origin, check() {} }])
    if (applied?.ok !== true) throw applied?.error
  }
  const lease = (policy: ICompiledPolicy, name = 'ok.test') => ({
    ...{ rule: 1, name, addresses: [ADDRESS], ttlSeconds: 60, policyDigest: policy.digest ?? '' },
  })
  const leases = () => {
    const value = object.lookup('sl_leases', leaseKey(BOX, ADDRESS))
    return value === null ? [] : decodeLeases(value).map(({ generation }) => generation)
  }
  const held = (id: bigint): HeldSandbox => ({
    cgroupId: id,
    record: {
      ...{ id: `box-${id}`, path: '/x', origin: '', cgroupId: String(id), adopted: true, descriptor: '' },
      ...{ frozen: false, frozenFor: '', apart: false, watch: '', sinceNs: '0' },
      ...{ throttle: '', throttledFor: '', groups: [] },
    },
  })

  it('takes leases for the policy that a sandbox has, and for no other', () => {
    const [policy, other] = [named('ok.test'), named('other.test')]
    apply(sensor(), BOX, policy, ORIGIN)
    const next = sensor()
    expect(() => next.lease(BOX, lease(policy))).toThrowError(/no policy that this sensor knows/)
    next.resume(new Set([BOX]))
    expect(next.stateOf(BOX)).toEqual({ generation: 1, policyDigest: policy.digest })
    next.lease(BOX, lease(policy))
    expect(leases()).toEqual([1])
    expect(() => next.lease(BOX, lease(other))).toThrowError(/of another policy/)
    expect(() => next.lease(BOX, lease(policy, 'not-ok.example'))).toThrowError(/rule 1 is not for "not-ok.example"/)
  })

  it('goes on with leases, but not with those of a policy that never came', () => {
    const policy = named('ok.test')
    const first = sensor()
    apply(first, BOX, policy, ORIGIN)
    first.lease(BOX, lease(policy))
    const key = leaseKey(BOX, ADDRESS)
    const [kept] = decodeLeases(object.lookup('sl_leases', key) ?? Buffer.alloc(0))
    if (kept === undefined) throw new Error('there is no lease')
    // As one that dies between making them ready and the swap leaves them: the next policy would have that number.
    object.update('sl_leases', key, encodeLeases([{ ...kept, generation: 2 }, kept]))
    const next = sensor()
    next.resume(new Set([BOX]))
    expect(leases()).toEqual([1])
    apply(next, BOX, named('other.test'), ORIGIN)
    expect(leases()).toEqual([])
  })

  it('carries them over to a policy with the same rule, as the one before would have', () => {
    const policy = named('ok.test')
    const first = sensor()
    apply(first, BOX, policy, ORIGIN)
    first.lease(BOX, lease(policy))
    const next = sensor()
    next.resume(new Set([BOX]))
    apply(next, BOX, named('ok.test', { name: 'changed' }), ORIGIN)
    expect(leases()).toContain(2)
  })

  it('says what it does not know, where the disk and the kernel differ', () => {
    apply(sensor(), BOX, named('ok.test'), ORIGIN)
    object.update(
      'sl_sandbox_policies',
      sandboxKey(BOX),
      encodeSandboxPolicy({ sandbox: BOX, policy: 1, generation: 7, flags: 1 }),
    )
    const next = sensor()
    next.resume(new Set([BOX]))
    expect(next.stateOf(BOX)).toEqual({ generation: 7, policyDigest: '' })
    expect(() => next.lease(BOX, lease(named('ok.test')))).toThrowError(/no policy that this sensor knows/)
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), 'nonsense')
    expect(() => sensor().resume(new Set([BOX]))).not.toThrow()
  })

  it('holds a sandbox to its policy again that a new kernel side does not know', () => {
    apply(sensor(), BOX, named('ok.test'), ORIGIN)
    const anew = addon.openObject('core')
    loadOnly(anew, [])
    try {
      const next = sensor(anew)
      expect(next.stateOf(BOX).generation).toBe(0)
      next.resume(new Set([BOX]))
      expect(next.stateOf(BOX)).toEqual({ generation: 1, policyDigest: named('ok.test').digest })
    } finally {
      anew.close()
    }
  })

  it('keeps one file a policy, and none that nobody has', () => {
    const first = sensor()
    apply(first, BOX, named('ok.test'), ORIGIN)
    apply(first, OTHER, named('ok.test'), ORIGIN)
    const files = () => readdirSync(folder).filter((name) => !name.endsWith('.json'))
    expect(files()).toEqual([named('ok.test').digest])
    for (let index = 0; index < 10; index++) apply(first, BOX, named(`n${index}.test`), ORIGIN)
    expect(files()).toHaveLength(5)
    const next = sensor()
    next.resume(new Set([OTHER]))
    expect(files()).toEqual([named('ok.test').digest])
    next.forget(OTHER)
    expect(readdirSync(folder)).toEqual([])
  })

  it('tells another engine of them, whole, the present ones first', () => {
    const first = sensor()
    const nets = Array.from({ length: 40_000 }, (_, index) => ({
      prefix: addressBytes(
        `10.${index >> 8}.${index & 255}.0`.replace(/^10\.(\d+)\./, (_all, high) => `10.${Number(high) % 256}.`),
      ),
      prefixLength: 120,
      ports: [],
    }))
    const large = named('large.test', {
      nets: [...new Map(nets.map((net) => [net.prefix.toString('hex'), net])).values()],
    })
    apply(first, BOX, named('ok.test'), ORIGIN)
    apply(first, BOX, large, ORIGIN)
    const messages = first.held([held(BOX), held(OTHER)]).map((bytes) => ConnectRequest.decode(bytes).heldPolicy)
    const parts: Uint8Array[] = []
    expect(messages.at(-1)).toMatchObject({ part: Buffer.alloc(0), holders: [] })
    const told = messages.flatMap((message) => {
      if (message?.part?.length) parts.push(message.part)
      if (!message?.holders?.length) return []
      const policy = CompiledPolicy.decode(Buffer.concat(parts.splice(0)))
      return message.holders.map(({ sandboxId, generation, isCurrent, origin }) => ({
        ...{ sandboxId, generation, isCurrent, digest: policy.digest, origin: Buffer.from(origin ?? []).toString() },
      }))
    })
    const each = { sandboxId: 'box-101', origin: 'from a test' }
    expect(told).toEqual([
      { ...each, generation: 2, isCurrent: true, digest: large.digest },
      { ...each, generation: 1, isCurrent: false, digest: named('ok.test').digest },
    ])
    expect(messages.length).toBeGreaterThan(3)
  })
})
