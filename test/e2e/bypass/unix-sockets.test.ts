/**
 * Ways from a sandbox to Unix sockets of others. Each is tried to a socket that the policy names and to one that it does not; what counts is
 * what arrives there. And what has to go on: sockets of the sandbox's own.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadAddon } from '../../../src/native/addon.js'
import { ABI } from '../../../src/native/generated/abi.js'
import { Mode } from '../../../src/proto/codec.js'
import { compileC } from '../../support/c-program.js'
import { openPolicedSandbox, type PolicedSandbox, testPolicy } from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { until } from '../../support/sluice-process.js'
import { tempDirForAll } from '../../support/sluice-run.js'
import { openTestNetwork, type TestNetwork } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const isJudged = !skip && loadAddon().openObject('core').missing().length === 0
const program = (name: string) => fileURLToPath(new URL(`../../support/programs/${name}`, import.meta.url))
const REACH = program('reach_unix.py')
const EPERM = 1
const WAYS_BY_PATH = ['relative', 'dotted', 'symlinked', 'hardlinked', 'replaced', 'covered', 'mounted', 'chrooted']
const WAYS_BY_URING = ['connect', 'connect-async', 'connect-poll', 'connect-orphan', 'connect-fixed', 'connect-linked']
/** reach.h */
const NOT_HERE = 1000
const TAG = `sluice-test-${process.pid}`

