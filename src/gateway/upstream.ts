/**
 * Asks the resolvers of this machine: one after the other, by UDP and, where that is too small, TCP. It guards that only an answer to our
 * own question counts (a socket, port and id for each; the question must come back), and that every wait and the number of questions
 * under way have a limit. Not here: what the answer is worth.
 */
import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import net from 'node:net'
import { FLAG, RCODE, rcodeName } from '../base/dns-codes.js'
import { type DnsMessage, type DnsQuestion, readMessage } from '../base/dns-message.js'
import { messageOf, SluiceError } from '../base/error.js'
import type { DnsWriter } from './dns-writer.js'
import type { UpstreamAddress } from './resolv-conf.js'
import { TcpFrames, tcpFrame } from './tcp-frames.js'

/** Clients give up after five seconds, and ask again. */
export const ANSWER_DEADLINE_MS = 4_500
const TRY_DEADLINE_MS = 1_400
const ASKS_MAX = 1_024
/** Goes through every path without being cut in pieces (DNS Flag Day 2020). */
const UDP_BYTES = 1_232
/** A resolver that did not answer is asked last for so long. */
const SHUNNED_MS = 10_000

export interface UpstreamReply {
  readonly message: DnsMessage
  readonly resolver: string
}

interface Ask {
  readonly question: DnsQuestion
  readonly server: UpstreamAddress
  readonly deadlineMs: number
}

export class Upstream {
  readonly #writer: DnsWriter
  #servers: readonly UpstreamAddress[]
  readonly #shunnedUntil = new Map<string, number>()
  /** That answered with an error to EDNS. */
  readonly #plain = new Set<string>()
  #underWay = 0

  constructor(options: { writer: DnsWriter; servers: readonly UpstreamAddress[] }) {
    this.#writer = options.writer
    this.#servers = options.servers
  }

  /** These are asked from now on. */
  use(servers: readonly UpstreamAddress[]): void {
    this.#servers = servers
    this.#shunnedUntil.clear()
    this.#plain.clear()
  }

  /** Throws LIMIT where too much is under way, IO where no resolver answers. An error that a resolver answers with is a reply. */
  async ask(question: DnsQuestion): Promise<UpstreamReply> {
    if (this.#underWay >= ASKS_MAX) throw new SluiceError('LIMIT', `${ASKS_MAX} questions are under way`)
    this.#underWay++
    try {
      return await this.#askInTurn(question)
    } finally {
      this.#underWay--
    }
  }

  async #askInTurn(question: DnsQuestion): Promise<UpstreamReply> {
    const end = performance.now() + ANSWER_DEADLINE_MS
    let problem: unknown = null
    let failure: UpstreamReply | null = null
    // Twice, as a packet can be lost.
    const servers = this.#inOrder()
    for (const server of [...servers, ...servers]) {
      const deadlineMs = Math.min(TRY_DEADLINE_MS, end - performance.now())
      if (deadlineMs <= 0) break
      try {
        const message = await this.#askOne({ question, server, deadlineMs })
        const reply = { message, resolver: nameOf(server) }
        if (message.rcode === RCODE.NOERROR || message.rcode === RCODE.NXDOMAIN) return reply
        failure = reply
      } catch (error) {
        problem = error
        this.#shunnedUntil.set(nameOf(server), performance.now() + SHUNNED_MS)
      }
    }
    if (failure !== null) return failure
    throw new SluiceError('IO', `no resolver answered: ${messageOf(problem)}`, { cause: problem })
  }

