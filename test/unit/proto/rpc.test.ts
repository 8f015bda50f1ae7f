import { mkdtempSync, rmSync, statSync } from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SluiceError } from '../../../src/base/error.js'
import { createLog } from '../../../src/base/log.js'
import { ConnectRequest, encodeBuffer, fromBigInt, toBigInt } from '../../../src/proto/codec.js'
import {
  type ControlHandler,
  connectControl,
  connectUplink,
  MESSAGE_BYTES_MAX,
  type PeerCheck,
  type RunServerCall,
  serveUnix,
  type UplinkHandler,
  type UplinkServerCall,
} from '../../../src/proto/rpc.js'
import type { RunMessage } from '../../../src/proto/run-response.js'
import { onlyRuns, SELF } from '../../support/control-handler.js'
import { deferred } from '../../support/deferred.js'

const DEADLINE_MS = 15_000
const log = createLog({ role: 'test', level: 'silent' })
const letIn: PeerCheck = () => ({ allowed: true, caller: SELF })

let directory: string
let path: string
let cleanups: (() => unknown)[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-rpc-'))
  path = join(directory, 'test.sock')
  cleanups = [() => rmSync(directory, { recursive: true, force: true })]
})

afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
})

async function serve(services: { uplink?: UplinkHandler; control?: ControlHandler }, check: PeerCheck = letIn) {
  const server = await serveUnix({ path, mode: 0o600, check, log, services })
  cleanups.push(() => server.close(0))
  return server
}

/** A server and a sensor's call, joined. */
async function uplinkPair() {
  const { promise, resolve } = deferred<UplinkServerCall>()
  const server = await serve({ uplink: resolve })
  const client = await connectUplink(path, DEADLINE_MS)
  cleanups.push(() => client.end())
  client.send(encodeBuffer(ConnectRequest, { hello: { abiVersion: 1 } }))
  return { server, client, call: await promise }
}

async function runPair() {
  const { promise, resolve } = deferred<RunServerCall>()
  const server = await serve({ control: onlyRuns(resolve) })
  const client = await connectControl(path, DEADLINE_MS)
  cleanups.push(() => client.close())
  const run = client.run()
  run.send({ start: { name: 'build' } })
  return { server, client, run, call: await promise }
}

/** A socket beside the server's whose connections can be cut, as a peer's death does. */
async function proxyTo(target: string, proxyPath: string): Promise<{ path: string; cut(): void }> {
  const sockets: net.Socket[] = []
  const proxy = net.createServer((near) => {
    const far = net.connect(target)
    for (const socket of [near, far]) socket.on('error', () => {})
    near.pipe(far).pipe(near)
    sockets.push(near, far)
  })
  await new Promise<void>((resolve) => proxy.listen(proxyPath, resolve))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  cleanups.push(cut, () => proxy.close())
  return { path: proxyPath, cut }
}

async function until(condition: () => boolean, deadlineMs = DEADLINE_MS): Promise<void> {
  const start = performance.now()
  while (!condition()) {
    if (performance.now() - start > deadlineMs) throw new Error(`not so after ${deadlineMs} ms: ${condition}`)
    await sleep(5)
  }
}

/** Sends until `send` says stop. Returns how many were taken. */
async function sendUntilFull(send: () => boolean, max: number): Promise<number> {
  let taken = 0
  for (let rejectedTurns = 0; rejectedTurns < 5; ) {
    if (taken >= max) return taken
    taken += 1
    if (send()) rejectedTurns = 0
    else {
      rejectedTurns += 1
      await sleep(20)
    }
    if (taken % 8 === 0) await sleep(0)
  }
  return taken
}

