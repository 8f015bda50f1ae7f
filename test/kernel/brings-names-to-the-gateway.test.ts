/**
 * Whatever resolver a sandbox asks on port 53, the gateway answers, and the clients believe that it was the one they asked. Real clients,
 * a real recursive resolver, the real hooks, at a cgroup of the test's own. Nothing is sent beyond loopback.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type GatewayDns, openGatewayDns } from '../support/gateway-dns.js'
import { hostPolicy } from '../support/gateway-policy.js'
import { NamesSandbox } from '../support/names-sandbox.js'
import { privileged } from '../support/privileged.js'
import { startUnbound, type Unbound } from '../support/unbound.js'

const { skip, reason } = privileged('bpf')

/** Prints what a socket of Python is told, or the error's name. */
function python(body: string): string[] {
  const lines = ['import socket, struct, errno, sys', QUERY, 'try:', ...body.split('\n').map((line) => `  ${line}`)]
  return ['python3', '-c', [...lines, 'except OSError as e: print(errno.errorcode.get(e.errno, e))'].join('\n')]
}

const QUERY = [
  'def query(name):',
  '  return b"\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0" + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\\0\\0\\1\\0\\1"',
].join('\n')

describe.skipIf(skip)(`a sandbox that asks for names ${reason}`, () => {
  let unbound: Unbound
  let gateway: GatewayDns
  let box: NamesSandbox

  beforeAll(async () => {
    unbound = await startUnbound({
      'example.net':
        'api A 93.184.216.34\napi AAAA 2606:2800:220:1::1\nother A 93.184.216.35\nhere A 127.0.0.1\n' +
        Array.from({ length: 60 }, (_, index) => `many A 93.184.217.${index}`).join('\n'),
    })
    const allowPrivate = [{ prefix: Buffer.from('00000000000000000000ffff7f000001', 'hex'), prefixLength: 128 }]
    const policy = hostPolicy({
      allow: ['api.example.net', 'here.example.net', 'many.example.net'],
      more: { 1: { allowPrivate } },
    })
    gateway = await openGatewayDns({ policy, upstreamPorts: [unbound.port] })
    box = new NamesSandbox()
  })

  afterAll(async () => {
    await box?.close()
    gateway?.close()
    await unbound?.stop()
  })

  const redirect = () => {
    box.redirects.set(box.sandbox, { port4: gateway.port, port6: gateway.port6, observes: false })
  }
  const run = (...command: string[]) => {
    redirect()
    return box.run(command)
  }
  const printed = async (body: string, options: { stranger?: boolean } = {}) => {
    redirect()
    return (await box.run(python(body), options)).stdout.trim()
  }

  it.each([
    ['by UDP', []],
    ['by TCP', ['+tcp']],
  ])('is answered by dig, whichever server it names, %s', async (_, options) => {
    for (const server of ['8.8.8.8', '192.0.2.1', '2001:4860:4860::8888', '127.0.0.1']) {
      const { stdout } = await run('dig', ...options, '+tries=1', '+time=3', `@${server}`, 'api.example.net')
      expect(stdout).toContain('93.184.216.34')
      expect(stdout).toContain(`SERVER: ${server}#53`)
    }
  })

  it('is refused by every one of them what no rule names', async () => {
    const { stdout } = await run('dig', '+tries=1', '@9.9.9.9', 'other.example.net')
    expect(stdout).toContain('status: REFUSED')
    expect(stdout).toContain('SERVER: 9.9.9.9#53')
  })

  it.each([
    ['the C library', ['getent', 'ahostsv4', 'api.example.net'], '93.184.216.34'],
    ['the C library, IPv6', ['getent', 'ahostsv6', 'api.example.net'], '2606:2800:220:1::1'],
    ['busybox', ['busybox', 'nslookup', 'api.example.net', '8.8.4.4'], '93.184.216.34'],
    ['Python', ['python3', '-c', 'import socket; print(socket.getaddrinfo("api.example.net", 443))'], '93.184.216.34'],
    [
      'c-ares',
      ['node', '-e', 'require("dns").resolve4("api.example.net", (e, a) => console.log(e ?? a))'],
      '93.184.216.34',
    ],
    [
      'Node',
      ['node', '-e', 'require("dns").lookup("api.example.net", { family: 4 }, (e, a) => console.log(e ?? a))'],
      '93.184.216.34',
    ],
    ['dig, cut off and whole by TCP', ['dig', '@8.8.8.8', '+noedns', 'many.example.net'], '93.184.217.59'],
  ])('is answered through %s', async (_, command, wanted) => {
    expect((await run(...command)).stdout).toContain(wanted)
  })

  it.each([
    ['curl', (port: number) => ['curl', '-sS', `http://here.example.net:${port}/`], 'hello'],
    ['git', (port: number) => ['git', 'ls-remote', `http://here.example.net:${port}/x.git`], 'not found'],
  ])('is brought by %s to the address that it was given', async (_, command, wanted) => {
    const server = createServer((request, response) => {
      if (request.url === '/') response.end('hello')
      else response.writeHead(404).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const { stdout, stderr } = await run(...command((server.address() as AddressInfo).port))
      expect(`${stdout}${stderr}`).toContain(wanted)
    } finally {
      server.close()
    }
  })

  it('is shown the address that it asked, by connected sockets and unconnected ones', async () => {
    const sendto = 's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)'
    const asked = `s.sendto(query("api.example.net"), ("192.0.2.7", 53)); print(s.recvfrom(2000)[1])`
    expect(await printed(`${sendto}\n${asked}`)).toBe("('192.0.2.7', 53)")
    const connected =
      's.connect(("192.0.2.8", 53)); print(s.getpeername()); s.send(query("api.example.net")); print(s.recvfrom(2000)[1])'
    expect(await printed(`${sendto}\n${connected}`)).toBe("('192.0.2.8', 53)\n('192.0.2.8', 53)")
    const tcp = 's = socket.create_connection(("192.0.2.9", 53)); print(s.getpeername())'
    expect(await printed(tcp)).toBe("('192.0.2.9', 53)")
  })

  it('is shown it for IPv6, and for IPv4 in IPv6', async () => {
    const socket6 = 's = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(3)'
    const ask = (address: string) =>
      `s.sendto(query("api.example.net"), ("${address}", 53)); print(s.recvfrom(2000)[1][:2])`
    expect(await printed(`${socket6}\n${ask('2001:db8::53')}`)).toBe("('2001:db8::53', 53)")
    expect(await printed(`${socket6}\n${ask('::ffff:192.0.2.10')}`)).toBe("('::ffff:192.0.2.10', 53)")
    const peer =
      's.connect(("::ffff:192.0.2.11", 53)); print(s.getpeername()[:2]); s.send(query("api.example.net")); print(len(s.recv(2000)) > 30)'
    expect(await printed(`${socket6}\n${peer}`)).toBe("('::ffff:192.0.2.11', 53)\nTrue")
  })

  it('does not reach the gateway by itself, by any way', async () => {
    const other = gateway.port
    const ways = [
      `socket.create_connection(("127.0.0.1", ${other})); print("in")`,
      `socket.create_connection(("::1", ${gateway.port6})); print("in")`,
      `socket.create_connection(("0.0.0.0", ${other})); print("in")`,
      `socket.create_connection(("::ffff:127.0.0.1", ${other})); print("in")`,
      `s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", ${other})); print("in")`,
      `s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(query("api.example.net"), ("127.0.0.1", ${other})); print("in")`,
      `s = socket.socket(); s.sendto(b"x", 0x20000000, ("127.0.0.1", ${other})); print("in")`,
    ]
    for (const way of ways) expect(await printed(way), way).toBe('EPERM')
  })

  it('that another sandbox’s port belongs to does not get there either', async () => {
    const second = await openGatewayDns({
      policy: hostPolicy({ allow: ['other.example.net'] }),
      upstreamPorts: [unbound.port],
    })
    try {
      box.redirects.set(box.sandbox + 1n, { port4: second.port, port6: second.port6, observes: false })
      expect(await printed(`socket.create_connection(("127.0.0.1", ${second.port})); print("in")`)).toBe('EPERM')
    } finally {
      box.redirects.remove(box.sandbox + 1n)
      second.close()
    }
  })

  it('is refused at once while the gateway is silent, and goes on when it is back', async () => {
    redirect()
    const way =
      's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(query("api.example.net"), ("8.8.8.8", 53)); print("sent")'
    expect((await box.run(python(way))).stdout.trim()).toBe('sent')
    box.silence(true)
    await sleep(2_200)
    expect((await box.run(python(way))).stdout.trim()).toBe('EPERM')
    box.silence(false)
    expect((await box.run(python(way))).stdout.trim()).toBe('sent')
  })

  it('is refused IPv6 where the gateway has none', async () => {
    box.redirects.set(box.sandbox, { port4: gateway.port, port6: 0, observes: false })
    const way =
      's = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.sendto(query("a.net"), ("2001:db8::1", 53)); print("sent")'
    expect((await box.run(python(way))).stdout.trim()).toBe('EPERM')
  })

  it('is not sent to a port that a sandbox has taken meanwhile', async () => {
    const probe = createSocket('udp4').bind(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address()
    probe.close()
    box.policed(true)
    try {
      box.redirects.set(box.sandbox, { port4: port, port6: port, observes: false })
      const send =
        's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"x", ("8.8.8.8", 53)); print("sent")'
      const take = `t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); t.bind(("127.0.0.1", ${port}))`
      expect((await box.run(python(send))).stdout.trim()).toBe('sent')
      expect((await box.run(python(`${take}\n${send}`))).stdout.trim()).toBe('EPERM')
    } finally {
      box.policed(false)
    }
  })

  it('leaves strangers alone: they are sent nowhere else and told the truth', async () => {
    const way = [
      't = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); t.bind(("127.0.0.1", 0))',
      's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0))',
      's.sendto(b"x", t.getsockname()); print(t.recvfrom(9)[1] == s.getsockname())',
      `c = socket.create_connection(("127.0.0.1", ${gateway.port})); print(c.getpeername()[1] == ${gateway.port})`,
    ].join('\n')
    expect(await printed(way, { stranger: true })).toBe('True\nTrue')
  })

  it('whose redirect is taken back goes its own ways again', async () => {
    redirect()
    box.redirects.remove(box.sandbox)
    const way = `s = socket.create_connection(("127.0.0.1", ${gateway.port})); print(s.getpeername()[1] == ${gateway.port})`
    expect((await box.run(python(way))).stdout.trim()).toBe('True')
    expect(box.core.object.keys('sl_gateway_ports')).toEqual([])
  })
})
