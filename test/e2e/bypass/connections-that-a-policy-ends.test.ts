/**
 * Connections that were there before a policy, or were allowed by an earlier one: those that it denies are reset, and both ends are told;
 * all others stay. What counts is what the other end is told, and that nothing more arrives there.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { HostForm, type ICompiledPolicy, Mode } from '../../../src/proto/codec.js'
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
import { waitFor } from '../../support/sensor-process.js'
import { tempDirForAll } from '../../support/sluice-run.js'
import { ALLOWED, ARRIVAL_MS, DENIED, openTestNetwork, type TestNetwork } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const ENDS = fileURLToPath(new URL('../../support/programs/ends.py', import.meta.url))
const PORT = 7300
const TTL_S = 60
const ADDRESSES = [ALLOWED.v4, DENIED.v4, ALLOWED.v6, DENIED.v6]

/** Connects to each, waits until it is told to, and says what it finds of each connection. */
const CLIENT = `import errno, os, socket, sys, time
goes_on, targets = sys.argv[1], sys.argv[2:]
made = [socket.create_connection((address, ${PORT})) for address in targets]
for each in made: each.send(b'before')
while not os.path.exists(goes_on): time.sleep(0.01)
for each in made:
    each.settimeout(0.5)
    try: found = 'said' if each.recv(1) else 'closed'
    except socket.timeout: found = 'open'
    except OSError as error: found = errno.errorcode[error.errno]
    try: each.send(b'after')
    except OSError as error: found += ' ' + errno.errorcode[error.errno]
    print(found)
time.sleep(0.5)
`

const open = (...addresses: string[]) => testPolicy({ nets: addresses.map((address) => net(address, { port: PORT })) })

/** One name, whose addresses may be of the test's network. */
function named(changes: Partial<ICompiledPolicy> = {}): ICompiledPolicy {
  const allowPrivate = [{ prefix: addressBytes('10.203.0.0'), prefixLength: 120 }]
  const ports = [{ protocol: TCP, first: PORT, last: PORT }]
  const host = { rule: 1, host: { form: HostForm.HOST_FORM_EXACT, base: 'ok.test' }, ports, allowPrivate }
  return testPolicy({ nets: [], hosts: [host], digest: 'names', ...changes })
}

describe.skipIf(skip)(`a connection that is there already ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let sandbox: PolicedSandbox
  let server: ReturnType<typeof serve>
  const told: string[] = []

  function serve(space: string) {
    const args = [`--net=${space}`, 'python3', ENDS, String(PORT), ...ADDRESSES]
    const child = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface(child.stdout).on('line', (line) => told.push(line))
    return child
  }

  beforeAll(async () => {
    network = await openTestNetwork()
    server = serve(network.outside)
    await waitFor('the other end', () => told.includes('ready'))
    sandbox = await openPolicedSandbox(network)
  }, 60_000)

  afterAll(async () => {
    server?.stdin.end()
    if (server !== undefined) await once(server, 'exit')
    await sandbox?.close()
    await network?.close()
  }, 60_000)

  beforeEach(async () => {
    await sandbox.apply(null)
    told.length = 0
  })

  /** `found`: by the client. `ends`: what the other end was told of each, before and after the client went. */
  async function whileConnected(targets: readonly string[], change: () => Promise<unknown>) {
    const goesOn = join(mkdtempSync(join(dir(), 'on-')), 'on')
    const ended = sandbox.run(['python3', '-c', CLIENT, goesOn, ...targets])
    await waitFor('the connections', () => told.filter((line) => line.endsWith('text before')).length >= targets.length)
    await change()
    writeFileSync(goesOn, '')
    const { out } = await ended
    await waitFor('their ends', () => told.filter((line) => / (?:closed|reset)$/.test(line)).length >= targets.length)
    await sleep(ARRIVAL_MS)
    return { found: out.trim().split('\n'), told: told.filter((line) => !line.endsWith('before')).sort() }
  }

  const kept = (address: string) => [`${address} closed`, `${address} text after`]

  it('is reset by a first policy that denies it, at both ends; one that is allowed stays', async () => {
    const result = await whileConnected(ADDRESSES, () => sandbox.apply(open(ALLOWED.v4, ALLOWED.v6)))
    expect(result.found).toEqual(['open', 'ECONNABORTED EPIPE', 'open', 'ECONNABORTED EPIPE'])
    const resets = [`${DENIED.v4} reset`, `${DENIED.v6} reset`]
    expect(result.told).toEqual([...resets, ...kept(ALLOWED.v4), ...kept(ALLOWED.v6)].sort())
  }, 60_000)

  it('is reset by a policy that takes an allowing one’s place, also where it is IPv4 inside IPv6', async () => {
    await sandbox.apply(open(ALLOWED.v4, DENIED.v4))
    const targets = [`::ffff:${ALLOWED.v4}`, `::ffff:${DENIED.v4}`]
    const result = await whileConnected(targets, () => sandbox.apply(open(ALLOWED.v4)))
    expect(result.found).toEqual(['open', 'ECONNABORTED EPIPE'])
    expect(result.told).toEqual([`${DENIED.v4} reset`, ...kept(ALLOWED.v4)].sort())
  }, 60_000)

  it('is not reset in monitor mode', async () => {
    const result = await whileConnected([DENIED.v4], () => sandbox.apply({ ...open(), mode: Mode.MODE_MONITOR }))
    expect(result).toEqual({ found: ['open'], told: kept(DENIED.v4) })
  }, 60_000)

  it('stays where a lease goes over to the new policy, and is reset where it does not', async () => {
    await sandbox.apply(named())
    const lease = { rule: 1, name: 'ok.test', addresses: [addressBytes(ALLOWED.v4)], ttlSeconds: TTL_S }
    await sandbox.host.command({ putLease: { sandboxId: SANDBOX_ID, lease: { ...lease, policyDigest: 'names' } } })
    const same = () => sandbox.apply(named({ digest: 'same', nets: [net(DENIED.v4, { port: PORT })] }))
    expect(await whileConnected([ALLOWED.v4], same)).toEqual({ found: ['open'], told: kept(ALLOWED.v4) })
    told.length = 0
    const other = await whileConnected([ALLOWED.v4], () => sandbox.apply(named({ digest: 'none', hosts: [] })))
    expect(other).toEqual({ found: ['ECONNABORTED EPIPE'], told: [`${ALLOWED.v4} reset`] })
  }, 60_000)

  it('of nobody in a sandbox is never reset', async () => {
    const goesOn = join(dir(), 'stranger')
    const enter = [`--net=${network.inside}`, 'python3', '-c', CLIENT, goesOn, DENIED.v4]
    const stranger = spawn('nsenter', enter, { stdio: ['ignore', 'pipe', 'inherit'] })
    const said = once(createInterface(stranger.stdout), 'line')
    await waitFor('its connection', () => told.includes(`${DENIED.v4} text before`))
    await sandbox.apply(open())
    await sleep(ARRIVAL_MS)
    writeFileSync(goesOn, '')
    expect(await said).toEqual(['open'])
    await once(stranger, 'exit')
  }, 60_000)
})
