/** Policies of the node for what `run` starts, by the agent and by parts of a run's own: what is reached, and what the launcher takes away. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { CONNECT, enforcing as policy } from '../support/node-policy.js'
import { privileged } from '../support/privileged.js'
import { SLUICE_BIN, sluiceRun, tempDirForAll } from '../support/sluice-run.js'
import { ALLOWED, DENIED, openTestNetwork, type TestNetwork } from '../support/test-network.js'

const { skip, reason } = privileged('bpf')
const CALLS = fileURLToPath(new URL('../support/programs/confined_calls.py', import.meta.url))
const EPERM = 1

describe.skipIf(skip)(`runs under the node's policies ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let agent: TestAgent

  beforeAll(async () => {
    network = await openTestNetwork()
    const folder = join(dir(), 'policies')
    mkdirSync(folder)
    mkdirSync(join(dir(), 'plain'))
    mkdirSync(join(dir(), 'tight'))
    writeFileSync(join(folder, 'runs.yaml'), policy('runs', [ALLOWED.v4]))
    writeFileSync(join(dir(), 'wide.yaml'), policy('wide', [ALLOWED.v4, DENIED.v4]))
    const tight = `version: 1\nname: tight\nmode: monitor\negress:\n  - deny: {cidr: ${ALLOWED.v4}/32}\n`
    writeFileSync(join(dir(), 'tight', '.sluice.yaml'), tight)
    const agentConfig = JSON.stringify({ agent: { policies: [folder] } })
    writeFileSync(join(dir(), 'config.yaml'), agentConfig)
    writeFileSync(join(dir(), 'free.yaml'), JSON.stringify({ agent: { policies: [] } }))
    const mistake = join(dir(), 'mistake.yaml')
    writeFileSync(mistake, 'version: 1\nname: mistake\nmode: enfroce\n')
    writeFileSync(join(dir(), 'mistaken.yaml'), JSON.stringify({ agent: { policies: [mistake] } }))
    agent = await startTestAgent({ agent: { policies: [folder] } })
  }, 60_000)
  afterAll(async () => {
    await agent?.stop()
    await network?.close()
  }, 60_000)

  async function reached(
    workdir: string,
    options: readonly string[],
  ): Promise<{ out: string[]; policy: string; changes: number }> {
    const script = `for a in ${ALLOWED.v4} ${DENIED.v4}; do bash -c "$0" $a run; done`
    const { stdout, events } = await sluiceRun(['sh', '-c', script, CONNECT[2] ?? ''], {
      through: ['nsenter', `--net=${network.inside}`],
      options: ['--socket', agent.socket, '--workdir', join(dir(), workdir), ...options],
    })
    const [first] = events
    const policy = first !== undefined && 'sandboxStarted' in first ? first.sandboxStarted.policyName : ''
    return { out: stdout.split('\n'), policy, changes: events.filter((event) => 'policyChanged' in event).length }
  }

  it('have it without asking for one, and can’t widen it by their own', async () => {
    expect(await reached('plain', [])).toEqual({ out: ['sent', 'EPERM'], policy: 'runs', changes: 0 })
    const wide = ['--policy', join(dir(), 'wide.yaml')]
    expect(await reached('plain', wide)).toEqual({ out: ['sent', 'EPERM'], policy: 'runs+wide', changes: 0 })
    expect(await reached('plain', [...wide, '--mode', 'monitor'])).toMatchObject({ out: ['sent', 'EPERM'] })
  }, 60_000)

  it('are held to them by parts of their own, too, and do not start under a mistake', async () => {
    const own = ['--own', '--config', join(dir(), 'config.yaml')]
    const wide = ['--policy', join(dir(), 'wide.yaml')]
    expect(await reached('plain', own)).toEqual({ out: ['sent', 'EPERM'], policy: 'runs', changes: 0 })
    expect(await reached('plain', [...own, ...wide])).toEqual({
      out: ['sent', 'EPERM'],
      policy: 'runs+wide',
      changes: 0,
    })
    const mistaken = ['run', '--own', '--config', join(dir(), 'mistaken.yaml'), '--', 'echo', 'ran']
    const refused = await execa(SLUICE_BIN, mistaken, { reject: false })
    expect(refused).toMatchObject({ exitCode: 125, stdout: '' })
    expect(refused.stderr).toContain('mistake.yaml:3:1: mode: ')
  }, 90_000)

  it('are refused the calls that get around them, and do not find the sockets of others', async () => {
    const server: Server = createServer()
    const socket = join(dir(), 'outside.sock')
    await new Promise<void>((resolve) => void server.listen(socket, resolve))
    const calls = async (...options: string[]) => {
      const { stdout, events } = await sluiceRun(['python3', CALLS, String(process.pid), socket], { options })
      const lines = stdout.split('\n').map((line) => line.split(/ (?=\d+$)/))
      const [first] = events
      const degraded = first !== undefined && 'sandboxStarted' in first ? first.sandboxStarted.degraded : []
      return {
        errnos: Object.fromEntries(lines.map(([what, errno]) => [what, Number(errno)])),
        unconfined: degraded.some((loss) => loss.startsWith('seccomp:')),
      }
    }
    const own = ['--own', '--config', join(dir(), 'config.yaml')]
    const monitor = ['--policy', join(dir(), 'wide.yaml'), '--mode', 'monitor']
    const refused = { io_uring: EPERM, vsock: EPERM, 'user namespace mount': EPERM, seize: EPERM, pidfd_getfd: EPERM }
    const covered = { request_key: EPERM, 'is a socket': 0, inet: 0, 'writes a file': 0 }
    try {
      for (const options of [['--socket', agent.socket, ...monitor], own]) {
        expect(await calls(...options)).toMatchObject({ errnos: { ...refused, ...covered }, unconfined: false })
      }
      // As it is where the node has none for it.
      const free = await calls('--own', '--config', join(dir(), 'free.yaml'), ...monitor)
      expect(free).toMatchObject({ errnos: { io_uring: 0, vsock: 0, 'is a socket': 1 }, unconfined: true })
    } finally {
      server.close()
    }
  }, 90_000)

  it('can be held tighter, and not looser, by a file in the working directory', async () => {
    expect(await reached('tight', [])).toEqual({ out: ['EPERM', 'EPERM'], policy: 'runs+tight', changes: 0 })
    const own = await reached('tight', ['--own', '--policy', join(dir(), 'wide.yaml')])
    expect(own).toMatchObject({ out: ['EPERM', 'sent'], policy: 'wide+tight' })
  }, 60_000)
})
