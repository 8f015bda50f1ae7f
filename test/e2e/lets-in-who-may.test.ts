/** Who may ask an agent for what: root, administrators, members, others, and those inside a sandbox, whoever they are. */
import { spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectControl } from '../../src/proto/rpc.js'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { execs, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { untilThere } from '../support/shell-loops.js'
import { until } from '../support/sluice-process.js'
import { readRecord, SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'
import { watchersOf } from '../support/watchers-of.js'

const { skip, reason } = privileged('bpf')
const CONNECT_MS = 5_000

/** Groups that every Debian has, for what `sluice` and `sluice-admin` are on a real machine. */
const MEMBERS = 'games'
const ADMINS = 'users'
/** Users without an account, so that nothing else of the machine is theirs. */
const ANNA = 61_001
const BERT = 61_002
const ADMIN = 61_003

interface Caller {
  readonly uid: number
  readonly groups: readonly string[]
}
const anna: Caller = { uid: ANNA, groups: [MEMBERS] }
const bert: Caller = { uid: BERT, groups: [MEMBERS] }
const admin: Caller = { uid: ADMIN, groups: [MEMBERS, ADMINS] }
const stranger: Caller = { uid: ANNA, groups: [] }
const root: Caller = { uid: 0, groups: [] }

function as({ uid, groups }: Caller, args: readonly string[]): [string, string[]] {
  if (uid === 0) return [SLUICE_BIN, [...args]]
  const supplementary = groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join(',')]
  return ['setpriv', ['--reuid', String(uid), '--regid', String(uid), ...supplementary, SLUICE_BIN, ...args]]
}

describe.skipIf(skip)(`an agent ${reason}`, () => {
  let agent: TestAgent
  beforeAll(async () => {
    agent = await startTestAgent({ agent: { group: MEMBERS, adminGroup: ADMINS } })
  })
  afterAll(async () => {
    await agent?.stop()
  })
  const sluice = async (caller: Caller, ...args: string[]) => {
    const [file, rest] = as(caller, [...args.slice(0, 1), '--socket', agent.socket, ...args.slice(1)])
    return execa(file, rest, { reject: false, stdin: 'ignore', cwd: '/' })
  }

  /** A run of `caller` under the name `name`, for as long as `body` takes. */
  async function whileRunning(caller: Caller, name: string, body: () => Promise<void>): Promise<void> {
    await withTempDir(async (dir) => {
      chmodSync(dir, 0o777)
      const script = `touch started; ${untilThere('go')}`
      const command = ['--name', name, '--summary', 'none', '--', 'sh', '-c', script]
      const [file, args] = as(caller, ['run', '--socket', agent.socket, '--workdir', dir, ...command])
      const run = spawn(file, args, { stdio: 'ignore' })
      const ended = new Promise((resolve) => run.once('exit', resolve))
      await until('it runs', () => existsSync(join(dir, 'started')))
      try {
        await body()
      } finally {
        writeFileSync(join(dir, 'go'), '')
        await ended
      }
    })
  }

  test('has a socket for root and its group', () => {
    const { mode, uid } = statSync(agent.socket)
    expect([mode & 0o777, uid]).toEqual([0o660, 0])
  })

  test('runs a member’s command as that member, with a record of its own', async () => {
    await withTempDir(async (dir) => {
      chownSync(dir, ANNA, ANNA)
      const record = join(dir, 'record.jsonl')
      const result = await sluice(anna, 'run', '--record', record, '--', 'sh', '-c', 'id -u; exit 4')
      expect(result).toMatchObject({ exitCode: 4, stdout: String(ANNA) })
      expect(statSync(record).uid).toBe(ANNA)
      const events = readRecord(record)
      expectComplete(events)
      expect(events[0]).toMatchObject({ sandboxStarted: { user: String(ANNA) } })
      expect(new Set(execs(events).map((event) => event.process.uid))).toEqual(new Set([ANNA]))
    })
  })

  test('shows and does to each what is theirs', async () => {
    await whileRunning(anna, 'of-anna', async () => {
      const names = async (caller: Caller) =>
        (await sluice(caller, 'sandboxes', 'ls', '-o', 'json')).stdout
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line).name)
      expect(await names(anna)).toEqual(['of-anna'])
      expect(await names(bert)).toEqual([])
      expect(await names(admin)).toEqual(['of-anna'])
      expect(await names(root)).toEqual(['of-anna'])
      for (const change of ['freeze', 'thaw', 'kill', 'release']) {
        const refused = await sluice(bert, 'sandboxes', change, 'of-anna')
        expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("there is no sandbox 'of-anna'") })
      }
      expect(await sluice(anna, 'sandboxes', 'freeze', 'of-anna')).toMatchObject({ exitCode: 0 })
      expect((await sluice(anna, 'sandboxes', 'show', 'of-anna')).stdout).toMatch(/^state +frozen$/m)
      expect(await sluice(anna, 'sandboxes', 'thaw', 'of-anna')).toMatchObject({ exitCode: 0 })
      expect(await sluice(anna, 'sandboxes', 'release', 'of-anna')).toMatchObject({
        exitCode: 1,
        stderr: expect.stringMatching(/^sluice: releasing a sandbox takes root or the administrators' group; /),
      })
      expect(await sluice(admin, 'sandboxes', 'kill', 'of-anna')).toMatchObject({ exitCode: 0 })
    })
  })

  test('names what somebody may have meant, and takes no name for one of several', async () => {
    await whileRunning(anna, 'twin', async () => {
      const near = await sluice(anna, 'sandboxes', 'show', 'twim')
      expect(near).toMatchObject({ exitCode: 2, stderr: "sluice: there is no sandbox 'twim'; did you mean 'twin'?" })
      expect((await sluice(anna, 'sandboxes', 'freeze', 'twim')).stderr).toBe(near.stderr)
      await whileRunning(anna, 'twin', async () => {
        for (const verb of ['show', 'kill']) {
          const both = await sluice(anna, 'sandboxes', verb, 'twin')
          expect(both.stderr).toMatch(
            /^sluice: 2 sandboxes are named 'twin'; name one by its id: twin-[0-9a-f]{8}, twin-/,
          )
        }
      })
    })
  })

  test('takes a cgroup that is there already for an administrator, and for no member', async () => {
    const path = freeCgroupPath()
    mkdirSync(path)
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    try {
      writeFileSync(join(path, 'cgroup.procs'), String(child.pid))
      const below = `/${path.split('/').at(-1)}`
      expect(await sluice(anna, 'sandboxes', 'add', below)).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining('taking a cgroup under watch takes root'),
      })
      const added = await sluice(admin, 'sandboxes', 'add', below, '--name', 'adopted', '--label', 'a=b')
      expect(added).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('watched; processes in it: 1') })
      const again = await sluice(admin, 'sandboxes', 'add', below)
      expect(again).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('is watched already') })
      const shown = JSON.parse((await sluice(root, 'sandboxes', 'show', 'adopted', '-o', 'json')).stdout)
      expect(shown).toMatchObject({
        adopted: true,
        cgroupPath: below,
        processes: 1,
        labels: { a: 'b' },
        ownerUid: ADMIN,
      })
      expect(shown.degraded.map((text: string) => text.split(':')[0])).toEqual(['adopted', 'privileged', 'raw'])
      expect(await sluice(root, 'sandboxes', 'kill', 'adopted')).toMatchObject({ exitCode: 0 })
      expect(await sluice(root, 'sandboxes', 'release', 'adopted')).toMatchObject({ exitCode: 0 })
      expect(existsSync(path)).toBe(true)
    } finally {
      child.kill('SIGKILL')
      await removeCgroupTree(path)
    }
  })

  test.each([
    ['/', 2, 'the root of all cgroups'],
    ['/no/such/cgroup', 1, 'No such file or directory; name one that is there'],
    ['/sluice', 1, 'where sluice keeps the sandboxes'],
    ['/a/../..', 2, 'the root of all cgroups'],
  ])('takes no cgroup that can not be one: %s', async (path, exitCode, message) => {
    const result = await sluice(root, 'sandboxes', 'add', path)
    expect(result).toMatchObject({ exitCode, stderr: expect.stringContaining(message) })
    expect(result.stderr.split('\n')).toHaveLength(1)
  })

  test('has nothing for strangers, and tells them how to become more', async () => {
    const listed = await sluice(stranger, 'sandboxes', 'ls')
    expect(listed).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^sluice: this user may not use the agent/),
    })
    expect(listed.stderr).toContain('usermod -aG')
    expect(await sluice(stranger, 'run', '--', 'true')).toMatchObject({ exitCode: 125, stderr: listed.stderr })
    expect((await sluice(stranger, 'events', '-f')).exitCode).toBe(1)
  })

  test('lets a member become nobody else', async () => {
    const result = await sluice(anna, 'run', '--user', 'root', '--', 'id', '-u')
    expect(result).toMatchObject({ exitCode: 125, stdout: '', stderr: expect.stringContaining('takes root') })
  })

  test.each([
    ['as it is', 'exec "$@"'],
    ['out of its cgroup', `echo $$ > "$ROOT/cgroup.procs" && exec "$@"`],
  ])('answers nobody in a sandbox, not even root, and writes it down: %s', async (_, script) => {
    const ask = [SLUICE_BIN, 'sandboxes', '--socket', agent.socket, 'ls']
    const path = freeCgroupPath()
    const env = { ...process.env, ROOT: path.slice(0, path.lastIndexOf('/')) } as Record<string, string>
    const options = ['--socket', agent.socket, '--user', 'root']
    const before = agent.log().length
    const run = await sluiceRun(['sh', '-c', script, 'sh', ...ask], { options, env })
    expect(run.stdout).toBe('')
    expect(run.exitCode).toBe(1)
    const told = agent
      .log()
      .slice(before)
      .find((line) => line.msg === 'refused a caller')
    expect(told).toMatchObject({ uid: 0, sandbox: expect.stringContaining('sh-'), level: 'error' })
  })

  test.each([
    ['is not the caller’s child', async () => process.ppid, 'is not a child of the caller'],
    [
      'is another user’s',
      async () => spawn('sleep', ['20'], { stdio: 'ignore', uid: ANNA, gid: ANNA }).pid ?? 0,
      'runs as another user than the caller',
    ],
    ['is not there', async () => 4_194_304, 'is gone'],
  ])('puts no process into a sandbox that %s', async (_, pidOf, message) => {
    const control = await connectControl(agent.socket, CONNECT_MS)
    const pid = await pidOf()
    try {
      const run = control.run()
      run.send({ start: { pid, name: 'stolen', command: [Buffer.from('x')] } })
      const reading = (async () => {
        for await (const response of run.messages) expect(response.started).toBeUndefined()
      })()
      await expect(reading).rejects.toThrow(message)
    } finally {
      control.close()
      if (pid !== process.ppid && pid < 4_194_304) process.kill(pid, 'SIGKILL')
    }
  })

  test('shows live events to those whose they are', async () => {
    const watchers = [anna, bert, root].map((caller) => {
      const [file, args] = as(caller, ['events', '--socket', agent.socket, '-f', '-o', 'json', '--type', 'exec'])
      const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'], cwd: '/' })
      let text = ''
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      return { child, text: () => text }
    })
    const saw = (index: number, word: string) => watchers[index]?.text().includes(word)
    try {
      // They have no word of their own that they listen: a run at a time until the slowest has one.
      for (let n = 0; !(saw(0, 'by-anna') && saw(1, 'by-bert') && saw(2, 'by-bert') && saw(2, 'by-anna')); n++) {
        expect(n, watchers.map((one) => one.text()).join('\n---\n')).toBeLessThan(10)
        await sluice(anna, 'run', '-q', '--', '/bin/true', 'by-anna')
        await sluice(bert, 'run', '-q', '--', '/bin/true', 'by-bert')
      }
      expect([saw(0, 'by-bert'), saw(1, 'by-anna')]).toEqual([false, false])
    } finally {
      for (const { child } of watchers) child.kill('SIGKILL')
    }
  })

  test('ends live events at a time, and with itself', async () => {
    const until = new Date(Date.now() + 1_500).toISOString()
    const ended = await sluice(root, 'events', '-f', '--until', until)
    expect(ended).toMatchObject({ exitCode: 0, stdout: '' })
    const watchers = await watchersOf()
    const own = await startTestAgent({ config: watchers.config })
    const following = execa(SLUICE_BIN, ['events', '-f', '--socket', own.socket], { reject: false, stdin: 'ignore' })
    await watchers.until(1)
    await own.stop()
    expect(await following).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/^sluice: /) })
  })
})
