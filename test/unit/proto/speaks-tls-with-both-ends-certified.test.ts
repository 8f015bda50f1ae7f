/**
 * The uplink over TLS on loopback, with certificates made by openssl: who is let in, who is not, and what each side is told of it. Every
 * connection here is a real one.
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ConnectRequest, encodeBuffer, fromBigInt } from '../../../src/proto/codec.js'
import {
  connectUplinkTls,
  loadTlsIdentity,
  type RefusedRemote,
  serveUplinkTls,
  type UplinkServerCall,
} from '../../../src/proto/rpc.js'
import { parseTcpAddress } from '../../../src/proto/tcp-address.js'
import { tlsFailure } from '../../../src/proto/tls-failure.js'
import { type Authority, type CertFiles, makeAuthority } from '../../support/certificates.js'

const DEADLINE_MS = 5_000
const SILENT_MS = 400

let dir: string
let authority: Authority
let other: Authority
let engine: CertFiles
let node: CertFiles
let cleanups: (() => unknown)[] = []

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-tls-'))
  authority = makeAuthority(dir)
  other = makeAuthority(dir, 'other')
  engine = authority.sign('engine', { san: 'DNS:engine.test,IP:127.0.0.1', usage: 'serverAuth' })
  node = authority.sign('node-a', { san: 'DNS:node-a', usage: 'clientAuth' })
})

afterAll(() => rmSync(dir, { recursive: true, force: true }))

afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
  cleanups = []
})

interface Served {
  readonly address: string
  readonly port: number
  readonly refused: RefusedRemote[]
  readonly calls: UplinkServerCall[]
}

async function serve(files: CertFiles = engine, nodes: string[] | null = null): Promise<Served> {
  const refused: RefusedRemote[] = []
  const calls: UplinkServerCall[] = []
  const server = await serveUplinkTls({
    ...{ address: '127.0.0.1:0', identity: loadTlsIdentity(files), nodes },
    onRefused: (remote) => refused.push(remote),
    uplink(call) {
      calls.push(call)
      call.onMessage(() => call.send({ ack: { batchSeq: fromBigInt(7n) } }))
    },
  })
  cleanups.push(() => server.close(0))
  return { address: `127.0.0.1:${server.address.port}`, port: server.address.port, refused, calls }
}

/** The first answer, or how the call ended. */
async function talk(address: string, files: CertFiles, serverName?: string): Promise<string> {
  const call = await connectUplinkTls({ address, serverName }, loadTlsIdentity(files), DEADLINE_MS)
  cleanups.push(() => call.end())
  return new Promise((resolve) => {
    call.onMessage((message) => resolve(`ack ${message.ack?.batchSeq}`))
    call.onEnd((error) => resolve(error?.message ?? 'ended'))
    call.send(encodeBuffer(ConnectRequest, { hello: { abiVersion: 1 } }))
  })
}

const failure = (promise: Promise<unknown>): Promise<Error & { hint?: string; code?: string }> =>
  promise.then(
    (value) => Promise.reject(new Error(`it came to ${String(value)}`)),
    (error) => error,
  )

const told = async (refused: RefusedRemote[]) => {
  await expect.poll(() => refused.length).toBeGreaterThan(0)
  return refused[0]?.reason
}

describe('a sensor with a certificate of the engine’s CA', () => {
  it('is served, by address and by name, and named by its certificate', async () => {
    const { address, calls, refused } = await serve()
    expect(await talk(address, node)).toBe('ack 7')
    expect(await talk(address, node, 'engine.test')).toBe('ack 7')
    const peer = calls[0]?.peer
    expect(peer?.names).toBe('DNS:node-a')
    expect(['node-a', 'NODE-A', 'node-b', '', '.node-a', 'a', '*'].map((name) => peer?.isNamed(name))).toEqual([
      ...[true, true, false, false, false, false, false],
    ])
    expect(refused).toEqual([])
  })

  it('has the common name where there is no DNS name, and not where there is one', async () => {
    const { address, calls } = await serve()
    await talk(address, authority.sign('plain', { cn: 'node-c' }))
    await talk(address, authority.sign('both', { cn: 'node-c', san: 'DNS:node-d' }))
    await talk(address, authority.sign('wild', { san: 'DNS:*.nodes' }))
    await talk(address, authority.sign('deep', { san: 'DNS:x.nodes' }))
    expect(calls.map(({ peer }) => peer?.isNamed('node-c'))).toEqual([true, false, false, false])
    expect(calls[2]?.peer?.isNamed('a.nodes')).toBe(false)
    expect(calls[3]?.peer?.isNamed('.nodes')).toBe(false)
  })

  it('is refused where the engine serves other nodes, and may not speak for one of those', async () => {
    const { address, refused, calls } = await serve(engine, ['node-b', 'node-x'])
    await failure(talk(address, node).then((text) => Promise.reject(new Error(text))))
    expect(await told(refused)).toBe('its certificate is for none of the nodes that this engine serves')
    expect(refused[0]?.names).toBe('DNS:node-a')
    const two = authority.sign('two', { san: 'DNS:node-a,DNS:node-b' })
    expect(await talk(address, two)).toBe('ack 7')
    expect(['node-a', 'node-b', 'node-x'].map((name) => calls[0]?.peer?.isNamed(name))).toEqual([false, true, false])
  })
})

