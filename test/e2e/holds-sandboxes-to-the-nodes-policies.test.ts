/**
 * Policies that the agent's configuration gives: for cgroups that others made, as they select them, applied anew while the sandboxes
 * run. What is refused is looked at where it would arrive.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { EventJson, PolicyChangedJson } from '../../src/proto/event-json.js'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { CONNECT, enforcing as policy } from '../support/node-policy.js'
import { privileged } from '../support/privileged.js'
import { isAlive, until } from '../support/sluice-process.js'
import { SLUICE_BIN, tempDirForAll } from '../support/sluice-run.js'
import { ALLOWED, DENIED, openTestNetwork, PORT, type TestNetwork } from '../support/test-network.js'
import { startUnbound } from '../support/unbound.js'
import { watchersOf } from '../support/watchers-of.js'

const { skip, reason } = privileged('bpf')
/** As an agent in a container would run: nobody, with no rights of root's. */
const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all']
const NEWBORN = fileURLToPath(new URL('../support/programs/newborn.py', import.meta.url))
const ROUNDS = 50
const LONG = ['sleep', '300']
/** 105 to 158 ms on two busy cores, 50 of them waiting for whoever writes to be done. */
const CHANGE_MS_MAX = 2_000

/** Rounds that end by themselves; the gateway may come to a new namespace a moment after the first question there. */
const ASKS_WHEN_HELD = [
  'echo waits; for i in $(seq 600); do test -e $0 && break; sleep 0.05; done',
  'ask() { dig +tries=1 +time=2 @192.0.2.1 $1; }',
  'for i in $(seq 100); do found=$(ask api.example.net); case "$found" in *"status: NOERROR"*) break;; esac; sleep 0.1; done',
  'echo NOERROR $(ask api.example.net | grep -o "10.1.2.3$")',
  'ask other.example.org | grep -o "status: [A-Z]*" | cut -c 9-',
  '(echo > /dev/tcp/127.0.0.9/7000) 2>&1 | grep -q "not permitted" && echo direct EPERM',
].join('\n')

