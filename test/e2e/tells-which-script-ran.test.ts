/** A script is run by its interpreter: the exec names both, however the script was named, and also if it is no more. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type ExecEvent, execs, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

/** The script `first` is executed by each way that needs more than a shell; every one of them ends in an exec of its interpreter. */
const BY_FD = `
import os, sys
folder = sys.argv[1]
def child(run):
    pid = os.fork()
    if pid == 0:
        try: run()
        finally: os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
def by_fd():
    fd = os.open("script", os.O_RDONLY)
    os.set_inheritable(fd, True)
    os.execve(fd, ["by-fd"], {})
def by_path_fd():
    fd = os.open("script", os.O_PATH)
    os.set_inheritable(fd, True)
    os.execve(fd, ["by-path-fd"], {})
def in_memory():
    fd = os.memfd_create("written", 0)
    os.write(fd, b"#!/bin/sh\\nexit 0\\n")
    os.execve(fd, ["in-memory"], {})
def deleted():
    fd = os.open("doomed", os.O_RDONLY)
    os.set_inheritable(fd, True)
    os.unlink("doomed")
    os.execve(fd, ["deleted"], {})
def below_a_folder():
    import ctypes
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    argv = (ctypes.c_char_p * 2)(b"below", None)
    os.chdir("/")
    ctypes.CDLL(None).syscall(322, fd, b"./script", argv, None, 0)
for run in (by_fd, by_path_fd, in_memory, deleted, below_a_folder): child(run)
`

/** Program, interpreter and script of every exec that has one. */
function scripts(events: ExecEvent[]): string[][] {
  return events.flatMap(({ exec, process }) => {
    return exec.script === '' ? [] : [[process.exe, exec.interpreter, exec.script]]
  })
}

describe.skipIf(skip)(`an exec of a script ${reason}`, () => {
  test.each([
    { how: 'by its path', command: (path: string) => path },
    { how: 'from its folder', command: (path: string) => `cd ${dirname(path)} && exec ./${basename(path)}` },
    {
      how: 'from another folder',
      command: (path: string) => `cd ${dirname(path)}/below && exec .././${basename(path)}`,
    },
    { how: 'over PATH', command: (path: string) => `PATH=${dirname(path)}:$PATH; exec ${basename(path)}` },
  ])('names interpreter and script: $how', async ({ command }) => {
    await withTempDir(async (dir) => {
      const path = join(dir, 'a script')
      const script = path.replace(' ', '-')
      writeFileSync(script, '#!/bin/sh -e\nexit 0\n', { mode: 0o755 })
      mkdirSync(join(dir, 'below'))
      const run = await sluiceRun(['bash', '-c', command(script)])
      expect(run.exitCode, run.stderr).toBe(0)
      expectComplete(run.events)
      expect(scripts(execs(run.events))).toEqual([['/usr/bin/dash', '/bin/sh', script]])
      expect(execs(run.events)[0]?.exec).toMatchObject({ interpreter: '', script: '' })
    })
  })

  test('of a script names the script that was executed and the last interpreter', async () => {
    await withTempDir(async (dir) => {
      const [inner, outer, link] = [join(dir, 'inner'), join(dir, 'outer'), join(dir, 'link')]
      writeFileSync(inner, '#!/bin/sh\nexit 0\n', { mode: 0o755 })
      writeFileSync(outer, `#!${inner} -x\n`, { mode: 0o755 })
      symlinkSync(outer, link)
      const run = await sluiceRun(['bash', '-c', `exec ${link}`])
      expect(scripts(execs(run.events))).toEqual([['/usr/bin/dash', '/bin/sh', link]])
      expect(execs(run.events).at(-1)?.process.args).toEqual(['/bin/sh', inner, '-x', link])
    })
  })

  test('that env starts is two execs: one of the script, one of what env found', async () => {
    await withTempDir(async (dir) => {
      const script = join(dir, 'script')
      writeFileSync(script, '#!/usr/bin/env -S sh -e\nexit 0\n', { mode: 0o755 })
      const run = await sluiceRun(['bash', '-c', `exec ${script}`])
      expect(execs(run.events).map(({ exec, process }) => [process.exe, exec.interpreter, exec.script])).toEqual([
        ['/usr/bin/bash', '', ''],
        ['/usr/bin/env', '/usr/bin/env', script],
        ['/usr/bin/dash', '', ''],
      ])
    })
  })

  test('by a descriptor names the file behind it: on disk, in memory, deleted, or below a folder', async () => {
    await withTempDir(async (dir) => {
      for (const name of ['script', 'doomed']) writeFileSync(join(dir, name), '#!/bin/sh\nexit 0\n', { mode: 0o755 })
      const run = await sluiceRun(['/usr/bin/python3', '-c', BY_FD, dir], { cwd: dir })
      expect(run.exitCode, run.stderr).toBe(0)
      expectComplete(run.events)
      const script = join(dir, 'script')
      const found = ['/usr/bin/dash', '/bin/sh']
      expect(scripts(execs(run.events))).toEqual([
        [...found, script],
        [...found, script],
        [...found, '/memfd:written'],
        [...found, join(dir, 'doomed')],
        [...found, script],
      ])
    })
  })

  test('that is removed while it runs keeps its name, and a name of 4,000 bytes is whole', async () => {
    await withTempDir(async (dir) => {
      const long = join(dir, ...Array.from({ length: 20 }, (_, i) => String.fromCharCode(97 + i).repeat(190)))
      mkdirSync(long, { recursive: true })
      const [gone, far] = [join(dir, 'gone'), join(long, 'script')]
      writeFileSync(gone, '#!/bin/sh\nrm "$0"\n', { mode: 0o755 })
      writeFileSync(far, '#!/bin/sh\nexit 0\n', { mode: 0o755 })
      const run = await sluiceRun(['bash', '-c', '"$0"; exec "$1"', gone, far])
      expect(run.exitCode, run.stderr).toBe(0)
      expect(scripts(execs(run.events)).map(([, , script]) => script)).toEqual([gone, far])
    })
  })

  test('by a rule of binfmt_misc names the rule’s interpreter', async (context) => {
    await withTempDir(async (dir) => {
      const file = join(dir, 'program.test')
      writeFileSync(file, 'SLUICETEST')
      execFileSync('chmod', ['755', file])
      // A rule in a user namespace of its own (6.7+) is nobody else's.
      const rule = ':sluice-test:M::SLUICETEST::/bin/true:'
      const script = `mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && echo '${rule}' >/proc/sys/fs/binfmt_misc/register`
      const inside = ['unshare', '-Urm', 'sh', '-c', `${script} || exit 77; exec ${file} an-argument`]
      const tried = spawnSync(inside[0] ?? '', inside.slice(1))
      context.skip(tried.status !== 0, 'binfmt_misc is not to be had in a user namespace here')
      const run = await sluiceRun(inside)
      expect(run.exitCode, run.stderr).toBe(0)
      expect(scripts(execs(run.events))).toEqual([['/usr/bin/true', '/bin/true', file]])
    })
  })
})