describe('uplink', () => {
  it('carries raw request bytes unchanged and typed responses back', async () => {
    const { client, call } = await uplinkPair()
    const raws: Buffer[] = []
    call.onMessage((raw) => raws.push(raw))
    const odd = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7) & 0xff))
    client.send(odd)
    client.send(Buffer.alloc(0))
    await until(() => raws.length === 3)
    expect(raws[1]?.equals(odd)).toBe(true)
    expect(raws[2]?.length).toBe(0)

    const acked: bigint[] = []
    client.onMessage((message) => acked.push(toBigInt(message.ack?.batchSeq)))
    call.send({ ack: { batchSeq: fromBigInt(2n ** 64n - 1n) } })
    await until(() => acked.length === 1)
    expect(acked).toEqual([2n ** 64n - 1n])
  })

  it('makes send return false while the server is paused, loses nothing, and drains after resume', async () => {
    const { client, call } = await uplinkPair()
    let received = 0
    call.onMessage(() => {
      received += 1
    })
    await until(() => received === 1)
    call.pause()
    let drained = 0
    client.onDrain(() => {
      drained += 1
    })
    const request = Buffer.alloc(64 * 1024, 1)
    let sent = 0
    await until(() => {
      sent += 1
      return !client.send(request) && sent > 20
    })
    expect(sent).toBeLessThan(200)
    await sleep(50)
    expect(received).toBeLessThan(10)
    call.resume()
    await until(() => received === sent + 1)
    await until(() => drained > 0)
  })

  it('tells the server that the client ended, and the client that all is in order', async () => {
    const { client, call } = await uplinkPair()
    const serverEnd = deferred<Error | null>()
    const clientEnd = deferred<Error | null>()
    let received = 0
    call.onMessage(() => {
      received += 1
    })
    call.onEnd(serverEnd.resolve)
    client.onEnd(clientEnd.resolve)
    for (let index = 0; index < 10; index += 1) client.send(Buffer.from([index]))
    client.end()
    expect(await serverEnd.promise).toBeNull()
    expect(received).toBe(11)
    expect(await clientEnd.promise).toBeNull()
    expect(client.send(Buffer.from([1]))).toBe(true)
  })

  it('tells the client that the engine is gone', async () => {
    const { server, client } = await uplinkPair()
    const ended = deferred<Error | null>()
    client.onEnd(ended.resolve)
    await server.close(0)
    const error = await ended.promise
    expect(error).toBeInstanceOf(SluiceError)
    expect(error?.message).toMatch(/connection to the engine is lost/)
  })

  it('tells a paused server that the sensor is gone', async () => {
    const { client, call } = await uplinkPair()
    const ended = deferred<Error | null>()
    call.onMessage(() => {})
    call.onEnd(ended.resolve)
    call.pause()
    await sendUntilFull(() => client.send(Buffer.alloc(64 * 1024)), 100)
    client.end() // nothing is read, so the half-close can't arrive: the call is cut at its deadline
    expect((await ended.promise)?.message).toBe('the sensor is gone')
  })

  it.each(['while it reads', 'while it is paused'])(
    'tells a sensor that died from one that ended, %s',
    async (when) => {
      const accepted = deferred<UplinkServerCall>()
      await serve({ uplink: accepted.resolve })
      const proxy = await proxyTo(path, join(directory, 'proxy.sock'))
      const client = await connectUplink(proxy.path, DEADLINE_MS)
      client.send(encodeBuffer(ConnectRequest, { hello: { abiVersion: 1 } }))
      const call = await accepted.promise
      const ended = deferred<Error | null>()
      call.onEnd(ended.resolve)
      const first = deferred<Buffer>()
      call.onMessage(first.resolve)
      await first.promise
      if (when === 'while it is paused') {
        call.pause()
        await sendUntilFull(() => client.send(Buffer.alloc(64 * 1024)), 100)
      }
      proxy.cut()
      expect((await ended.promise)?.message).toBe('the sensor is gone')
    },
  )

  it('refuses a message over the limit and says so', async () => {
    const { client, call } = await uplinkPair()
    const ended = deferred<Error | null>()
    call.onMessage(() => {})
    client.onEnd(ended.resolve)
    client.send(Buffer.alloc(MESSAGE_BYTES_MAX + 1))
    expect(await ended.promise).toMatchObject({ code: 'LIMIT' })
  })
})