describe.skipIf(skip)(`sandboxes under the node's policies ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let agent: TestAgent
  let cgroup: string
  let folder: string
  let config: Record<string, unknown>
  let watchers: Awaited<ReturnType<typeof watchersOf>>
  const inside: ChildProcess[] = []
  let tokens = 0

  beforeAll(async () => {
    network = await openTestNetwork()
  }, 60_000)
  afterAll(() => network?.close(), 60_000)

  beforeEach(async () => {
    folder = join(dir(), `policies-${++tokens}`)
    mkdirSync(folder)
    cgroup = freeCgroupPath()
    mkdirSync(cgroup)
    config = { policies: [folder], watch: [`/${basename(cgroup)}/*`] }
    watchers = await watchersOf()
    agent = await startTestAgent({ agent: config, config: watchers.config })
  }, 60_000)
  afterEach(async () => {
    for (const child of inside.splice(0)) child.kill('SIGKILL')
    await agent?.stop()
    await removeCgroupTree(cgroup)
  }, 60_000)

  /** As an editor does it: beside, and renamed. */
  function write(file: string, text: string): void {
    writeFileSync(join(folder, `.${file}.new`), text)
    renameSync(join(folder, `.${file}.new`), join(folder, file))
  }
  const sluice = (...args: string[]) => execa(SLUICE_BIN, [...args, '--socket', agent.socket], { reject: false })
  const add = (...options: string[]) => sluice('sandboxes', 'add', cgroup, '--name', 'theirs', ...options)
  async function shown() {
    const { stdout } = await sluice('sandboxes', 'show', 'theirs', '-o', 'json')
    return JSON.parse(stdout) as { policy: { name: string } | null; policyProblems: string[]; id: string }
  }
  const start = (command: readonly string[], where = cgroup): ChildProcess => {
    const enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    const net = ['nsenter', `--net=${network.inside}`]
    const child = spawn('sh', ['-c', enter, where, ...net, ...command], { stdio: ['ignore', 'pipe', 'inherit'] })
    inside.push(child)
    return child
  }

  /** Whether a process of the sandbox gets through to it; looked at where it would arrive, too. */
  async function reaches(address: string, where = cgroup): Promise<boolean> {
    const token = `token-${++tokens}`
    const child = start([...NOBODY, ...CONNECT, address, token], where)
    let out = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
    })
    await new Promise((resolve) => child.once('close', resolve))
    const isSent = out.trim() === 'sent'
    if (isSent) expect(await network.arrives(address, token)).toBe(true)
    else
      expect({ out: out.trim(), arrived: network.hasArrived(address, token) }).toEqual({ out: 'EPERM', arrived: false })
    return isSent
  }
  /** Cgroups that are made one after the other, with a process in each that sends at once; what arrived, too. */
  async function newborn(prefix: string, rounds: number): Promise<{ refused: number; sent: number }> {
    const token = `token-${++tokens}`
    const program = [NEWBORN, cgroup, prefix, String(rounds), DENIED.v4, String(PORT), token]
    const { stdout } = await execa('nsenter', [`--net=${network.inside}`, 'python3', ...program])
    const [refused, sent] = ['1 1 1', '0 0 0'].map((line) => stdout.split('\n').filter((each) => each === line).length)
    expect(sent === 0 ? network.hasArrived(DENIED.v4, token) : !(await network.arrives(DENIED.v4, token))).toBe(false)
    return { refused: refused ?? 0, sent: sent ?? 0 }
  }
  const reached = async () => ({ allowed: await reaches(ALLOWED.v4), denied: await reaches(DENIED.v4) })

  async function eventually(what: string, look: () => Promise<boolean>): Promise<void> {
    for (const end = performance.now() + 15_000; performance.now() < end; ) if (await look()) return
    throw new Error(`in vain waited that ${what}`)
  }

  async function untilPolicy(name: string | null): Promise<void> {
    let now: string | null | undefined
    for (const end = performance.now() + 15_000; performance.now() < end; ) {
      now = (await shown()).policy?.name ?? null
      if (now === name) return
    }
    throw new Error(`the policy is ${now} and not ${name}`)
  }

  async function changes(): Promise<PolicyChangedJson[]> {
    const args = ['events', '-f', '--type', 'policyChanged', '-o', 'json', '--socket', agent.socket]
    const child = spawn(SLUICE_BIN, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    inside.push(child)
    const seen: PolicyChangedJson[] = []
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      for (const line of text.split('\n').slice(0, -1)) {
        const event = JSON.parse(line) as EventJson
        if ('policyChanged' in event) seen.push(event.policyChanged)
      }
      text = text.slice(text.lastIndexOf('\n') + 1)
    })
    await watchers.until(1)
    return seen
  }
  const problem = () => agent.log().findLast(({ msg }) => msg === 'a policy of the node has a mistake')?.problem

  it('are those that it selects, by label or cgroup, and each change of a file is theirs at once', async () => {
    write('node.yaml', policy('first', [ALLOWED.v4], 'select: {labels: {team: red}}\n'))
    const seen = await changes()
    start([...NOBODY, ...LONG])
    expect((await add('--label', 'team=red')).stdout).toMatch(/watched; processes in it: \d+; policy first \(enforce\)/)
    expect(await reached()).toEqual({ allowed: true, denied: false })
    const before = Date.now()
    write('node.yaml', policy('second', [DENIED.v4], 'select: {labels: {team: red}}\n'))
    await untilPolicy('second')
    const changed = agent.log().findLast(({ msg }) => msg === 'the policy of a sandbox changed')
    const tookMs = Date.parse(String(changed?.time)) - before
    process.stderr.write(`from the file's change to the kernel's answer: ${tookMs} ms\n`)
    expect(tookMs).toBeLessThan(CHANGE_MS_MAX)
    expect(await reached()).toEqual({ allowed: false, denied: true })
    // Another policy beside it is for somebody else.
    write('other.yaml', policy('other', [ALLOWED.v4], 'select: {labels: {team: blue}}\n'))
    write(
      'third.yaml',
      policy('third', [ALLOWED.v4], `select: {cgroup: "/${cgroup.split('/').at(-1)?.slice(0, -2)}*"}\n`),
    )
    await untilPolicy('second+third')
    expect(await reached()).toEqual({ allowed: true, denied: true })
    await until('both changes were told', () => seen.length >= 3)
    expect(seen.map(({ from, to }) => [from?.name, to?.name])).toEqual([
      [undefined, 'first'],
      ['first', 'second'],
      ['second', 'second+third'],
    ])
  }, 120_000)

  it('are found ones too: what a watched cgroup starts with is refused by the time that it is listed', async () => {
    write('node.yaml', policy('found', [ALLOWED.v4], `select: {cgroup: "/${basename(cgroup)}/*"}\n`))
    const child = join(cgroup, 'child')
    const policyOf = async () => {
      const { stdout } = await sluice('sandboxes', 'show', 'child', '-o', 'json')
      return stdout === '' ? null : (JSON.parse(stdout) as { policy: { name: string } | null }).policy
    }
    mkdirSync(child)
    for (let tries = 0; tries < 50 && (await policyOf()) === null; tries++);
    expect(await policyOf()).toMatchObject({ name: 'found' })
    expect([await reaches(ALLOWED.v4, child), await reaches(DENIED.v4, child)]).toEqual([true, false])
  }, 60_000)

  it('hold what is found from its first moment on, whoever of us is gone, and let go what can’t be held', async () => {
    const told = () => agent.log().filter(({ msg }) => String(msg).endsWith('are held from the start')).length
    const select = `select: {cgroup: "/${basename(cgroup)}/held-*"}\n`
    write('node.yaml', policy('found', [ALLOWED.v4], `${select}allow_privileged: true\n`))
    await until('it is held to', () => told() > 0)
    expect(await newborn('held-a', ROUNDS)).toEqual({ refused: ROUNDS, sent: 0 })
    expect(await newborn('other-', 5)).toEqual({ refused: 0, sent: 5 })
    const { engine, sensor } = agent.pids()
    process.kill(engine, 'SIGKILL')
    expect(await newborn('held-b', 5)).toEqual({ refused: 5, sent: 0 })
    await until('the engine is back', () => agent.pids().engine !== engine && isAlive(agent.pids().engine))
    process.kill(sensor, 'SIGKILL')
    expect(await newborn('held-c', 5)).toEqual({ refused: 5, sent: 0 })
    await until('the sensor is back', () => agent.pids().sensor !== sensor && told() > 1)
    expect(await newborn('held-d', 5)).toEqual({ refused: 5, sent: 0 })
    for (const name of ['held-b0', 'held-c0']) {
      await eventually('its policy is there', () => reaches(ALLOWED.v4, join(cgroup, name)))
      expect([name, await reaches(DENIED.v4, join(cgroup, name))]).toEqual([name, false])
    }
    // What can't be enforced there is not enforced in the place of it either.
    write('node.yaml', policy('strict', [ALLOWED.v4], select))
    await eventually('it is read', async () => /strict/.test((await sluice('sandboxes', 'show', 'held-a0')).stdout))
    const rooted = join(cgroup, 'held-root')
    const { engine: stopped } = agent.pids()
    // No policy is there before the process is.
    process.kill(stopped, 'SIGSTOP')
    mkdirSync(rooted)
    start(LONG, rooted)
    await until('it is in there', () => readFileSync(join(rooted, 'cgroup.procs'), 'utf8') !== '')
    process.kill(stopped, 'SIGCONT')
    await eventually('it is only watched', () => reaches(DENIED.v4, rooted))
    // Nobody would come with a policy.
    agent.child.kill('SIGTERM')
    expect((await agent.exited).code).toBe(0)
    expect(await reaches(DENIED.v4, join(cgroup, 'held-a0'))).toBe(false)
    expect(await newborn('held-e', 2)).toEqual({ refused: 0, sent: 2 })
  }, 120_000)

  it('stay under the last good one when a file has a mistake, whatever is started again', async () => {
    write('node.yaml', policy('good', [ALLOWED.v4], 'select: {}\n'))
    start([...NOBODY, ...LONG])
    await add()
    await untilPolicy('good')
    write('node.yaml', policy('bad', [DENIED.v4], 'select: {}\negres: []\n'))
    await until('the mistake is told', problem)
    expect(problem()).toMatch(/node\.yaml:5:1: unknown key.*egres.* \(what it said before holds\)/)
    const holds = async () => {
      await untilPolicy('good')
      expect(await reached()).toEqual({ allowed: true, denied: false })
    }
    await holds()
    const { engine } = agent.pids()
    process.kill(engine, 'SIGKILL')
    await until('the engine is back', () => agent.pids().engine !== engine && isAlive(agent.pids().engine))
    await holds()
    agent.child.kill('SIGKILL')
    await agent.exited
    agent = await startTestAgent({ after: agent, agent: config })
    await holds()
    const { stdout } = await sluice('doctor', '--json')
    const { checks } = JSON.parse(stdout) as { checks: { name: string; state: string; found: string }[] }
    expect(checks.find(({ name }) => name === 'policies')).toMatchObject({
      state: 'fail',
      found: expect.stringMatching(/node\.yaml:5:1: /),
    })
    write('node.yaml', policy('mended', [DENIED.v4], 'select: {}\n'))
    await untilPolicy('mended')
  }, 120_000)

  it('are held in a network namespace of their own, and are told the names of their policy there', async () => {
    const rules = 'egress:\n  - host: api.example.net\n    allow_private: [10.0.0.0/8]\n'
    write('node.yaml', `version: 1\nname: named\nmode: enforce\nselect: {}\n${rules}`)
    const held = join(dir(), `held-${++tokens}`)
    const unbound = await startUnbound({ 'example.net': 'api A 10.1.2.3' })
    try {
      await agent.stop()
      agent = await startTestAgent({ agent: config, config: { gateway: { resolvers: [`127.0.0.1:${unbound.port}`] } } })
      const inside = `ip link set lo up; exec ${NOBODY.join(' ')} bash -c '${ASKS_WHEN_HELD}' ${held}`
      const child = spawn('sh', [
        '-c',
        `echo $$ > ${cgroup}/cgroup.procs && exec unshare --net sh -c "$1"`,
        'sh',
        inside,
      ])
      let out = ''
      child.stdout.on('data', (chunk: Buffer) => {
        out += chunk.toString()
      })
      // What it has in the end has no rights of root's.
      await until('it waits', () => out.includes('waits'))
      const closed = new Promise((resolve) => child.once('close', resolve))
      expect((await add()).exitCode).toBe(0)
      await untilPolicy('named')
      writeFileSync(held, '')
      await closed
      expect(out.split('\n')).toEqual(['waits', 'NOERROR 10.1.2.3', 'REFUSED', 'direct EPERM', ''])
    } finally {
      await unbound.stop()
    }
  }, 90_000)

  it('are held to nothing any more when the last file that selects them is gone, which is told', async () => {
    write('node.yaml', policy('first', [], 'select: {}\n'))
    const seen = await changes()
    start([...NOBODY, ...LONG])
    await add().then(() => untilPolicy('first'))
    expect(await reached()).toEqual({ allowed: false, denied: false })
    rmSync(join(folder, 'node.yaml'))
    agent.child.kill('SIGHUP')
    await untilPolicy(null)
    expect(await reached()).toEqual({ allowed: true, denied: true })
    await until('it is told', () => seen.length >= 2)
    expect(seen[1]).toMatchObject({ from: { name: 'first' }, by: expect.stringMatching(/read anew/) })
    expect(seen[1]).not.toHaveProperty('to')
  }, 60_000)

  it('have policies of their own, below the node’s, until they are released', async () => {
    const own = join(dir(), 'own.yaml')
    writeFileSync(own, policy('own', [ALLOWED.v4, DENIED.v4]))
    const seen = await changes()
    start([...NOBODY, ...LONG])
    expect((await add('--policy', own)).stdout).toMatch(/policy own \(enforce\)/)
    expect(await reached()).toEqual({ allowed: true, denied: true })
    write('node.yaml', policy('node', [ALLOWED.v4], 'select: {}\n'))
    await untilPolicy('node+own')
    expect(await reached()).toEqual({ allowed: true, denied: false })
    writeFileSync(own, policy('own', [DENIED.v4]))
    expect((await sluice('sandboxes', 'policy', 'theirs', '--policy', own)).stdout).toMatch(
      /policy node\+own \(enforce\)/,
    )
    expect(await reached()).toEqual({ allowed: false, denied: false })
    expect((await sluice('sandboxes', 'release', 'theirs')).stdout).toMatch(
      /released: it goes on unwatched; policy node\+own \(enforce\) is lifted, nothing is refused any more/,
    )
    expect(await reached()).toEqual({ allowed: true, denied: true })
    await until('it is told', () => seen.at(-1)?.by === 'released by user 0')
    expect(seen.at(-1)).not.toHaveProperty('to')
  }, 60_000)

  it('stay under them when the agent is stopped, as for another version, until that is cleaned away', async () => {
    write('node.yaml', policy('first', [ALLOWED.v4], 'select: {}\n'))
    start([...NOBODY, ...LONG])
    await add().then(() => untilPolicy('first'))
    expect(await reached()).toEqual({ allowed: true, denied: false })
    const stop = async () => {
      agent.child.kill('SIGTERM')
      expect((await agent.exited).code).toBe(0)
      expect(await reached()).toEqual({ allowed: true, denied: false })
      expect(agent.log().some(({ msg }) => msg.startsWith('sandboxes stay under their policies'))).toBe(true)
    }
    await stop()
    agent = await startTestAgent({ after: agent, agent: config })
    await untilPolicy('first')
    await stop()
    const { stdout } = await execa(SLUICE_BIN, ['doctor', '--clean', '--config', agent.config], { reject: false })
    expect(stdout).toMatch(/goes on, unwatched; nothing is refused to them any more \(policies lifted: 1\)/)
    expect(await reached()).toEqual({ allowed: true, denied: true })
  }, 90_000)

  it('are not enforced upon where their processes have the rights of root, unless that is meant', async () => {
    const own = join(dir(), 'own.yaml')
    writeFileSync(own, policy('own', []))
    const root = start(LONG)
    const refused = await add('--policy', own)
    expect(refused.exitCode).not.toBe(0)
    expect(refused.stderr).toMatch(/can't be enforced: privileged: its processes hold .*allow_privileged: true/)
    expect((await sluice('sandboxes', 'ls', '-o', 'json')).stdout).toBe('')
    writeFileSync(own, policy('own', [], 'allow_privileged: true\n'))
    expect((await add('--policy', own)).stdout).toMatch(/policy own/)
    expect(isAlive(root.pid ?? 0)).toBe(true)
    // The node's is told as a problem, and what was before holds.
    write('node.yaml', policy('node', [ALLOWED.v4], 'select: {}\n'))
    await until('the problem is told', () => agent.log().some(({ why }) => String(why).includes('privileged: ')))
    expect(await shown()).toMatchObject({
      policy: { name: 'own' },
      policyProblems: [expect.stringMatching(/privileged/)],
    })
  }, 60_000)
})
