/**
 * Leases: a name's addresses, opened to one sandbox for the ports of its rule and for a while. Guards that nothing but that is opened, whoever
 * says so: the sensor does not believe the gateway.
 */
import { mkdirSync } from 'node:fs'
import { basename } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { HostForm, type ICompiledPolicy, type ILease, type Protocol } from '../../../src/proto/codec.js'
import { compileC } from '../../support/c-program.js'
import { removeCgroupTree } from '../../support/cgroup-folder.js'
import {
  addressBytes,
  net,
  openPolicedSandbox,
  type PolicedSandbox,
  SANDBOX_ID,
  TCP,
  testPolicy,
} from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { tempDirForAll } from '../../support/sluice-run.js'
import { ALLOWED, DENIED, OTHER_PORT, openTestNetwork, PORT, type TestNetwork } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const EPERM = 1
const RULE = 1
const TTL_S = 60
/** Time for one connect, and until it must be over. */
const SHORT_S = 3
const OVER_MS = 20_000

const range = (port: number, protocol: Protocol = TCP) => ({ protocol, first: port, last: port })

/** One name, whose addresses may be of the test's network. */
function namePolicy(changes: Partial<ICompiledPolicy> = {}): ICompiledPolicy {
  const allowPrivate = [{ prefix: addressBytes('10.203.0.0'), prefixLength: 120 }]
  const host = {
    rule: RULE,
    host: { form: HostForm.HOST_FORM_EXACT, base: 'ok.test' },
    ports: [range(PORT)],
    allowPrivate,
  }
  return testPolicy({ nets: [], hosts: [host], digest: 'names', ...changes })
}