describe('control', () => {
  it('carries a run both ways and ends when the engine ends it', async () => {
    const { run, call } = await runPair()
    const requests: unknown[] = []
    const ends: string[] = []
    call.onMessage((message) => requests.push(message.start?.name ?? message.end?.exitCode))
    call.onEnd((why) => ends.push(why))
    call.send({ started: { sessionId: 's1' } })
    run.send({ end: { exitCode: 7 } })
    await until(() => requests.length === 2)
    call.send({ ended: { problem: '' } })
    call.end()
    const got: RunMessage[] = []
    for await (const message of run.messages) got.push(message)
    expect(requests).toEqual(['build', 7])
    expect(got.map((message) => message.started?.sessionId ?? message.ended?.problem)).toEqual(['s1', ''])
    await until(() => ends.length > 0)
    expect(ends).toEqual(['ended'])
  })

  it('lets the client answer the last message, and ends behind that', async () => {
    const { run, call } = await runPair()
    const seen: unknown[] = []
    call.onMessage((message) => {
      if (!message.seen) return
      seen.push(toBigInt(message.seen.seq))
      call.end()
    })
    call.send({ ended: { problem: '' } })
    for await (const message of run.messages) {
      if (message.ended) run.send({ seen: { seq: fromBigInt(3n) } })
    }
    expect(seen).toEqual([3n])
  })

  it('gives what was sent before a failure, then throws its message', async () => {
    const { run, call } = await runPair()
    call.send({ started: { sessionId: 's1' } })
    call.send({ events: { events: [] } })
    call.fail('the sensor is gone: 100 % of \ud800 it')
    const got: RunMessage[] = []
    const reading = (async () => {
      for await (const message of run.messages) {
        got.push(message)
        await sleep(30)
      }
    })()
    await expect(reading).rejects.toMatchObject({ code: 'IO', message: 'the sensor is gone: 100 % of \ufffd it' })
    expect(got).toHaveLength(2)
  })

  it.each([
    ['cancels', (pair: Awaited<ReturnType<typeof runPair>>) => pair.run.cancel()],
    ['closes its connection', (pair: Awaited<ReturnType<typeof runPair>>) => pair.client.close()],
  ])('tells the engine when the client %s, and the client reads to a quiet end', async (_, leave) => {
    const pair = await runPair()
    const ended = deferred<string>()
    pair.call.onEnd(ended.resolve)
    leave(pair)
    expect(await ended.promise).toBe('cancelled')
    expect(pair.call.send({})).toBe(true)
    const rest: RunMessage[] = []
    for await (const message of pair.run.messages) rest.push(message)
    expect(rest).toEqual([])
  })

  it('cancels a run whose reader stops reading', async () => {
    const { run, call } = await runPair()
    const ended = deferred<string>()
    call.onEnd(ended.resolve)
    call.send({ started: {} })
    for await (const _ of run.messages) break
    expect(await ended.promise).toBe('cancelled')
  })

  it('makes the engine wait for a client that does not read, and loses nothing', async () => {
    const { run, call } = await runPair()
    let drained = 0
    call.onDrain(() => {
      drained += 1
    })
    const sessionId = 'x'.repeat(64 * 1024)
    const sent = await sendUntilFull(() => call.send({ started: { sessionId } }), 500)
    expect(sent).toBeLessThan(200)
    let got = 0
    for await (const message of run.messages) {
      got += message.started ? 1 : 0
      if (got === sent) {
        expect(drained).toBeGreaterThan(0)
        call.end()
      }
    }
    expect(got).toBe(sent)
  })

  it('throws when the engine goes away in the middle', async () => {
    const { server, run, call } = await runPair()
    call.send({ started: {} })
    const iterator = run.messages[Symbol.asyncIterator]()
    await iterator.next()
    await server.close(0)
    await expect(iterator.next()).rejects.toMatchObject({ code: 'IO' })
  })

  it('ends the call, not the server, when a request is no message', async () => {
    const accepted = deferred<RunServerCall>()
    await serve({ control: onlyRuns(accepted.resolve) })
    const session = http2.connect('http://localhost', { createConnection: () => net.connect(path) })
    cleanups.push(() => session.close())
    const headers = { ':method': 'POST', ':path': '/sluice.v1.ControlService/Run', 'content-type': 'application/grpc' }
    const stream = session.request(headers, { endStream: false })
    const over = deferred<string>()
    const call = accepted.promise.then((given) => {
      given.onEnd(over.resolve)
      given.onMessage(() => {})
    })
    const answer = deferred<http2.IncomingHttpHeaders>()
    stream.on('response', answer.resolve)
    // Uncompressed, two bytes: a field that claims to be longer than the message.
    stream.write(Buffer.from([0, 0, 0, 0, 2, 0x0a, 0xff]))
    await call
    expect(await answer.promise).toMatchObject({
      'grpc-status': '13',
      'grpc-message': expect.stringMatching(/deserializing/),
    })
    await over.promise
    const client = await connectControl(path, DEADLINE_MS)
    cleanups.push(() => client.close())
  })

  it('is not there on a listener that serves the uplink only', async () => {
    await serve({ uplink: () => {} })
    const client = await connectControl(path, DEADLINE_MS)
    cleanups.push(() => client.close())
    const iterator = client.run().messages[Symbol.asyncIterator]()
    await expect(iterator.next()).rejects.toMatchObject({ code: 'PROTOCOL' })
  })
})

