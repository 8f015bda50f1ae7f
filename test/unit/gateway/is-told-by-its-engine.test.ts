/** The gateway as the process that it is, before a resolver and behind an engine's socket: policies down, leases and facts up. */
import { promises as dns } from 'node:dns'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Decision, toBigInt } from '../../../src/proto/codec.js'
import type { Role } from '../../../src/supervise/role.js'
import {
  closesSoon,
  DONE,
  type GatewayEngine,
  startGateway,
  startGatewayEngine,
  until,
} from '../../support/gateway-engine.js'
import { hostPolicy } from '../../support/gateway-policy.js'
import { startUnbound, type Unbound } from '../../support/unbound.js'

const RATE = { perSecond: 5, burst: 50 }

describe('the gateway as a process', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-gateway-'))
  const socket = join(folder, 'gateway.sock')
  let unbound: Unbound
  let engine: GatewayEngine
  let gateway: Role
  const ares = new dns.Resolver({ timeout: 4_000, tries: 1 })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  beforeEach(async () => {
    unbound = await startUnbound({ 'example.net': 'api A 93.184.216.34\nother A 93.184.216.35' })
    engine = await startGatewayEngine(socket)
    gateway = await startGateway(socket, unbound.port, { rate: RATE })
  })

  afterEach(async () => {
    await gateway.stop()
    await engine.close()
    await unbound.stop()
    rmSync(socket, { force: true })
  })

  const askAtItsPort = () => ares.setServers([`127.0.0.1:${engine.commands.redirects.at(-1)?.port4}`])

  it('answers by the policy that it was given, each answer after its lease, each query a fact', async () => {
    await engine.desk.serve('box', hostPolicy({ allow: ['api.example.net'] }))
    askAtItsPort()
    expect(await ares.resolve4('api.example.net')).toEqual(['93.184.216.34'])
    expect(engine.commands.leases).toMatchObject([{ rule: 1, name: 'api.example.net', ttlSeconds: 330 }])
    await expect(ares.resolve4('other.example.net')).rejects.toMatchObject({ code: 'EREFUSED' })
    await until(() => engine.facts.length === 2)
    expect(engine.facts.map(({ number, name, rcode, decision }) => [toBigInt(number), name, rcode, decision])).toEqual([
      [1n, 'api.example.net', 'NOERROR', Decision.DECISION_ALLOW],
      [2n, 'other.example.net', 'REFUSED', Decision.DECISION_DENY],
    ])
  })

  it('gives no addresses that the sensor did not take', async () => {
    await engine.desk.serve('box', hostPolicy({ allow: ['api.example.net'] }))
    askAtItsPort()
    engine.commands.outcome = { ok: false, problem: 'no room' }
    await expect(ares.resolve4('api.example.net')).rejects.toMatchObject({ code: 'ESERVFAIL' })
    engine.commands.outcome = DONE
    expect(await ares.resolve4('api.example.net')).toEqual(['93.184.216.34'])
  })

  it('keeps the ports under a new policy, asks anew, and refuses what that does not name', async () => {
    await engine.desk.serve('box', hostPolicy({ allow: ['api.example.net', 'other.example.net'] }))
    askAtItsPort()
    await ares.resolve4('api.example.net')
    await ares.resolve4('other.example.net')
    await engine.desk.serve('box', hostPolicy({ allow: ['api.example.net'], digest: 'd2' }))
    expect(engine.commands.redirects.at(-1)).toEqual(engine.commands.redirects[0])
    await ares.resolve4('api.example.net')
    expect(engine.commands.leases.map(({ policyDigest }) => policyDigest)).toEqual(['d1', 'd1', 'd2'])
    await expect(ares.resolve4('other.example.net')).rejects.toMatchObject({ code: 'EREFUSED' })
  })

  it('keeps sandboxes apart, and closes the ports of one that ended', async () => {
    await engine.desk.serve('one', hostPolicy({ allow: ['api.example.net'] }))
    await engine.desk.serve('two', hostPolicy({ allow: ['other.example.net'] }))
    const [one, two] = engine.commands.redirects
    expect(one?.port4).not.toBe(two?.port4)
    ares.setServers([`127.0.0.1:${two?.port4}`])
    await expect(ares.resolve4('api.example.net')).rejects.toMatchObject({ code: 'EREFUSED' })
    engine.desk.drop('two')
    expect(await closesSoon(two?.port4 ?? 0)).toBe(true)
    expect(await closesSoon(one?.port4 ?? 0, 200)).toBe(false)
  })

  it('says that it lives, and goes on when the engine is back', async () => {
    await until(() => engine.commands.alive >= 3)
    await engine.close()
    engine = await startGatewayEngine(socket)
    const policy = hostPolicy({ allow: ['api.example.net'] })
    await engine.desk.serve('box', policy)
    askAtItsPort()
    expect(await ares.resolve4('api.example.net')).toEqual(['93.184.216.34'])
  })

  it('refuses queries beyond the budget, and says so', async () => {
    await engine.desk.serve('box', hostPolicy({ allow: ['api.example.net'] }))
    askAtItsPort()
    const began = performance.now()
    const results = await Promise.allSettled(Array.from({ length: 80 }, () => ares.resolve4('api.example.net')))
    const refused = results.filter(({ status }) => status === 'rejected').length
    const refilled = Math.ceil(((performance.now() - began) / 1_000) * RATE.perSecond)
    expect(refused).toBeGreaterThanOrEqual(80 - RATE.burst - refilled)
    expect(refused).toBeLessThanOrEqual(80 - RATE.burst)
    await until(() => engine.facts.length === 80 - refused)
    expect(engine.facts.filter(({ rule }) => rule === 'limits.dns')).toEqual([])
    const told = () => engine.limits.reduce((sum, limit) => sum + Number(toBigInt(limit.refused)), 0)
    await until(() => told() === refused)
    expect(engine.limits.length).toBeLessThan(10)
  })

  it('is listened to alone: a second one is turned away', async () => {
    const second = await startGateway(socket, unbound.port, { rate: RATE, files: join(folder, 'second') })
    await until(() => engine.desk.refused > 0)
    expect(engine.desk.isConnected).toBe(true)
    await second.stop()
    await engine.desk.serve('box', hostPolicy({ allow: ['api.example.net'] }))
    expect(engine.commands.redirects).toHaveLength(1)
  })
})
