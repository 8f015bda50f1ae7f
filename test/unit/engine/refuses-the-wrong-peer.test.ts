import net from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { onlyChildrenOf, onlyFirst, onlySupervisor, type PeerFacts, peerCheck } from '../../../src/engine/peer-check.js'
import {
  REFUSALS_LOGGED_MAX,
  REFUSALS_WINDOW_MS,
  RefusalLog,
  type RefusedPeer,
} from '../../../src/engine/refusal-log.js'

describe('peer check', () => {
  const server = net.createServer()
  let socket: net.Socket
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    socket = net.connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
  })
  afterAll(() => {
    socket.destroy()
    server.close()
  })
  const peer =
    (uid: number, pid = 50, more: Partial<PeerFacts> = {}) =>
    (): PeerFacts => ({ uid, pid, gid: uid, groups: [], alive: true, ...more })
  const letIn = (uid: number, pid = 50) => ({ allowed: true, caller: { uid, pid, gid: uid, groups: [] } })
  const refused: RefusedPeer[] = []
  const rules = {
    uids: [0],
    sandboxOf: (pid: number) => (pid === 66 ? '/sluice/a/b' : null),
    onRefused: (one: RefusedPeer) => void refused.push(one),
  }
  beforeEach(() => void refused.splice(0))

  it('lets the listed users in, and no others', () => {
    expect(peerCheck({ ...rules, peer: peer(0) })(socket)).toEqual(letIn(0))
    expect(refused).toEqual([])
    const reason = 'process 50 runs as user 1000'
    expect(peerCheck({ ...rules, peer: peer(1000) })(socket)).toEqual({ allowed: false, reason })
    expect(refused).toEqual([{ pid: 50, uid: 1000, sandbox: null, reason }])
    expect(peerCheck({ ...rules, peer: peer(1000), uids: [0, 1000] })(socket).allowed).toBe(true)
    expect(peerCheck({ ...rules, peer: peer(1), uids: [] })(socket).allowed).toBe(false)
  })

  it('refuses a caller in a sandbox, whatever its user, and says which', () => {
    for (const uid of [0, 1000]) {
      const reason = `process 66 of user ${uid} is in the sandbox /sluice/a/b`
      expect(peerCheck({ ...rules, peer: peer(uid, 66) })(socket)).toEqual({ allowed: false, reason })
      expect(refused.pop()).toEqual({ pid: 66, uid, sandbox: '/sluice/a/b', reason })
    }
  })

  it.each<[string, () => PeerFacts]>([
    [
      'the kernel does not tell',
      () => {
        throw new Error('ENOTCONN')
      },
    ],
    ['its pid is of another pid namespace', peer(0, 0)],
    ['it is gone, and somebody else has its socket', peer(0, 50, { alive: false })],
  ])('refuses when %s', (_, facts) => {
    expect(peerCheck({ ...rules, peer: facts })(socket).allowed).toBe(false)
    expect(refused).toHaveLength(1)
  })

  it('lets the one that started the engine give orders, and no other process of its user', () => {
    const admit = onlySupervisor(50)
    expect(peerCheck({ ...rules, admit, peer: peer(0, 50) })(socket)).toEqual(letIn(0))
    expect(peerCheck({ ...rules, admit, peer: peer(0, 51) })(socket).allowed).toBe(false)
    expect(peerCheck({ ...rules, admit: onlySupervisor(null), peer: peer(0, 51) })(socket).allowed).toBe(true)
  })

  it('takes sensors of an agent only from its own children', () => {
    const admit = onlyChildrenOf(40, (pid) => (pid === 51 ? 40 : pid === 52 ? null : 1))
    expect(peerCheck({ ...rules, admit, peer: peer(0, 51) })(socket)).toEqual(letIn(0, 51))
    for (const pid of [50, 52]) {
      expect(peerCheck({ ...rules, admit, peer: peer(0, pid) })(socket).allowed).toBe(false)
    }
  })

  it('takes the first sensor and no second one, and a refused caller is not the first', () => {
    const admit = onlyFirst({ supervisorPid: 50, part: 'sensor', pid: null })
    expect(peerCheck({ ...rules, admit, peer: peer(1000, 49) })(socket).allowed).toBe(false)
    expect(peerCheck({ ...rules, admit, peer: peer(0, 51) })(socket)).toEqual(letIn(0, 51))
    expect(peerCheck({ ...rules, admit, peer: peer(0, 52) })(socket).allowed).toBe(false)
    // The same one may come again.
    expect(peerCheck({ ...rules, admit, peer: peer(0, 51) })(socket)).toEqual(letIn(0, 51))
    const told = onlyFirst({ supervisorPid: 50, part: 'sensor', pid: 53 })
    expect([51, 53].map((pid) => peerCheck({ ...rules, admit: told, peer: peer(0, pid) })(socket).allowed)).toEqual([
      false,
      true,
    ])
    const open = onlyFirst({ supervisorPid: null, part: 'sensor', pid: null })
    for (const pid of [51, 52]) {
      expect(peerCheck({ ...rules, admit: open, peer: peer(0, pid) })(socket).allowed).toBe(true)
    }
  })

  it('refuses a socket that is closed already', () => {
    expect(peerCheck({ ...rules, peer: peer(0) })(new net.Socket()).allowed).toBe(false)
  })
})

describe('the log of refusals', () => {
  const caller = { pid: 66, uid: 0, sandbox: '/sluice/a/b', reason: 'it is in a sandbox' }

  it('has a line for each, up to a number for each window, and counts the rest', () => {
    const lines: unknown[] = []
    let nowMs = 0
    const log = new RefusalLog({ error: (line: unknown) => void lines.push(line) }, () => nowMs)
    log.refused('/run/x.sock', caller)
    expect(lines).toEqual([{ path: '/run/x.sock', ...caller, unlogged: 0 }])
    for (let n = 1; n < REFUSALS_LOGGED_MAX + 5; n++) log.refused('/run/x.sock', caller)
    expect(lines).toHaveLength(REFUSALS_LOGGED_MAX)
    nowMs += REFUSALS_WINDOW_MS
    log.refused('/run/x.sock', caller)
    expect(lines).toHaveLength(REFUSALS_LOGGED_MAX + 1)
    expect(lines.at(-1)).toMatchObject({ unlogged: 5 })
    for (let n = 0; n < REFUSALS_LOGGED_MAX; n++) log.refused('/run/x.sock', caller)
    log.refused('/run/x.sock', { ...caller, sandbox: '/sluice/other' })
    expect(lines.at(-1)).toMatchObject({ sandbox: '/sluice/other', unlogged: 0 })
  })

  it('is bounded for all addresses of a network together, and by name for those with a certificate', () => {
    const lines: unknown[] = []
    const log = new RefusalLog({ error: (line: unknown) => void lines.push(line) }, () => 0)
    const refuse = (n: number, names: string | null) =>
      log.refusedRemote('0.0.0.0:1', { address: `192.0.2.${n}`, names, reason: 'x' })
    for (let n = 0; n < 2 * REFUSALS_LOGGED_MAX; n++) refuse(n, null)
    expect(lines).toHaveLength(REFUSALS_LOGGED_MAX)
    refuse(1, 'DNS:node-a')
    expect(lines.at(-1)).toMatchObject({ path: '0.0.0.0:1', address: '192.0.2.1', names: 'DNS:node-a', unlogged: 0 })
  })
})
