/** Syslog over TLS, TCP and UDP to receivers that read it as the RFCs say, and break off as receivers do. */
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sinkSecrets } from '../../../src/sinks/secrets.js'
import { SyslogStream } from '../../../src/sinks/syslog-transport.js'
import { type Authority, makeAuthority } from '../../support/certificates.js'
import { until } from '../../support/sluice-process.js'
import { awkward, many, SinkRig } from './sink-rig.js'

/** Reads octet counted messages (RFC 5425 §4.3); throws for what is none. */
class Frames {
  private bytes = Buffer.alloc(0)

  take(chunk: Buffer): string[] {
    this.bytes = Buffer.concat([this.bytes, chunk])
    const messages: string[] = []
    for (;;) {
      const space = this.bytes.indexOf(' ')
      if (space === -1) return messages
      const length = Number(this.bytes.toString('latin1', 0, space))
      if (!Number.isInteger(length)) throw new Error('no frame')
      if (this.bytes.length < space + 1 + length) return messages
      messages.push(this.bytes.toString('utf8', space + 1, space + 1 + length))
      this.bytes = this.bytes.subarray(space + 1 + length)
    }
  }
}

describe('a syslog sink', () => {
  let rig: SinkRig
  const servers: Server[] = []
  const sockets = new Set<Socket>()
  const got: string[] = []
  const bodies = () => got.map((message) => JSON.parse(message.slice(message.indexOf('] {') + 2)))
  beforeEach(() => {
    rig = new SinkRig()
    got.length = 0
  })
  afterEach(async () => {
    await rig.remove()
    for (const socket of sockets) socket.destroy()
    for (const server of servers.splice(0)) server.close()
  })

  function take(socket: Socket, more: (messages: string[]) => void = () => {}): void {
    const frames = new Frames()
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      const messages = frames.take(chunk)
      got.push(...messages)
      more(messages)
    })
  }
  async function listen(server: Server, port = 0): Promise<number> {
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    return (server.address() as AddressInfo).port
  }
  const files = (authority: Authority, name: string) => {
    const { cert, key } = authority.sign(name, { san: 'DNS:localhost,IP:127.0.0.1' })
    return { cert: readFileSync(cert), key: readFileSync(key) }
  }

  it('sends all of it over TLS, to a receiver that it knows and that knows it', async () => {
    const authority = makeAuthority(rig.place('certs'))
    const own = authority.sign('own', { usage: 'clientAuth' })
    const ca = readFileSync(authority.ca)
    const mutual = { ca, requestCert: true, rejectUnauthorized: true }
    const port = await listen(createTlsServer({ ...files(authority, 'logs'), ...mutual }, (socket) => take(socket)))
    const events = [...awkward(), ...many(500, 100)]
    rig.write(events)
    rig.start({ type: 'syslog', transport: 'tls', address: `127.0.0.1:${port}`, tls: own })
    await until('all have arrived', () => got.length === events.length)
    expect(bodies().map(({ uid }) => uid)).toEqual(events.map(({ uid }) => uid))
    expect(bodies()[0].exec.interpreter).toBe('line\nbreak\r\n"quoted" \\\\ ]')
    expect(bodies()[4].process.args[0]).toHaveLength(65_536)
  })

  it('sends nothing over TLS to one that it does not know, or whose certificate has expired', async () => {
    const authority = makeAuthority(rig.place('certs'))
    const { cert, key } = authority.sign('old', { san: 'IP:127.0.0.1', days: -1 })
    const expired = { cert: readFileSync(cert), key: readFileSync(key) }
    const first = createTlsServer(expired, (socket) => take(socket))
    const port = await listen(first)
    rig.write(many(3))
    const sink = rig.start({
      type: 'syslog',
      transport: 'tls',
      address: `127.0.0.1:${port}`,
      tls: { ca: authority.ca },
    })
    await until('it was refused', () => sink.counts.failures > 1)
    expect(sink.counts.lastError).toMatch(/expired/)
    await new Promise((resolve) => first.close(resolve))
    await listen(
      createTlsServer(files(authority, 'new'), (socket) => take(socket)),
      port,
    )
    await until('all have arrived', () => got.length === 3)
  })

  it('loses nothing over TCP when the receiver breaks off', async () => {
    let left = 3
    const onSocket = (socket: Socket) => {
      let mine = 0
      take(socket, (messages) => {
        mine += messages.length
        if (mine > 100 && left-- > 0) socket.resetAndDestroy()
      })
    }
    const port = await listen(createServer(onSocket))
    const events = many(2_000)
    rig.write(events)
    const settings = { type: 'syslog', transport: 'tcp', address: `127.0.0.1:${port}`, batch: { events: 50 } } as const
    // However slow this machine is.
    rig.start(settings, new SyslogStream(settings, sinkSecrets(settings), 3_600_000))
    const found = () => new Set(bodies().map(({ uid }) => uid)).size
    await until('all have arrived', () => found() === events.length)
  })

  it('sends each event as a datagram, and puts aside what is longer than one', async () => {
    const receiver = createSocket('udp4')
    receiver.on('message', (message) => void got.push(message.toString('utf8')))
    await new Promise<void>((resolve) => receiver.bind(0, '127.0.0.1', resolve))
    try {
      const events = awkward()
      rig.write(events)
      const sink = rig.start({ type: 'syslog', transport: 'udp', address: `127.0.0.1:${receiver.address().port}` })
      await until('the short ones have arrived', () => got.length === events.length - 1 && sink.counts.dead === 1)
      expect(bodies().map(({ uid }) => uid)).toEqual(events.slice(0, -1).map(({ uid }) => uid))
    } finally {
      receiver.close()
    }
  })
})
