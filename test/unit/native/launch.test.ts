import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { launch, launchNow } from '../../support/launcher.js'

const ENOENT = 2
const EACCES = 13
const EINVAL = 22
/** Long enough for a launcher that doesn't wait to show itself. */
const WAIT_MS = 100

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-launch-'))
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe('the launcher', () => {
  it('runs the command in its directory, and its output and exit code are the command’s', async () => {
    const result = await launchNow({ dir: directory, command: ['sh', '-c', 'pwd; echo problem >&2; exit 7'] })
    expect(result).toEqual({ code: 7, signal: null, stdout: `${directory}\n`, stderr: 'problem\n', status: '' })
  })

  it('runs nothing before the go', async () => {
    const launched = launch({ dir: directory, command: ['sh', '-c', 'echo ran'] })
    const ended = await Promise.race([launched.result, sleep(WAIT_MS, 'waiting')])
    expect(ended).toBe('waiting')
    launched.go('G')
    expect((await launched.result).stdout).toBe('ran\n')
  })

  it.each([null, 'g', '\0', 'stop'])('runs nothing when the sync pipe says %j', async (byte) => {
    const launched = launch({ command: ['sh', '-c', 'echo ran'] })
    launched.go(byte)
    expect(await launched.result).toMatchObject({ code: 125, stdout: '', stderr: '', status: 'sync 0\n' })
  })

  it('passes a death by signal on', async () => {
    expect(await launchNow({ command: ['sh', '-c', 'kill -TERM $$'] })).toMatchObject({ code: null, signal: 'SIGTERM' })
  })

  it('is the command, not its parent', async () => {
    const launched = launch({ command: ['sh', '-c', 'echo $$'] })
    launched.go('G')
    expect((await launched.result).stdout).toBe(`${launched.child.pid}\n`)
  })

  it('says 127 for a command that is not there', async () => {
    const result = await launchNow({ command: ['sluice-no-such-command'] })
    expect(result).toMatchObject({ code: 127, status: `exec ${ENOENT}\n`, stderr: '' })
  })

  it('says 126 for a file that can’t be executed', async () => {
    const path = join(directory, 'plain')
    writeFileSync(path, 'text', { mode: 0o644 })
    expect(await launchNow({ command: [path] })).toMatchObject({ code: 126, status: `exec ${EACCES}\n` })
  })

  it('says 125 for a directory that is not there', async () => {
    const result = await launchNow({ dir: join(directory, 'none'), command: ['true'] })
    expect(result).toMatchObject({ code: 125, status: `chdir ${ENOENT}\n` })
  })

  it('says 125 for a user that is not there, before the go', async () => {
    const launched = launch({ options: ['--user', 'sluice-nobody-of-this-name'], command: ['true'] })
    expect(await launched.result).toMatchObject({ code: 125, status: `user ${ENOENT}\n` })
  })

  it.each([
    [['--uid', '1']],
    [['--gid', '1']],
    [['--uid', '-1', '--gid', '1']],
    [['--uid', '4294967295', '--gid', '1']],
    [['--uid', '1x', '--gid', '1']],
    [['--user', 'root', '--uid', '0', '--gid', '0']],
    [['--sync-fd', '99']],
    [['--sync-fd', '4']],
    [['--no-such-option']],
  ])('refuses %j', async (options) => {
    const result = await launch({ options, command: ['true'] }).result
    expect(result).toMatchObject({ code: 125, stdout: '', stderr: '', status: `usage ${EINVAL}\n` })
  })

  it('refuses to run without a command', async () => {
    expect(await launch({ command: [] }).result).toMatchObject({ code: 125, status: `usage ${EINVAL}\n` })
  })

  it('gives the command neither of its pipes, nor any other descriptor beyond the first three', async () => {
    // 3 is the folder that ls itself reads.
    expect((await launchNow({ command: ['ls', '/proc/self/fd'] })).stdout).toBe('0\n1\n2\n3\n')
  })

  it('leaves no signal ignored or blocked', async () => {
    const { stdout } = await launchNow({ command: ['grep', '-E', '^Sig(Blk|Ign):', '/proc/self/status'] })
    expect(stdout).toBe('SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n')
  })

  it('forbids new privileges unless they are asked for', async () => {
    const command = ['grep', 'NoNewPrivs', '/proc/self/status']
    expect((await launchNow({ command })).stdout).toBe('NoNewPrivs:\t1\n')
    expect((await launchNow({ command, options: ['--new-privs'] })).stdout).toBe('NoNewPrivs:\t0\n')
  })

  it('leaves HOME, USER and LOGNAME alone without a user', async () => {
    const env = { PATH: process.env.PATH ?? '', HOME: '/h', USER: 'u', LOGNAME: 'l' }
    const { stdout } = await launchNow({ command: ['sh', '-c', 'echo $HOME $USER $LOGNAME'], env })
    expect(stdout).toBe('/h u l\n')
  })
})
