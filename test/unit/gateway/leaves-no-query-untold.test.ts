/** Every query that a gateway took is told, or is missing with its number: when a sandbox, a gateway or an engine ends, in order or killed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { UDP_QUERIES_MAX } from '../../../src/gateway/dns-server.js'
import { HostForm, type ICompiledPolicy } from '../../../src/proto/codec.js'
import type { Role } from '../../../src/supervise/role.js'
import {
  closesSoon,
  type GatewayEngine,
  openAsker,
  openSilentResolver,
  startGateway,
  startGatewayEngine,
  until,
} from '../../support/gateway-engine.js'
import { hostPolicy } from '../../support/gateway-policy.js'

const POLICY = hostPolicy({ allow: ['*.example.net'] })
const DENIED = 40
const WAITING = 30
const ASKED = DENIED + WAITING
const LIMITED = { rate: { perSecond: 1, burst: 10 } }

/** Refused at once, and waiting for a resolver that is silent. */
const NAMES = [
  ...Array.from({ length: DENIED }, (_, index) => `n${index}.example.org`),
  ...Array.from({ length: WAITING }, (_, index) => `n${index}.example.net`),
]

describe('what a sandbox asked', () => {
  let folder: string
  let socket: string
  let resolver: Awaited<ReturnType<typeof openSilentResolver>>
  let asker: Awaited<ReturnType<typeof openAsker>>
  let engine: GatewayEngine
  let gateway: Role

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-gateway-'))
    socket = join(folder, 'gateway.sock')
    resolver = await openSilentResolver()
    asker = await openAsker()
    engine = await startGatewayEngine(socket)
  })

  afterEach(async () => {
    await gateway.stop()
    await engine.close()
    asker.close()
    resolver.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const serve = async (id: string, policy: ICompiledPolicy = POLICY): Promise<number> => {
    await engine.desk.serve(id, policy)
    return engine.commands.redirects.findLast(({ sandboxId }) => sandboxId === id)?.port4 ?? 0
  }

  const killGateway = async () => {
    process.kill(gateway.pid, 'SIGKILL')
    await gateway.exited
    await until(() => !engine.desk.isConnected)
  }

  it('is told when the sandbox is dropped, and what was under way counted', async () => {
    gateway = await startGateway(socket, resolver.port)
    const port = await serve('box')
    await asker.ask(port, NAMES)
    await engine.desk.drop('box')
    expect(engine.facts).toHaveLength(DENIED)
    expect(engine.missing).toMatchObject([{ sandboxId: 'box', count: BigInt(WAITING), exact: true, isOfNames: true }])
    expect(await closesSoon(port)).toBe(true)
  })

  it('is told though a limit refused it in the last moment', async () => {
    gateway = await startGateway(socket, resolver.port, LIMITED)
    const port = await serve('box')
    await asker.ask(port, NAMES.slice(0, DENIED))
    await until(() => engine.limits.length > 0)
    await asker.ask(port, NAMES.slice(0, DENIED))
    await engine.desk.drop('box')
    expect(engine.missing).toEqual([])
    expect(engine.told()).toBe(2 * DENIED)
    expect(engine.limits.length).toBeGreaterThan(1)
  })

  it('is missing where more waits than the gateway has under way, and not answered', async () => {
    gateway = await startGateway(socket, resolver.port)
    const port = await serve('box')
    const same = Array.from({ length: UDP_QUERIES_MAX + 44 }, () => 'same.example.net')
    // As many as the kernel keeps for a gateway that is slow.
    for (let at = 0; at < same.length; at += 50) {
      await asker.ask(port, same.slice(at, at + 50))
      await sleep(50)
    }
    await until(() => engine.missing.length > 0)
    await engine.desk.drop('box')
    expect(engine.told()).toBe(UDP_QUERIES_MAX + 44)
    expect(engine.missing[0]?.cause).toContain('too many others')
    expect(Number(engine.missing[0]?.count)).toBeLessThanOrEqual(44)
  })

  it('is missing where the kernel had no room for it at the gateway', async () => {
    gateway = await startGateway(socket, resolver.port)
    const port = await serve('box')
    const many = 3_000
    process.kill(gateway.pid, 'SIGSTOP')
    await asker.ask(
      port,
      Array.from({ length: many }, (_, index) => `n${index}.example.org`),
    )
    process.kill(gateway.pid, 'SIGCONT')
    await engine.desk.drop('box')
    expect(engine.facts.length).toBeLessThan(many)
    expect(engine.told()).toBe(many)
  })

  it('is told, or counted, when the gateway ends in order', async () => {
    gateway = await startGateway(socket, resolver.port)
    await asker.ask(await serve('box'), NAMES)
    await until(() => resolver.asked() >= WAITING)
    await gateway.stop()
    expect(engine.facts).toHaveLength(DENIED)
    expect(engine.told()).toBe(ASKED)
    gateway = await startGateway(socket, resolver.port)
    await serve('box')
    expect(engine.told()).toBe(ASKED)
  })

  it('is counted exactly when the gateway is killed, by the one after it', async () => {
    gateway = await startGateway(socket, resolver.port)
    await asker.ask(await serve('box'), NAMES)
    await until(() => engine.facts.length === DENIED && resolver.asked() >= WAITING)
    await killGateway()
    expect(engine.missing).toEqual([])
    gateway = await startGateway(socket, resolver.port)
    await serve('box')
    expect(engine.missing).toMatchObject([{ sandboxId: 'box', count: BigInt(WAITING), exact: true }])
    const port = await serve('box')
    await asker.ask(port, NAMES.slice(0, DENIED))
    await engine.desk.drop('box')
    expect(engine.told()).toBe(ASKED + DENIED)
  })

  it('is waited for when the sandbox ends while the gateway is gone', async () => {
    gateway = await startGateway(socket, resolver.port)
    await asker.ask(await serve('box'), NAMES)
    await until(() => engine.facts.length === DENIED && resolver.asked() >= WAITING)
    await killGateway()
    const told = engine.desk.drop('box')
    expect(told).not.toBeNull()
    gateway = await startGateway(socket, resolver.port)
    await told
    expect(engine.told()).toBe(ASKED)
  })

  it('is missing, nobody knows how much, where the gateway does not come back', async () => {
    gateway = await startGateway(socket, resolver.port)
    await asker.ask(await serve('box'), NAMES)
    await until(() => engine.facts.length === DENIED)
    await killGateway()
    await engine.desk.drop('box')
    expect(engine.missing).toMatchObject([{ sandboxId: 'box', count: 0n, exact: false }])
    expect(engine.missing[0]?.countMax).toBeUndefined()
  })

  it('is at most so much where an engine was killed that had been told of it', async () => {
    gateway = await startGateway(socket, resolver.port)
    await asker.ask(await serve('box'), NAMES.slice(0, DENIED))
    await until(() => engine.facts.length === DENIED)
    engine.desk.passedOn().kept()
    await asker.ask(await serve('box'), NAMES.slice(0, WAITING))
    await until(() => engine.facts.length === DENIED + WAITING)
    await engine.close('killed')
    engine = await startGatewayEngine(socket)
    await serve('box')
    expect(engine.missing).toMatchObject([
      { sandboxId: 'box', count: 0n, countMax: BigInt(WAITING), exact: false, isOfNames: false },
    ])
  })

  it('is told once its session is there, not before', async () => {
    gateway = await startGateway(socket, resolver.port)
    const port = await serve('box')
    await engine.close('killed')
    await asker.ask(port, NAMES.slice(0, DENIED))
    await sleep(100)
    engine = await startGatewayEngine(socket, { settled: false })
    await serve('box')
    await sleep(100)
    expect(engine.facts).toEqual([])
    engine.desk.settled()
    // Whatever of it the gateway had read by then.
    await until(() => engine.facts.length === DENIED)
  })

  it('is not answered at the ports of a sandbox that ended while the engine was away', async () => {
    gateway = await startGateway(socket, resolver.port)
    const [one, two] = [await serve('one'), await serve('two')]
    await engine.close('killed')
    engine = await startGatewayEngine(socket)
    await serve('two')
    expect(await closesSoon(one, 300)).toBe(false)
    engine.desk.complete()
    expect(await closesSoon(one)).toBe(true)
    expect(await closesSoon(two, 200)).toBe(false)
  })
})

