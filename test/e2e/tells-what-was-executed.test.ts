/** The facts of an exec: what the kernel put on the new stack, which file it was, and what cannot be told. */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { textToBytes } from '../../src/proto/text.js'
import { type ExecEvent, execs, execWith, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, tempDirForAll } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const ARGS_KEPT = 32_768
/** Ways to exec that need more than a shell. */
const PYTHON = `
import os, sys, shutil
def child(run):
    pid = os.fork()
    if pid == 0:
        try: run()
        finally: os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
def memfd():
    fd = os.memfd_create("in-memory", 0)
    os.write(fd, open("/bin/true", "rb").read())
    os.execve(fd, ["true", "from-memfd"], {})
def deleted():
    fd = os.open("doomed", os.O_RDONLY)
    os.unlink("doomed")
    os.execve(fd, ["true", "from-deleted"], {})
shutil.copy("/bin/true", "doomed")
child(memfd)
child(deleted)
child(lambda: os.execve("/bin/true", [b"true", b"odd-bytes", b"\\xff\\xfe\\\\ \\xc3\\xa9\\x80", b"\\x1b[31m\\n"], {}))
child(lambda: os.execv("/bin/bash", ["bash", "-c", "exec -a '' /bin/true empty-name"]))
`

// Side by side, as each is about a run of its own.
describe.skipIf(skip)(`an exec ${reason}`, { concurrent: true }, () => {
  const dir = tempDirForAll()

  /** What the record says of `/bin/true ARGS…`. */
  async function execOfTrue(args: string[]): Promise<ExecEvent> {
    const run = await sluiceRun(['/bin/true', ...args])
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    expect(execs(run.events).length).toBe(1)
    return execs(run.events)[0] as ExecEvent
  }

  test.each([
    { name: 'none', args: [] },
    { name: 'one byte', args: ['x'] },
    { name: 'empty ones', args: ['', 'x', ''] },
    { name: 'blanks and control characters', args: [' ', 'a b', 'c\nd', '\u001b[31m', '"', "'"] },
    { name: '4 KiB', args: ['y'.repeat(4096)] },
    { name: 'many', args: Array.from({ length: 2000 }, (_, i) => String(i)) },
    { name: 'as much as is kept', args: ['z'.repeat(ARGS_KEPT - '/bin/true\0\0'.length)] },
  ])('has all its arguments: $name', async ({ args }) => {
    const { process } = await execOfTrue(args)
    expect(process.args).toEqual(['/bin/true', ...args])
    const bytes = ['/bin/true', ...args].reduce((sum, arg) => sum + arg.length + 1, 0)
    expect(process).toMatchObject({ argsBytes: String(bytes), argsTruncated: false })
  })

  test.each([ARGS_KEPT - '/bin/true\0\0'.length + 1, 100 * 1024])(
    'says that it was cut, and how long it was: %s bytes',
    async (length) => {
      const { process } = await execOfTrue(['q'.repeat(length)])
      expect(process).toMatchObject({ argsBytes: String('/bin/true\0\0'.length + length), argsTruncated: true })
      expect(process.args).toEqual(['/bin/true', 'q'.repeat(ARGS_KEPT - '/bin/true\0'.length)])
    },
  )

  test('has bytes that are no text, so that they can be had back', async () => {
    const run = await sluiceRun(['/usr/bin/python3', '-c', PYTHON], { cwd: dir() })
    expect(run.exitCode, run.stderr).toBe(0)
    const odd = execs(run.events).find((event) => event.process.args[1] === 'odd-bytes')
    expect(odd?.process.args[2]).toBe('\\xff\\xfe\\\\ é\\x80')
    expect(Buffer.from(textToBytes(odd?.process.args[2] ?? ''))).toEqual(Buffer.from('fffe5c20c3a980', 'hex'))
    expect(odd?.process.args[3]).toBe('\u001b[31m\n')
    expect(execWith(run.events, 'empty-name').process.args).toEqual(['', 'empty-name'])
    expect(execWith(run.events, 'from-memfd')).toMatchObject({ exec: { memfd: true } })
    expect(execWith(run.events, 'from-memfd').process.exe).toContain('memfd:in-memory')
    const deleted = execWith(run.events, 'from-deleted')
    expect(deleted).toMatchObject({ exec: { memfd: false, deleted: true }, process: { exe: join(dir(), 'doomed') } })
    expect(execs(run.events)[0]).toMatchObject({ exec: { memfd: false, deleted: false } })
  })

  test('of a script is its interpreter’s', async () => {
    const script = join(dir(), 'script')
    writeFileSync(script, '#!/bin/sh -e\nexit 4\n', { mode: 0o755 })
    const run = await sluiceRun([script, 'an argument'])
    expect(run.exitCode).toBe(4)
    expect(execs(run.events).map(({ process }) => [process.exe, process.args])).toEqual([
      ['/usr/bin/dash', ['/bin/sh', '-e', script, 'an argument']],
    ])
  })

  test('has the file that was really run, behind symlinks, and its inode', async () => {
    const link = join(dir(), 'link')
    execFileSync('ln', ['-s', '/bin/true', link])
    const [event] = execs((await sluiceRun([link])).events)
    const { ino, dev } = statSync('/bin/true')
    expect(event?.process).toMatchObject({ exe: '/usr/bin/true', args: [link] })
    expect(event?.exec).toMatchObject({ exeInode: String(ino), exeDev: String(dev) })
  })

  test('has the directory it started in, also one that is no more', async () => {
    mkdirSync(join(dir(), 'a/b'), { recursive: true })
    const run = await sluiceRun(['sh', '-c', 'cd a/b; /bin/true in-it; cd /; /bin/true at-root'], { cwd: dir() })
    expect(execWith(run.events, 'in-it').process.cwd).toBe(join(dir(), 'a/b'))
    expect(execWith(run.events, 'at-root').process.cwd).toBe('/')
  })

  test('that gained privileges says so, and there is none without --user root', async () => {
    const copy = join(dir(), 'setuid-id')
    copyFileSync('/usr/bin/id', copy)
    chmodSync(copy, 0o4755)
    execFileSync('chown', ['65534', copy])
    chmodSync(copy, 0o4755)
    const gained = await sluiceRun([copy, '-u'], { options: ['--user', 'root'] })
    expect(gained.stdout).toBe('65534')
    expect(execs(gained.events)[0]).toMatchObject({ exec: { setuid: true }, process: { uid: 65534 } })
    const refused = await sluiceRun([copy, '-u'])
    expect(refused.stdout).toBe('0')
    expect(execs(refused.events)[0]).toMatchObject({ exec: { setuid: false }, process: { uid: 0 } })
  })
})
