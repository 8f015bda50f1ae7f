/** A gateway as the process that it is, and its engine's part in this one, joined by a socket: for tests of what passes between them. */
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLog } from '../../src/base/log.js'
import { GatewayDesk } from '../../src/engine/gateway-desk.js'
import type { MissingQueries } from '../../src/engine/gateway-ledger.js'
import type { CommandOutcome, Done } from '../../src/engine/sensor-commands.js'
import { type IDnsFact, type ILease, type ILimitFact, toBigInt } from '../../src/proto/codec.js'
import { serveUnix } from '../../src/proto/rpc.js'
import { type Role, startRole } from '../../src/supervise/role.js'

const MAIN = new URL('../../dist/gateway/main.js', import.meta.url)
const HEADER_BYTES = 12
const DNS_A = 1

export const DONE: CommandOutcome = {
  ...{ ok: true, cgroupId: 0n, cgroupPath: '', killed: 0, processes: 0, degraded: [], sandboxId: '' },
  ...{ generation: 0, inUse: false },
}

/** What the sensor is told; how it answers is the test's. */
export class Commands {
  readonly leases: ILease[] = []
  readonly redirects: { sandboxId: string; port4: number; port6: number }[] = []
  alive = 0
  outcome: CommandOutcome = DONE

  putLease({ lease }: { sandboxId: string; lease: ILease }, done: Done): void {
    this.leases.push(lease)
    done(this.outcome)
  }

  redirect(target: { sandboxId: string; port4: number; port6: number }, done: Done): void {
    this.redirects.push(target)
    done(DONE)
  }

  gatewayAlive(done: Done): void {
    this.alive++
    done(DONE)
  }
}

export interface GatewayEngine {
  readonly desk: GatewayDesk
  readonly commands: Commands
  readonly facts: IDnsFact[]
  readonly limits: ILimitFact[]
  readonly missing: (MissingQueries & { readonly sandboxId: string })[]
  /** Queries that were told of, answered or refused, and those that are missing for certain. */
  told(): number
  /** In order, or as if it had been killed. */
  close(how?: 'killed'): Promise<void>
}

export async function startGatewayEngine(path: string, { settled = true } = {}): Promise<GatewayEngine> {
  const log = createLog({ role: 'test', level: 'silent' })
  const commands = new Commands()
  const facts: IDnsFact[] = []
  const limits: ILimitFact[] = []
  const missing: GatewayEngine['missing'] = []
  const desk = new GatewayDesk({
    commands: () => commands,
    observe: (fact) => void facts.push(fact),
    leased: () => {},
    limited: (fact) => void limits.push(fact),
    missing: (sandboxId, of) => void missing.push({ sandboxId, ...of }),
    log,
  })
  if (settled) desk.settled()
  const check = () => ({ allowed: true as const, caller: { pid: 1, uid: 0, gid: 0, groups: [] } })
  const server = await serveUnix({ path, mode: 0o600, check, log, services: { gateway: desk.handler } })
  return {
    ...{ desk, commands, facts, limits, missing },
    told() {
      const refused = limits.reduce((sum, limit) => sum + Number(toBigInt(limit.refused)), 0)
      const lost = missing.reduce((sum, { count }) => sum + Number(count), 0)
      return facts.length + refused + lost
    },
    async close(how) {
      if (how !== 'killed') await desk.stop()
      await server.close(100)
    },
  }
}

export function startGateway(
  socket: string,
  resolverPort: number,
  { rate = { perSecond: 1_000, burst: 10_000 }, files = socket } = {},
): Promise<Role> {
  const mailbox = { path: `${files}.doors`, token: 'x'.repeat(64) }
  const resolvers = [{ host: '127.0.0.1', port: resolverPort }]
  const config = { socket, mailbox, counts: `${files}.counts`, user: null, resolvers, rate, logLevel: 'silent' }
  return startRole({ name: 'gateway', main: MAIN, config, readyDeadlineMs: 20_000 })
}

export async function until(what: () => boolean): Promise<void> {
  const end = performance.now() + 10_000
  while (!what()) {
    if (performance.now() > end) throw new Error('it did not come about')
    await sleep(10)
  }
}

export async function closesSoon(port: number, deadlineMs = 10_000): Promise<boolean> {
  const end = performance.now() + deadlineMs
  while (performance.now() < end) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = net.connect({ host: '127.0.0.1', port })
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (!isOpen) return true
    await sleep(20)
  }
  return false
}

/** A query for an address of this name, as it is sent. */
export function queryOf(name: string, id: number): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]))
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(0x0100, 2)
  header.writeUInt16BE(1, 4)
  return Buffer.concat([header, ...labels, Buffer.from([0, 0, DNS_A, 0, 1])])
}

/** Sends all of them at once from one socket, and counts what comes back. */
export async function openAsker(): Promise<{
  ask(port: number, names: readonly string[]): Promise<void>
  answers(): number
  close(): void
}> {
  const socket = dgram.createSocket('udp4')
  let answers = 0
  socket.on('message', () => answers++).on('error', () => {})
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    async ask(port, names) {
      const send = (name: string, index: number) =>
        new Promise<void>((resolve) => socket.send(queryOf(name, index), port, '127.0.0.1', () => resolve()))
      await Promise.all(names.map(send))
    },
    answers: () => answers,
    close: () => socket.close(),
  }
}

/** A resolver that is asked and never answers. */
export async function openSilentResolver(): Promise<{ port: number; asked(): number; close(): void }> {
  const socket = dgram.createSocket('udp4')
  let asked = 0
  socket.on('message', () => asked++)
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return { port: socket.address().port, asked: () => asked, close: () => socket.close() }
}