describe('a policy of ten thousand names', () => {
  it('goes to the gateway in parts, once for all that have it, and again to the next', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-gateway-'))
    const socket = join(folder, 'gateway.sock')
    const resolver = await openSilentResolver()
    const engine = await startGatewayEngine(socket)
    let gateway = await startGateway(socket, resolver.port)
    const asker = await openAsker()
    const names = Array.from({ length: 10_000 }, (_, index) => `a-rather-long-name-${index}.example.net`)
    const host = (base: string, index: number) => ({ rule: index + 1, host: { form: HostForm.HOST_FORM_EXACT, base } })
    const big = { ...hostPolicy({ allow: names }), hosts: names.map(host) }
    const ids = Array.from({ length: 20 }, (_, index) => `box${index}`)
    await Promise.all(ids.map((id) => engine.desk.serve(id, big)))
    const port = engine.commands.redirects.at(-1)?.port4 ?? 0
    await asker.ask(port, ['a-rather-long-name-9999.example.net', 'other.example.net'])
    await until(() => resolver.asked() > 0 && engine.facts.length === 1)
    expect(engine.facts[0]).toMatchObject({ name: 'other.example.net', rcode: 'REFUSED' })
    process.kill(gateway.pid, 'SIGKILL')
    await gateway.exited
    gateway = await startGateway(socket, resolver.port)
    const before = engine.commands.redirects.length
    await until(() => engine.commands.redirects.length === before + ids.length)
    await gateway.stop()
    await engine.close()
    asker.close()
    resolver.close()
    rmSync(folder, { recursive: true, force: true })
  }, 30_000)
})