describe.skipIf(skip || !isJudged)(`a sandbox whose policy names one of two Unix sockets ${reason}`, () => {
  const dir = tempDirForAll()
  const arrived = new Set<string>()
  let network: TestNetwork
  let sandbox: PolicedSandbox
  let receiver: ChildProcess
  let reachUring: string
  let tokens = 0

  const nameOf = (which: string, kind: string) => join(dir(), `${which}.${kind}`)
  const abstractOf = (which: string, kind: string) => `@${TAG}-${which}-${kind}`
  const policy = (changes = {}) =>
    testPolicy({
      rules: [{ path: 'default' }, { path: 'local.unix[0]', policy: 'test' }],
      unix: ['stream', 'dgram'].flatMap((kind) => [
        { rule: 1, path: Buffer.from(nameOf('allowed', kind)) },
        { rule: 1, path: Buffer.from(abstractOf('allowed', kind)) },
      ]),
      ...changes,
    })

  beforeAll(async () => {
    network = await openTestNetwork()
    reachUring = compileC('reach_uring', dir())
    // Abstract names are a network namespace's own.
    receiver = spawn('nsenter', [`--net=${network.inside}`, 'python3', program('unix_receiver.py'), dir(), TAG], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    await new Promise<void>((resolve) => {
      createInterface({ input: receiver.stdout as NodeJS.ReadableStream }).on('line', (line) => {
        arrived.add(line)
        resolve()
      })
    })
    sandbox = await openPolicedSandbox(network)
    await sandbox.apply(policy())
  }, 60_000)

  afterAll(async () => {
    receiver?.stdin?.end()
    await sandbox?.close()
    await network?.close()
  }, 60_000)

  async function reach(way: string, name: string) {
    const text = `${way}-${++tokens}`
    const { out, signal } = await sandbox.run(['python3', REACH, way, name, text])
    await settle()
    return { errno: signal ?? Number(out), arrived: arrived.has(text) }
  }

  /** Until the receiver has said all that was sent to it before. */
  async function settle(): Promise<void> {
    const asked = `asked-${++tokens}`
    receiver.stdin?.write(`${asked}\n`)
    await until('the receiver answers', () => arrived.has(asked))
  }

  it.each([
    ['stream', nameOf, 'stream'],
    ['sendto', nameOf, 'dgram'],
    ['dgram', nameOf, 'dgram'],
    ['stream', abstractOf, 'stream'],
    ['sendto', abstractOf, 'dgram'],
    ['dgram', abstractOf, 'dgram'],
  ])(
    'reaches the one and not the other: %s',
    async (way, name, kind) => {
      expect(await reach(way, name('allowed', kind))).toEqual({ errno: 0, arrived: true })
      expect(await reach(way, name('denied', kind))).toEqual({ errno: EPERM, arrived: false })
    },
    30_000,
  )

  it.each(WAYS_BY_URING)(
    'reaches the one and not the other by io_uring: %s',
    async (way) => {
      const by = async (name: string) => {
        const text = `uring-${way}-${++tokens}`
        const { out, signal } = await sandbox.run([reachUring, way, name, '0', text])
        await settle()
        return { errno: signal ?? Number(out.trim().split(' ').at(-1)), arrived: arrived.has(text) }
      }
      for (const name of [nameOf, abstractOf]) {
        const allowed = await by(name('allowed', 'stream'))
        // This machine has no io_uring, or not for this.
        if (allowed.errno === NOT_HERE) return
        expect(allowed).toEqual({ errno: 0, arrived: true })
        expect(await by(name('denied', 'stream'))).toEqual({ errno: EPERM, arrived: false })
      }
    },
    30_000,
  )

  it.each(WAYS_BY_PATH)(
    'does not reach the other by a path that is %s',
    async (way) => {
      expect(await reach(way, nameOf('denied', 'stream'))).toEqual({ errno: EPERM, arrived: false })
    },
    30_000,
  )

  it('does not reach the other by an abstract name that it has itself, for sockets of another type', async () => {
    expect(await reach('same_name', abstractOf('denied', 'stream'))).toEqual({ errno: EPERM, arrived: false })
  }, 30_000)

  it('gets nothing to the other by exchanging what is at a name while it connects there', async () => {
    const { errno, arrived: has } = await reach('exchanged', nameOf('denied', 'stream'))
    expect(['SIGKILL', EPERM]).toContain(errno)
    expect(has).toBe(false)
  }, 60_000)

  it.each(['own_path', 'own_abstract'])(
    'goes on with sockets of its own: %s',
    async (way) => {
      expect((await reach(way, '-')).errno).toBe(0)
    },
    30_000,
  )

  it('goes on with a socket of its own that it had before the policy', async () => {
    const file = join(dir(), 'policed')
    await sandbox.apply(null)
    const ended = sandbox.run(['python3', REACH, 'own_before', file, 'text'])
    await until('it has its socket', () => existsSync(`${file}.bound`))
    await sandbox.apply(policy())
    writeFileSync(file, '')
    expect((await ended).out.split('\n')).toEqual(['ready', '0', ''])
  }, 30_000)

  it('tells each with its verdict', async () => {
    const { SL_VERDICT_ALLOW, SL_VERDICT_DENY, SL_WHY_UNIX, SL_WHY_RULE } = ABI.enums
    const told = (which: string) =>
      sandbox
        .events()
        .flatMap(({ connect }) => (connect && Buffer.from(connect.sockaddr ?? []).includes(which) ? [connect] : []))
        .map(({ judged, error }) => ({ verdict: judged?.verdict, why: judged?.why, error: error ?? 0 }))
    const denied = { verdict: SL_VERDICT_DENY, why: SL_WHY_UNIX, error: EPERM }
    await until('all are told', () => told(`${TAG}-denied-dgram`).length >= 2 && told('denied.stream').length > 0)
    expect(told(`${TAG}-denied-dgram`)).toEqual([denied, denied])
    expect(told(`${TAG}-allowed-dgram`)).toContainEqual({ verdict: SL_VERDICT_ALLOW, why: SL_WHY_RULE, error: 0 })
    expect(told('denied.stream')).toContainEqual(denied)
  })

  it.each(WAYS_BY_PATH)(
    'does reach it where the policy only monitors, and is told: %s',
    async (way) => {
      await sandbox.apply(policy({ mode: Mode.MODE_MONITOR }))
      expect(await reach(way, nameOf('denied', 'stream'))).toEqual({ errno: 0, arrived: true })
      const { SL_VERDICT_WOULD_DENY } = ABI.enums
      const isTold = () => sandbox.events().some(({ connect }) => connect?.judged?.verdict === SL_VERDICT_WOULD_DENY)
      await until('it is told', isTold)
    },
    30_000,
  )
})
