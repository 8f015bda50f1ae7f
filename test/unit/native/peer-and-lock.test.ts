import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, rmSync, statSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadAddon } from '../../../src/native/addon.js'

const addon = loadAddon()
const ADDON = fileURLToPath(new URL('../../../build/Release/sluice.node', import.meta.url))
const EBADF = 9
const ENOTSOCK = 88
const CLOCK_SLACK_NS = 50_000_000n

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-native-'))
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

function fdOf(socket: net.Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd
}

describe('the peer of a unix socket', () => {
  it('is the process that connected', async () => {
    const server = net.createServer().listen(join(directory, 's'))
    await once(server, 'listening')
    const client = net.connect(join(directory, 's'))
    const [accepted] = (await once(server, 'connection')) as [net.Socket]
    const { alive, groups, ...ids } = addon.peer(fdOf(accepted))
    expect(ids).toEqual({ pid: process.pid, uid: process.geteuid?.(), gid: process.getegid?.() })
    // getgroups(2) may leave the effective group out; Node puts it in.
    expect(new Set([...groups, ids.gid])).toEqual(new Set(process.getgroups?.()))
    expect(alive).not.toBe(false)
    client.destroy()
    accepted.destroy()
    server.close()
  })

  it('that is gone is told from one that lives, and its groups stay known', async () => {
    const server = net.createServer().listen(join(directory, 's'))
    await once(server, 'listening')
    // Connects, passes its socket on to a child that outlives it, and ends.
    const script = `import os, socket, sys, time
s = socket.socket(socket.AF_UNIX)
if os.geteuid() == 0: os.setgroups([4711, 4712])
s.connect(sys.argv[1])
if os.fork() == 0:
  time.sleep(20)`
    const connector = spawn('python3', ['-c', script, join(directory, 's')], { stdio: 'ignore' })
    const [accepted] = (await once(server, 'connection')) as [net.Socket]
    if (connector.exitCode === null) await once(connector, 'exit')
    const peer = addon.peer(fdOf(accepted))
    expect(peer.pid).toBe(connector.pid)
    expect([false, null]).toContain(peer.alive)
    if (process.geteuid?.() === 0) expect(peer.groups).toEqual([4711, 4712])
    accepted.destroy()
    server.close()
  })

  it('is refused for what is no unix socket', async () => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
    const [accepted] = (await once(server, 'connection')) as [net.Socket]
    expect(() => addon.peer(fdOf(accepted))).toThrowError(
      expect.objectContaining({ code: 'EINVAL_ARGUMENT', argument: 'fd' }),
    )
    client.destroy()
    accepted.destroy()
    server.close()
    const file = openSync('/dev/null', 'r')
    expect(() => addon.peer(file)).toThrowError(expect.objectContaining({ code: 'ESYSCALL', errno: ENOTSOCK }))
    expect(() => addon.peer(100_000)).toThrowError(expect.objectContaining({ code: 'ESYSCALL', errno: EBADF }))
  })
})

describe('a datagram', () => {
  const receive = (name: string) => `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(${name})
sys.stdout.write('bound'); sys.stdout.flush()
sys.stdout.write(s.recv(100).decode()); sys.stdout.flush()`

  it.each(['path', 'abstract'])('arrives at a unix socket: %s', async (kind) => {
    const name = `${directory}/n`
    const python = kind === 'path' ? JSON.stringify(name) : `'\\0' + ${JSON.stringify(name)}`
    const receiver = spawn('python3', ['-c', receive(python)], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(receiver.stdout, 'data')
    addon.sendDatagram(kind === 'path' ? name : `@${name}`, 'READY=1')
    expect(String((await once(receiver.stdout, 'data'))[0])).toBe('READY=1')
  })

  it('is refused where nobody listens, and for what is no address', () => {
    expect(() => addon.sendDatagram(join(directory, 'none'), 'x')).toThrowError(
      expect.objectContaining({ code: 'ESYSCALL', errno: 2 }),
    )
    for (const path of ['relative', `/${'x'.repeat(200)}`]) {
      expect(() => addon.sendDatagram(path, 'x')).toThrowError(expect.objectContaining({ code: 'EINVAL_ARGUMENT' }))
    }
  })
})

describe('a locked file', () => {
  it('is locked once, for this process and for others, until it is released', () => {
    const path = join(directory, 'lock')
    const other = () =>
      spawnSync(
        process.execPath,
        ['-p', `require(${JSON.stringify(ADDON)}).lockFile(${JSON.stringify(path)}) !== null`],
        {
          encoding: 'utf8',
        },
      ).stdout.trim()
    const lock = addon.lockFile(path)
    expect(lock).not.toBeNull()
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(addon.lockFile(path)).toBeNull()
    expect(other()).toBe('false')
    lock?.release()
    lock?.release()
    expect(other()).toBe('true')
    const again = addon.lockFile(path)
    expect(again).not.toBeNull()
    again?.release()
  })

  it('is not given away by a garbage collection', () => {
    const path = join(directory, 'lock')
    const script = `
      const addon = require(${JSON.stringify(ADDON)})
      addon.lockFile(${JSON.stringify(path)})
      gc()
      setImmediate(() => { gc(); console.log(addon.lockFile(${JSON.stringify(path)})) })`
    const { stdout } = spawnSync(process.execPath, ['--expose-gc', '-e', script], { encoding: 'utf8' })
    expect(stdout).toBe('null\n')
  })
})

describe('the clocks', () => {
  it('agree with the kernel’s uptime and with Node’s clock', () => {
    const nodes = () => BigInt(Date.now()) * 1_000_000n
    const before = nodes()
    const unix = addon.bootTimeNs() + addon.bootToUnixNs()
    // However long this process waited for its turn in between.
    expect(unix).toBeGreaterThan(before - CLOCK_SLACK_NS)
    expect(unix).toBeLessThan(nodes() + CLOCK_SLACK_NS)
  })

  it('give the same offset again', () => {
    const [first, second] = [addon.bootToUnixNs(), addon.bootToUnixNs()]
    const difference = first > second ? first - second : second - first
    expect(difference).toBeLessThan(1_000_000n)
  })
})