  #inOrder(): readonly UpstreamAddress[] {
    const now = performance.now()
    const isShunned = (server: UpstreamAddress) => (this.#shunnedUntil.get(nameOf(server)) ?? 0) > now
    return [...this.#servers.filter((each) => !isShunned(each)), ...this.#servers.filter(isShunned)]
  }

  async #askOne(ask: Ask): Promise<DnsMessage> {
    const end = performance.now() + ask.deadlineMs
    let message = await byUdp(ask, this.#query(ask))
    if (this.#isBaffledByEdns(ask.server, message)) message = await byUdp(ask, this.#query(ask))
    if ((message.flags & FLAG.TRUNCATED) === 0) return message
    // A slow TCP has a time of its own: the resolver is there.
    return byTcp({ ...ask, deadlineMs: Math.max(TRY_DEADLINE_MS, end - performance.now()) }, this.#query(ask))
  }

  #isBaffledByEdns(server: UpstreamAddress, { rcode, edns }: DnsMessage): boolean {
    const name = nameOf(server)
    if (this.#plain.has(name) || edns !== null || (rcode !== RCODE.FORMERR && rcode !== RCODE.NOTIMP)) return false
    this.#plain.add(name)
    return true
  }

  #query({ question, server }: Ask): Buffer {
    const edns = this.#plain.has(nameOf(server)) ? null : { udpBytes: UDP_BYTES, dnssecOk: false }
    return this.#writer.write({ id: randomInt(0x10000), flags: FLAG.RECURSION_DESIRED, rcode: 0, question, edns })
  }
}

function nameOf({ host, port }: UpstreamAddress): string {
  return net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

/** What is not the answer to this question is passed over: it may be anybody's. */
function byUdp({ question, server, deadlineMs }: Ask, query: Buffer): Promise<DnsMessage> {
  const socket = createSocket(net.isIPv6(server.host) ? 'udp6' : 'udp4')
  return new Promise<DnsMessage>((resolve, reject) => {
    const timer = setTimeout(() => reject(silent(server, deadlineMs)), deadlineMs)
    const settle = (done: () => void) => {
      clearTimeout(timer)
      done()
    }
    socket.on('error', (error) => settle(() => reject(error)))
    socket.on('message', (bytes) => {
      const message = replyTo(query, question, bytes)
      if (message !== null) settle(() => resolve(message))
    })
    // Connected: the kernel takes nothing from anybody else, and tells of a port that nobody listens on.
    socket.connect(server.port, server.host, () => {
      socket.send(query, (error) => {
        if (error !== null) settle(() => reject(error))
      })
    })
  }).finally(() => socket.close())
}

function byTcp({ question, server, deadlineMs }: Ask, query: Buffer): Promise<DnsMessage> {
  const socket = net.connect({ host: server.host, port: server.port })
  return new Promise<DnsMessage>((resolve, reject) => {
    socket.setTimeout(deadlineMs)
    const timer = setTimeout(() => reject(silent(server, deadlineMs)), deadlineMs)
    const frames = new TcpFrames((bytes) => {
      const message = replyTo(query, question, bytes)
      clearTimeout(timer)
      if (message === null) reject(new SluiceError('PROTOCOL', `${nameOf(server)} answered another question`))
      else resolve(message)
    })
    socket.on('error', reject)
    socket.on('data', (chunk) => frames.push(chunk))
    socket.on('close', () => reject(new SluiceError('IO', `${nameOf(server)} closed the connection`)))
    socket.end(tcpFrame(query))
    socket.once('close', () => clearTimeout(timer))
  }).finally(() => socket.destroy())
}

/** Null: it is not, or can't be read. */
function replyTo(query: Buffer, question: DnsQuestion, bytes: Buffer): DnsMessage | null {
  if (bytes.length < 2 || bytes.readUInt16BE(0) !== query.readUInt16BE(0)) return null
  try {
    const message = readMessage(bytes)
    const asked = message.question
    const same = asked.name.text === question.name.text && asked.type === question.type
    return same && asked.class === question.class && (message.flags & FLAG.RESPONSE) !== 0 ? message : null
  } catch {
    return null
  }
}

function silent(server: UpstreamAddress, deadlineMs: number): SluiceError {
  return new SluiceError('IO', `${nameOf(server)} did not answer within ${Math.round(deadlineMs)} ms`)
}

/** For people: what a resolver's failure was. */
export function failureOf(resolver: string, rcode: number): string {
  return `the resolver ${resolver} answered ${rcodeName(rcode)}`
}
