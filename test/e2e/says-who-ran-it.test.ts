/** Who the command runs as and who the record says it is: labels, `--user`, and the user who called sudo. */
import { chmodSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { execs, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { readRecord, SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const NOBODY = 65_534
const WHO = 'id -u; id -g; echo $HOME; echo $USER; printenv SUDO_USER || echo none'

describe.skipIf(skip)(`identity of a run ${reason}`, () => {
  test('is in every event, as the launcher gave it', async () => {
    const options = ['--name', 'forge', '--agent', 'coder-7', '--task', 'pr 1402', '--label', 'a=b=c', '--label', 'z=']
    const run = await sluiceRun(['sh', '-c', 'cat /etc/hostname; true'], { options })
    expectComplete(run.events)
    expect(run.events.length).toBeGreaterThan(5)
    const identity = { name: 'forge', agent: 'coder-7', task: 'pr 1402', labels: { a: 'b=c', z: '' } }
    const [first] = run.events
    for (const event of run.events) {
      expect(event.sandbox).toMatchObject(identity)
      expect(event.sandbox).toEqual(first?.sandbox)
      expect(event.sessionId).toBe(first?.sessionId)
    }
    expect(first?.sandbox.cgroupPath).toBe(`/sluice/${first?.sandbox.id}`)
  })

  test('is ours where nothing else is asked for', async () => {
    const run = await sluiceRun(['sh', '-c', 'id -u; echo $HOME'], { env: { HOME: '/somewhere' } })
    expect(run.stdout).toBe('0\n/somewhere')
    expect(execs(run.events).map((event) => event.process.uid)).toEqual([0, 0])
    expect(run.events[0]).toMatchObject({ sandboxStarted: { user: 'root' } })
  })

  test.each(['nobody', '65534'])('is another user’s with --user %s', async (user) => {
    const run = await sluiceRun(['sh', '-c', WHO], { options: ['--user', user, '--workdir', '/'] })
    expect(run.exitCode, run.stderr).toBe(0)
    expect(run.stdout.split('\n')).toEqual(['65534', '65534', '/nonexistent', 'nobody', 'none'])
    expectComplete(run.events)
    for (const event of execs(run.events)) expect(event.process).toMatchObject({ uid: NOBODY, gid: NOBODY })
    expect(run.events[0]).toMatchObject({ sandboxStarted: { user: 'nobody' } })
  })

  test('is the user’s who called sudo, and so is the record', async () => {
    await withTempDir(async (dir) => {
      chmodSync(dir, 0o777)
      const record = join(dir, 'record.jsonl')
      const env = { SUDO_UID: '65534', SUDO_GID: '65534', SUDO_USER: 'nobody', HOME: '/root' }
      const args = ['run', '-q', '--record', record, '--', 'sh', '-c', WHO]
      const result = await execa(SLUICE_BIN, args, { cwd: '/', env, reject: false })
      expect(result.exitCode, result.stderr).toBe(0)
      expect(result.stdout.split('\n')).toEqual(['65534', '65534', '/nonexistent', 'nobody', 'none'])
      expect(statSync(record)).toMatchObject({ uid: NOBODY, gid: NOBODY })
      expect(statSync(record).mode & 0o777).toBe(0o600)
      for (const event of execs(readRecord(record))) expect(event.process.uid).toBe(NOBODY)
    })
  })

  test('is a user’s who called sudo and has no entry, by number', async () => {
    const env = { SUDO_UID: '4000000', SUDO_GID: '4000001', SUDO_USER: 'nobody', HOME: '/root' }
    const run = await sluiceRun(['sh', '-c', 'id -u; id -G; echo $HOME; echo $USER'], {
      env: { PATH: process.env.PATH ?? '', ...env },
      options: ['--workdir', '/'],
      recordDirMode: 0o777,
    })
    expect(run).toMatchObject({ exitCode: 0, stderr: '', stdout: '4000000\n4000001\n/\n' })
    expectComplete(run.events)
    expect(run.events[0]).toMatchObject({ sandboxStarted: { user: '4000000' } })
    for (const event of execs(run.events)) expect(event.process).toMatchObject({ uid: 4_000_000, gid: 4_000_001 })
  })

  test('is told to be root’s, which can undo the watching, and only then', async () => {
    const degraded = async (options: string[]) => {
      const [first] = (await sluiceRun(['true'], { options: ['--workdir', '/', ...options] })).events
      return first !== undefined && 'sandboxStarted' in first ? first.sandboxStarted.degraded : []
    }
    const word = 'root: the command runs as root, which can undo the watching; use --user'
    expect(await degraded([])).toContain(word)
    expect(await degraded(['--user', 'root'])).toContain(word)
    expect(await degraded(['--user', 'nobody'])).not.toContain(word)
    const { stderr } = await execa(SLUICE_BIN, ['run', '--', 'true'], { stdin: 'ignore' })
    expect(stderr).toMatch(/^ {2}user {9}root, which can undo the watching; use --user$/m)
  })

  test('is found out without a PATH of ours', async () => {
    const args = [SLUICE_BIN, 'run', '-q', '--user', 'nobody', '--workdir', '/', '--', '/usr/bin/id', '-un']
    const result = await execa(process.execPath, args, {
      env: { PATH: '/nonexistent', SLUICE_JOURNAL: process.env.SLUICE_JOURNAL ?? '' },
      ...{ extendEnv: false, reject: false, stdin: 'ignore' },
    })
    expect(result).toMatchObject({ exitCode: 0, stdout: 'nobody', stderr: '' })
  })

  test('is root’s with --user root under sudo', async () => {
    const env = { SUDO_UID: '65534', SUDO_GID: '65534', SUDO_USER: 'nobody', HOME: '/somewhere' }
    const run = await sluiceRun(['sh', '-c', 'id -u; echo $HOME'], {
      ...{ env, options: ['--user', 'root'], recordDirMode: 0o777 },
    })
    expect(run.stdout).toBe('0\n/root')
    expect(execs(run.events)[0]?.process.uid).toBe(0)
  })
})