describe('who may connect', () => {
  it('never lets a refused peer reach a handler', async () => {
    let handled = 0
    let asked = 0
    const count = () => {
      handled += 1
    }
    await serve({ uplink: count, control: onlyRuns(count) }, () => {
      asked += 1
      return { allowed: false, reason: 'not one of ours' }
    })
    const error = await connectUplink(path, 1_500).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'IO', hint: expect.stringMatching(/refuses this process/) })
    expect(asked).toBeGreaterThan(0)
    expect(handled).toBe(0)
  })

  it('refuses when the check throws, and reads no byte before it', async () => {
    let bytesRead = -1
    await serve({ uplink: () => {} }, (socket) => {
      bytesRead = socket.bytesRead
      throw new Error('no peer')
    })
    const socket = net.connect(path)
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('close', resolve))
    expect(bytesRead).toBe(0)
  })

  it('makes the socket with the mode asked for, whatever the umask', async () => {
    const before = process.umask(0)
    try {
      await serve({ uplink: () => {} })
    } finally {
      process.umask(before)
    }
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('refuses to listen on a path in use or too long', async () => {
    await serve({})
    await expect(serve({})).rejects.toMatchObject({ code: 'IO', hint: expect.stringMatching(/remove the file/) })
    path = join(directory, 'x'.repeat(108))
    await expect(serve({})).rejects.toMatchObject({ code: 'LIMIT' })
    await expect(connectUplink(path, 100)).rejects.toMatchObject({ code: 'LIMIT' })
  })
})

describe('waiting', () => {
  it('waits for a socket that is made later', async () => {
    const connecting = connectUplink(path, DEADLINE_MS)
    await sleep(100)
    await serve({ uplink: (call) => call.onMessage(() => {}) })
    const call = await connecting
    cleanups.push(() => call.end())
  })

  it('says that no engine listens when none came by the deadline', async () => {
    await expect(connectUplink(path, 60)).rejects.toMatchObject({ code: 'IO', message: `no engine listens at ${path}` })
  })

  it('closes at the deadline though a run is still open, and removes the socket', async () => {
    const { server } = await runPair()
    const start = performance.now()
    await server.close(100)
    expect(performance.now() - start).toBeLessThan(4_000)
    expect(() => statSync(path)).toThrow()
  })

  it('closes at once when no call is open', async () => {
    const server = await serve({ uplink: () => {} })
    const start = performance.now()
    await server.close(5_000)
    expect(performance.now() - start).toBeLessThan(2_500)
  })
})