describe('an engine', () => {
  it.each<[string, () => Parameters<Authority['sign']> | 'other' | 'self', RegExp]>([
    ['of another CA', () => 'other', /^its certificate is not from our CA \(/],
    ['that expired', () => ['old', { san: 'DNS:node-a', days: -1 }], /^its certificate has expired$/],
    [
      'that is for servers',
      () => ['server', { san: 'DNS:node-a', usage: 'serverAuth' }],
      /^its certificate is not for clients$/,
    ],
  ])('refuses a certificate %s, and says why', async (_, make, reason) => {
    const { port, refused, calls } = await serve()
    const how = make()
    const files = typeof how === 'string' ? other.sign('foreign', { san: 'DNS:node-a' }) : authority.sign(...how)
    await rawTls(port, files)
    expect(await told(refused)).toMatch(reason)
    expect(refused[0]?.names).toBeNull()
    expect(calls).toEqual([])
  })

  it('refuses who shows none, speaks plainly, speaks nonsense, or goes away', async () => {
    const { address, port, refused, calls } = await serve()
    await rawTls(port, null)
    expect(await told(refused)).toBe('it showed no certificate')
    const say = (text: string | Buffer) =>
      new Promise<void>((resolve) => {
        const socket = net.connect(port, '127.0.0.1', () => socket.write(text))
        socket.on('error', () => {})
        socket.on('close', () => resolve())
        socket.resume()
      })
    await say('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    await say('GET / HTTP/1.1\r\n\r\n')
    await say(Buffer.alloc(4_096, 0xff))
    const gone = net.connect(port, '127.0.0.1', () => gone.destroy())
    await expect.poll(() => refused.length).toBe(5)
    for (const { reason, address } of refused.slice(1, 4)) {
      expect(reason).toMatch(/^it does not speak TLS as we do \(ERR_SSL_/)
      expect(address).toBe('127.0.0.1')
    }
    expect(refused[4]?.reason).toMatch(/^it went away during the handshake/)
    expect(calls).toEqual([])
    expect(await talk(address, node)).toBe('ack 7')
  })

  it('takes no version of TLS before 1.2, and 1.3 by choice', async () => {
    const { port, refused } = await serve()
    expect(await rawTls(port, node)).toBe('TLSv1.3')
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
    expect(await rawTls(port, node, old)).toBeNull()
    expect(refused).toHaveLength(1)
  })

  it('resumes no session', async () => {
    const { port } = await serve()
    expect(await sessionsOf(port, node)).toEqual([false, false])
  })
})

describe('a sensor', () => {
  const failed = async (address: string, files: CertFiles, serverName?: string) => {
    const { message, hint } = await failure(talk(address, files, serverName))
    return [message, hint ?? ''] as const
  }

  it('says that the engine is another', async () => {
    const foreign = await serve(other.sign('foreign-engine', { san: 'IP:127.0.0.1' }))
    expect((await failed(foreign.address, node))[0]).toBe(
      `the certificate of what listens at ${foreign.address} is not from the CA in ${node.ca}`,
    )
    const misnamed = await serve(authority.sign('misnamed', { san: 'DNS:other.test' }))
    const [message, hint] = await failed(misnamed.address, node)
    expect(message).toMatch(/^what listens at 127\.0\.0\.1:\d+ has a certificate for another name: .*127\.0\.0\.1/)
    expect(hint).toContain('serverName')
    const old = authority.sign('old-engine', { san: 'IP:127.0.0.1', days: -1 })
    const server = tls.createServer({ cert: readFileSync(old.cert), key: readFileSync(old.key), ALPNProtocols: ['h2'] })
    server.on('tlsClientError', () => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => void server.close())
    const bound = server.address()
    const at = `127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}`
    expect((await failed(at, node))[0]).toBe(`the certificate of the engine at ${at} has expired`)
    const { address } = await serve()
    expect((await failed(address, node, 'elsewhere.test'))[0]).toContain('for another name: ')
    const client = await serve(authority.sign('no-server', { san: 'IP:127.0.0.1', usage: 'clientAuth' }))
    expect((await failed(client.address, node))[0]).toContain(client.address)
  })

  it('says that it is not taken', async () => {
    const { address } = await serve()
    const stranger = { ...other.sign('stranger', { san: 'DNS:node-a' }), ca: authority.ca }
    const outcome = await talk(address, stranger).catch((error: Error) => error.message)
    expect(outcome).toMatch(/closed the connection: it may not accept|the connection to the engine is lost/)
  })

  it('says that nobody is there, or somebody else, or nobody who answers', async () => {
    const closed = await listening(() => {})
    closed.server.close()
    expect(await failed(closed.address, node)).toEqual([
      `nothing listens at ${closed.address}`,
      'start the engine there, or correct the address',
    ])
    const plain = await listening((socket) => socket.write('220 mail\r\n'))
    expect((await failed(plain.address, node))[0]).toBe(`what listens at ${plain.address} does not speak TLS`)
    const silent = await listening(() => {})
    const { message } = await failure(connectUplinkTls({ address: silent.address }, loadTlsIdentity(node), SILENT_MS))
    expect(message).toBe(`the engine at ${silent.address} did not answer within ${SILENT_MS} ms`)
    const unknown = 'Name resolution failed for target dns:///engine.test:1'
    expect(tlsFailure('engine.test:1', unknown, node).message).toBe('the name of engine.test:1 is not known')
  })
})

describe('files', () => {
  const problem = (files: CertFiles) => {
    try {
      loadTlsIdentity(files)
    } catch (error) {
      return error as Error & { hint: string; code: string }
    }
    throw new Error('they were taken')
  }

  it('are refused by name and with a next step', () => {
    const text = join(dir, 'text.pem')
    writeFileSync(text, 'nothing of the kind\n')
    const missing = join(dir, 'missing.pem')
    expect(problem({ ...node, ca: missing }).message).toContain(`the CA certificate ${missing} can't be read: no such`)
    expect(problem({ ...node, cert: missing })).toMatchObject({ code: 'IO' })
    expect(problem({ ...node, cert: text }).message).toContain(`the certificate ${text} is none that can be used`)
    expect(problem({ ...node, cert: dir }).message).toBe(`the certificate ${dir} is not a regular file`)
    expect(problem({ ...node, key: engine.key }).message).toBe(
      `the key ${engine.key} is not the key of the certificate ${node.cert}`,
    )
    const old = authority.sign('expired', { days: -1 })
    expect(problem(old).message).toMatch(/expired\.pem expired on /)
  })

  it('are refused where others may read the key', () => {
    const files = authority.sign('open-key')
    for (const mode of [0o640, 0o604, 0o620, 0o644]) {
      chmodSync(files.key, mode)
      expect(problem(files)).toMatchObject({
        code: 'PRIVILEGE',
        message: `the key ${files.key} may be read by others than root`,
        hint: expect.stringContaining(`chmod 600 ${files.key}`),
      })
    }
    chmodSync(files.key, 0o400)
    expect(loadTlsIdentity(files).files).toEqual(files)
  })
})

describe('an address', () => {
  it.each([
    ['engine.example:7443', { host: 'engine.example', port: 7443 }],
    ['[::1]:1', { host: '::1', port: 1 }],
    ['127.0.0.1:65535', { host: '127.0.0.1', port: 65535 }],
  ])('%s is read', (text, parsed) => expect(parseTcpAddress(text)).toEqual(parsed))
  it.each(['', 'host', 'host:', ':1', 'a:65536', '::1:1', 'a b:1', 'http://a:1', 'a:1/', '[a]x:1', 'a:-1', 'a:1e3'])(
    '%j is none',
    (text) => expect(() => parseTcpAddress(text)).toThrow('is no address'),
  )
})

/** A connection without gRPC: its TLS version once the other end keeps it open, null where that refuses the handshake. */
function rawTls(port: number, files: CertFiles | null, options: tls.ConnectionOptions = {}): Promise<string | null> {
  return new Promise((resolve) => {
    const own = files === null ? {} : { cert: readFileSync(files.cert), key: readFileSync(files.key) }
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...own, ...options })
    let version: string | null = null
    socket.on('secureConnect', () => {
      version = socket.getProtocol()
      setTimeout(() => socket.destroy(), SILENT_MS)
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(version))
  })
}

/** Whether each of two connections that offer the first one's session went on with it. */
async function sessionsOf(port: number, files: CertFiles): Promise<boolean[]> {
  const { cert, key } = loadTlsIdentity(files)
  const reused: boolean[] = []
  let session: Buffer | undefined
  for (let n = 0; n < 2; n += 1) {
    await new Promise<void>((resolve) => {
      const offer = session === undefined ? {} : { session }
      const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, cert, key, ...offer })
      socket.on('session', (ticket) => {
        session = ticket
      })
      socket.on('error', () => {})
      socket.on('secureConnect', () => {
        reused.push(socket.isSessionReused())
        setTimeout(() => socket.destroy(), SILENT_MS)
      })
      socket.on('close', () => resolve())
    })
  }
  return reused
}

async function listening(accept: (socket: net.Socket) => void): Promise<{ server: net.Server; address: string }> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    cleanups.push(() => socket.destroy())
    accept(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => void server.close())
  const bound = server.address()
  return { server, address: `127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}` }
}
