/** What a sandbox or a resolver sends to do harm: the gateway answers what it should, leases nothing else, and goes on. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RCODE, TYPE } from '../../../src/base/dns-codes.js'
import { type DnsMessage, readMessage } from '../../../src/base/dns-message.js'
import { nameFromText } from '../../../src/base/dns-name.js'
import { CONNECTIONS_MAX, IDLE_MS } from '../../../src/gateway/dns-server.js'
import { DnsWriter } from '../../../src/gateway/dns-writer.js'
import { HostTable } from '../../../src/gateway/host-table.js'
import { tcpFrame } from '../../../src/gateway/tcp-frames.js'
import { type GatewayDns, openGatewayDns } from '../../support/gateway-dns.js'
import { hostPolicy } from '../../support/gateway-policy.js'

const writer = new DnsWriter()
const POLICY = hostPolicy({ allow: ['api.example.net', '**.wild.example.net'] })
const ADDRESS = Buffer.from([93, 184, 216, 34])

function query(text: string, id = 7): Buffer {
  const question = { name: nameFromText(text), type: TYPE.A, class: 1 }
  return writer.write({ id, flags: 0x0100, rcode: 0, question, edns: null })
}

/** A resolver whose answers are the test's: null is silence. */
async function openResolver(answer: (query: DnsMessage, bytes: Buffer) => Buffer[] | null): Promise<Socket> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  socket.on('message', (bytes, { port, address }) => {
    for (const each of answer(readMessage(bytes), bytes) ?? []) socket.send(each, port, address)
  })
  return socket
}

function answerTo({ id, question }: DnsMessage, of: { address?: Buffer; name?: string; id?: number } = {}): Buffer {
  const name = of.name === undefined ? question.name : nameFromText(of.name)
  const answers = [{ name, type: TYPE.A, class: 1, ttl: 60, data: of.address ?? ADDRESS }]
  return writer.write({
    id: of.id ?? id,
    flags: 0x8180,
    rcode: 0,
    question: { ...question, name },
    answers,
    edns: null,
  })
}