describe.skipIf(skip)(`a sandbox whose policy allows one name ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let sandbox: PolicedSandbox
  let reach = ''
  let tokens = 0

  beforeAll(async () => {
    reach = compileC('reach', dir())
    network = await openTestNetwork()
    sandbox = await openPolicedSandbox(network)
  }, 60_000)

  afterAll(async () => {
    await sandbox?.close()
    await network?.close()
  }, 60_000)

  beforeEach(async () => {
    await sandbox.apply(null)
    await sandbox.apply(namePolicy())
  })

  const put = (lease: Partial<ILease> = {}) =>
    sandbox.host.command({
      putLease: {
        sandboxId: SANDBOX_ID,
        lease: {
          ...{
            rule: RULE,
            name: 'ok.test',
            addresses: [addressBytes(ALLOWED.v4)],
            ttlSeconds: TTL_S,
            policyDigest: 'names',
          },
          ...lease,
        },
      },
    })

  /** The errno of a connect; where it got through, the bytes have arrived. */
  async function connect(address: string, port: number = PORT, cgroup = sandbox.cgroup): Promise<number> {
    const text = `lease-${++tokens}`
    const { out } = await sandbox.run([reach, 'tcp', address, String(port), text], { cgroup })
    const errno = Number(out.trim().split(' ').at(-1))
    if (errno === 0) expect(await network.arrives(address, text)).toBe(true)
    return errno
  }

  it('reaches its address from when the lease is put, on the ports of the rule, and no other address', async () => {
    expect(await connect(ALLOWED.v4)).toBe(EPERM)
    await put()
    expect(await connect(ALLOWED.v4)).toBe(0)
    expect(await connect(ALLOWED.v4, OTHER_PORT)).toBe(EPERM)
    expect(await connect(DENIED.v4)).toBe(EPERM)
  })

  it('reaches it no more when the lease is over, and again with a new one', async () => {
    const began = performance.now()
    await put({ ttlSeconds: SHORT_S })
    let errno = await connect(ALLOWED.v4)
    expect(errno).toBe(0)
    while (errno === 0 && performance.now() < began + OVER_MS) errno = await connect(ALLOWED.v4)
    expect(errno).toBe(EPERM)
    expect(performance.now()).toBeGreaterThan(began + SHORT_S * 1_000)
    await put()
    expect(await connect(ALLOWED.v4)).toBe(0)
  })

  it('does not reach a denied address by a name that leads there', async () => {
    const deny = { ...net(DENIED.v4), ports: [{ deny: true, rule: 2, range: { first: 0, last: 0xffff } }] }
    await sandbox.apply(namePolicy({ nets: [deny] }))
    await put({ addresses: [addressBytes(ALLOWED.v4), addressBytes(DENIED.v4)] })
    expect(await connect(ALLOWED.v4)).toBe(0)
    expect(await connect(DENIED.v4)).toBe(EPERM)
  })

  it.each([
    ['of another policy', { policyDigest: 'another' }, /another policy/],
    ['of a rule that is none for names', { rule: 7 }, /rule 7 is none for names/],
    ['to loopback', { addresses: [addressBytes('127.0.0.1')] }, /an address that is loopback/],
    ['to loopback over IPv6', { addresses: [addressBytes('::1')] }, /an address that is loopback/],
    ['to the metadata of a cloud', { addresses: [addressBytes('169.254.169.254')] }, /an address that is metadata/],
    ['to another private network', { addresses: [addressBytes('10.9.0.1')] }, /an address that is private/],
    ['to an address with the wrong number of bytes', { addresses: [Buffer.alloc(4)] }, /an address has 16 bytes/],
  ] as const)('gets no lease %s, nor any other of its addresses', async (_, wrong, why) => {
    const addresses = [addressBytes(ALLOWED.v4), ...('addresses' in wrong ? wrong.addresses : [])]
    await expect(put({ ...wrong, addresses })).rejects.toThrow(why)
    expect(await connect(ALLOWED.v4)).toBe(EPERM)
  })

  it('keeps a lease over a new policy that has the rule, and loses it with one that has not', async () => {
    await put()
    await sandbox.apply(namePolicy({ digest: 'same-names', nets: [net(DENIED.v4)] }))
    expect(await connect(ALLOWED.v4)).toBe(0)
    await sandbox.apply(namePolicy({ digest: 'no-names', hosts: [] }))
    expect(await connect(ALLOWED.v4)).toBe(EPERM)
  })

  it('loses a lease over a new policy that denies its name, and keeps that of another name of the same rule', async () => {
    const [host] = namePolicy().hosts ?? []
    const below = { ...host, host: { form: HostForm.HOST_FORM_MORE, base: 'test' } }
    const denyHosts = [{ rule: 2, host: { form: HostForm.HOST_FORM_EXACT, base: 'ok.test' } }]
    await sandbox.apply(namePolicy({ digest: 'wide', hosts: [below] }))
    await put({ policyDigest: 'wide' })
    expect(await connect(ALLOWED.v4)).toBe(0)
    await sandbox.apply(namePolicy({ digest: 'without-one', hosts: [below], denyHosts }))
    expect(await connect(ALLOWED.v4)).toBe(EPERM)
    await expect(put({ policyDigest: 'without-one' })).rejects.toThrow(/"ok.test" is denied/)
    await put({ policyDigest: 'without-one', name: 'other.test' })
    await sandbox.apply(namePolicy({ digest: 'without-one-again', hosts: [below], denyHosts, nets: [net(DENIED.v4)] }))
    expect(await connect(ALLOWED.v4)).toBe(0)
  })

  it('gets no lease to a private address of IPv4 by a range of IPv6, however wide that is', async () => {
    const [host] = namePolicy().hosts ?? []
    const allowPrivate = [{ prefix: addressBytes('::'), prefixLength: 0 }]
    await sandbox.apply(namePolicy({ hosts: [{ ...host, allowPrivate }] }))
    await expect(put()).rejects.toThrow(/an address that is private/)
    await put({ addresses: [addressBytes(ALLOWED.v6)] })
    expect(await connect(ALLOWED.v4)).toBe(EPERM)
  })

  it('gets no lease beyond what there is room for at one address, and keeps what it had', async () => {
    const many = Array.from({ length: 17 }, (_, index) => range(20_000 + index))
    const [host] = namePolicy().hosts ?? []
    await sandbox.apply(
      namePolicy({
        hosts: [
          { ...host, ports: [range(PORT)] },
          { ...host, rule: 2, ports: many },
        ],
      }),
    )
    await put()
    await expect(put({ rule: 2 })).rejects.toThrow(/more than 16 port ranges at one address/)
    expect(await connect(ALLOWED.v4)).toBe(0)
    expect(await connect(ALLOWED.v4, OTHER_PORT)).toBe(EPERM)
  })

  it('gets nothing by a second name at the same address but what that name’s rule opens', async () => {
    const [host] = namePolicy().hosts ?? []
    const second = { ...host, rule: 2, host: { form: HostForm.HOST_FORM_EXACT, base: 'second.test' } }
    await sandbox.apply(namePolicy({ hosts: [{ ...host }, { ...second, ports: [range(OTHER_PORT)] }] }))
    await put({ rule: 2, name: 'second.test' })
    expect(await connect(ALLOWED.v4, OTHER_PORT)).toBe(0)
    expect(await connect(ALLOWED.v4)).toBe(EPERM)
    await put()
    expect(await connect(ALLOWED.v4)).toBe(0)
  })

  it('gets nothing by what another sandbox was answered', async () => {
    const other = `${sandbox.cgroup}-other`
    mkdirSync(other)
    const { host } = sandbox
    const otherId = { sandboxId: 'other' }
    await host.command({ adoptSandbox: { ...otherId, cgroupPath: `/${basename(other)}` } })
    await host.command({ applyPolicy: { ...otherId, policy: namePolicy() } })
    const lease = { rule: RULE, name: 'ok.test', addresses: [addressBytes(ALLOWED.v4)], ttlSeconds: TTL_S }
    await host.command({ putLease: { ...otherId, lease: { ...lease, policyDigest: 'names' } } })
    expect(await connect(ALLOWED.v4)).toBe(EPERM)
    expect(await connect(ALLOWED.v4, PORT, other)).toBe(0)
    await host.command({ releaseSandbox: otherId })
    await removeCgroupTree(other)
  }, 30_000)
})