describe('the gateway', () => {
  let resolver: Socket
  let gateway: GatewayDns
  let answer: (query: DnsMessage, bytes: Buffer) => Buffer[] | null
  let asked: string[]
  let lease: () => Promise<void>

  beforeEach(async () => {
    asked = []
    lease = async () => {}
    answer = (message) => [answerTo(message)]
    resolver = await openResolver((message, bytes) => {
      asked.push(message.question.name.text)
      return answer(message, bytes)
    })
    const { port } = resolver.address()
    gateway = await openGatewayDns({ policy: POLICY, upstreamPorts: [port], lease: () => lease() })
  })

  afterEach(() => {
    gateway.close()
    resolver.close()
  })

  async function byUdp(bytes: Buffer, deadlineMs = 6_000): Promise<DnsMessage | Buffer | null> {
    const socket = createSocket('udp4')
    socket.connect(gateway.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.send(bytes)
    const reply = await Promise.race([
      once(socket, 'message').then(([message]) => message as Buffer),
      sleep(deadlineMs, null),
    ])
    socket.close()
    if (reply === null) return null
    try {
      return readMessage(reply)
    } catch {
      return reply
    }
  }
  /** Asked again as a client does: what finds a socket's buffer full is lost. */
  const isWell = async () => {
    let reply: DnsMessage | Buffer | null = null
    for (let tries = 0; tries < 4 && reply === null; tries++) reply = await byUdp(query('api.example.net'), 1_500)
    expect(reply).toMatchObject({ rcode: RCODE.NOERROR })
  }
  const rcodeOf = (bytes: DnsMessage | Buffer | null) =>
    Buffer.isBuffer(bytes) ? bytes.readUInt16BE(2) & 0xf : bytes?.rcode

  it('asks nobody about what is not one question, and says that it is malformed', async () => {
    const two = Buffer.concat([
      query('api.example.net'),
      nameFromText('api.example.net').wire,
      Buffer.from([0, 1, 0, 1]),
    ])
    two.writeUInt16BE(2, 4)
    const circle = Buffer.concat([query('a').subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])])
    const long = Buffer.concat([
      query('a').subarray(0, 12),
      ...Array.from({ length: 5 }, () => Buffer.concat([Buffer.from([63]), Buffer.alloc(63, 0x61)])),
      Buffer.from([0, 0, 1, 0, 1]),
    ])
    for (const bytes of [two, circle, long]) expect(rcodeOf(await byUdp(bytes))).toBe(RCODE.FORMERR)
    expect(asked).toEqual([])
    await isWell()
  })

  it('does not take a name whose labels hold dots for the one that it looks like', async () => {
    const dotted = Buffer.concat([
      query('a').subarray(0, 12),
      Buffer.from([15]),
      Buffer.from('api.example.net'),
      Buffer.from([0, 0, 1, 0, 1]),
    ])
    expect(await byUdp(dotted)).toMatchObject({ rcode: RCODE.REFUSED })
    expect([asked, gateway.leases]).toEqual([[], []])
  })

  it('answers no answer, so that two of its kind do not talk for ever', async () => {
    const reply = query('api.example.net')
    reply.writeUInt16BE(0x8100, 2)
    expect(await byUdp(reply, 300)).toBeNull()
  })

  it('goes on after anything', async () => {
    const socket = createSocket('udp4')
    socket.connect(gateway.port, '127.0.0.1')
    await once(socket, 'connect')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => socket.send(bytes)),
      { numRuns: 1_000 },
    )
    await sleep(100)
    socket.close()
    await isWell()
    expect(gateway.leases.every(({ name }) => name === 'api.example.net')).toBe(true)
  })

  it('takes a message over TCP in whatever pieces it comes, and many at once', async () => {
    const socket = net.connect(gateway.port, '127.0.0.1')
    const got: Buffer[] = []
    socket.on('data', (chunk) => got.push(chunk))
    const frame = tcpFrame(query('api.example.net', 1))
    for (const byte of frame) {
      socket.write(Buffer.from([byte]))
      await sleep(1)
    }
    const many = Array.from({ length: 200 }, (_, index) => tcpFrame(query(`n${index}.wild.example.net`, index)))
    socket.end(Buffer.concat(many))
    await once(socket, 'close')
    let frames = 0
    for (let rest = Buffer.concat(got); rest.length > 2; rest = rest.subarray(2 + rest.readUInt16BE(0))) frames++
    expect(frames).toBe(201)
  })

  it('has so many connections and no more, and lets those go that say nothing', async () => {
    const sockets = Array.from({ length: CONNECTIONS_MAX + 8 }, () => net.connect(gateway.port, '127.0.0.1'))
    await Promise.all(sockets.map((socket) => once(socket, 'connect').catch(() => {})))
    const open = () => sockets.filter((socket) => !socket.destroyed && socket.readyState === 'open').length
    // Before those go that say nothing.
    for (const end = performance.now() + IDLE_MS / 2; open() > CONNECTIONS_MAX && performance.now() < end; )
      await sleep(20)
    const left = open()
    for (const socket of sockets) socket.destroy()
    expect(left).toBeLessThanOrEqual(CONNECTIONS_MAX)
    await isWell()
  })

  it('believes no answer to another question, of another number, or that is malformed', async () => {
    const evil = Buffer.from([93, 184, 216, 66])
    answer = (message) => [
      answerTo(message, { address: evil, id: message.id ^ 1 }),
      answerTo(message, { address: evil, name: 'other.example.net' }),
      Buffer.concat([answerTo(message, { address: evil }), Buffer.from([0])]),
      answerTo(message),
    ]
    const reply = await byUdp(query('api.example.net'))
    expect(reply).toMatchObject({ answers: [{ data: ADDRESS }] })
    expect(gateway.leases).toHaveLength(1)
  })

  it('passes on no records beside the chain from the name that was asked', async () => {
    answer = (message) => {
      const head = { type: TYPE.A, class: 1, ttl: 60 }
      const beside = { ...head, name: nameFromText('bank.example.org'), data: ADDRESS }
      const own = { ...head, name: message.question.name, data: ADDRESS }
      const { id, question } = message
      return [
        writer.write({
          id,
          flags: 0x8180,
          rcode: 0,
          question,
          answers: [beside, own],
          authorities: [beside],
          edns: null,
        }),
      ]
    }
    expect(await byUdp(query('api.example.net'))).toMatchObject({ answers: [{ data: ADDRESS }], authorities: [] })
    const reply = await byUdp(query('api.example.net'))
    expect(JSON.stringify(reply)).not.toContain('bank')
  })

  it('gives no address for which the lease was refused, and tries again', async () => {
    lease = () => Promise.reject(new Error('no room'))
    expect(await byUdp(query('api.example.net'))).toMatchObject({ rcode: RCODE.SERVFAIL, answers: [] })
    lease = async () => {}
    await isWell()
  })

  it('gives no answer of a policy that went while it was asked', async () => {
    lease = async () => {
      lease = async () => {}
      const policy = hostPolicy({ allow: ['else.example.net'], digest: 'd2' })
      gateway.dns.setPolicy({ policy, hosts: new HostTable(policy) })
    }
    expect(await byUdp(query('api.example.net'))).toMatchObject({ rcode: RCODE.SERVFAIL, answers: [] })
    expect(await byUdp(query('api.example.net'))).toMatchObject({ rcode: RCODE.REFUSED })
  })

  it('waits for a silent resolver no longer than a client does, and for so many questions only', async () => {
    answer = () => null
    const waiting = Array.from({ length: 300 }, (_, index) => byUdp(query(`n${index}.wild.example.net`, index), 9_000))
    const rcodes = (await Promise.all(waiting)).map(rcodeOf)
    expect(rcodes.filter((rcode) => rcode !== undefined && rcode !== RCODE.SERVFAIL)).toEqual([])
    expect(new Set(asked).size).toBeLessThanOrEqual(128)
    answer = (message) => [answerTo(message)]
    await isWell()
  })

  it('asks once for a question that many ask at the same time', async () => {
    const replies = await Promise.all(Array.from({ length: 50 }, (_, index) => byUdp(query('api.example.net', index))))
    expect(replies.map(rcodeOf)).toEqual(Array(50).fill(RCODE.NOERROR))
    expect([asked.length, gateway.leases.length]).toEqual([1, 1])
  })

  it('answers nothing without a policy', async () => {
    const without = await openGatewayDns({ policy: null, upstreamPorts: [resolver.address().port] })
    const port = gateway.port
    try {
      Object.assign(gateway, { port: without.port })
      expect(await byUdp(query('api.example.net'))).toMatchObject({ rcode: RCODE.SERVFAIL })
    } finally {
      Object.assign(gateway, { port })
      without.close()
    }
    expect(asked).toEqual([])
  })
})
