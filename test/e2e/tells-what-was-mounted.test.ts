/**
 * A path is as the process's own mounts have it, and any user can have mounts of their own: what hides a file behind another name is told,
 * and so are files that are made without being opened.
 */
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { expectComplete, opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, tempDirForAll } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EPERM = 1

/** In a user namespace of its own, without an exec. */
const PROGRAM = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
dir = sys.argv[1]
def call(number, *args):
  result = libc.syscall(number, *args)
  return result if result >= 0 else -ctypes.get_errno()
def mount(source, target, kind, flags):
  return libc.mount(source and source.encode(), target.encode(), kind and kind.encode(), flags, None)
assert mount(dir + '/secret', dir + '/refused', None, 4096) < 0
ids = os.getuid(), os.getgid()
assert libc.unshare(0x10000000 | 0x20000) == 0
for name, text in ('setgroups', 'deny'), ('uid_map', '0 %d 1' % ids[0]), ('gid_map', '0 %d 1' % ids[1]):
  open('/proc/self/' + name, 'w').write(text)
assert mount(None, '/', None, 1 << 18 | 16384) == 0
assert mount(dir + '/secret', dir + '/harmless', None, 4096) == 0
open(dir + '/harmless/key').read()
os.chdir(dir)
assert mount('secret', 'relative', None, 4096) == 0
assert mount('nothing', dir + '/empty', 'tmpfs', 0) == 0
tree = call(428, -100, (dir + '/secret').encode(), 1)
assert tree >= 0
os.read(os.open('key', os.O_RDONLY, dir_fd=tree), 9)
assert call(429, tree, b'', -100, (dir + '/tree').encode(), 4) == 0
open(dir + '/tree/key').read()
os.mkfifo(dir + '/made/fifo')
os.mknod(dir + '/made/file', 0o100600)
`

describe.skipIf(skip)(`what a sandbox mounts ${reason}`, () => {
  const outer = tempDirForAll()
  let dir = ''
  let events: EventJson[] = []
  const changes = (op: string) =>
    events.flatMap((event) =>
      'fileChange' in event && event.fileChange.op === op ? [[event.fileChange.path, event.fileChange.newPath]] : [],
    )

  beforeAll(async () => {
    dir = join(outer(), 'w')
    for (const name of ['secret', 'harmless', 'relative', 'empty', 'tree', 'refused', 'made']) {
      mkdirSync(join(dir, name), { recursive: true, mode: 0o777 })
    }
    chmodSync(join(dir, 'made'), 0o777)
    writeFileSync(join(dir, 'secret/key'), 'k')
    const run = await sluiceRun(['python3', '-c', PROGRAM, dir], { options: ['--user', 'nobody'], cwd: '/' })
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    events = run.events
  })

  test('is told with what it shows, where, and whether it was done', () => {
    expect(changes('MOUNT')).toEqual([
      [join(dir, 'secret'), join(dir, 'refused')],
      ['', '/'],
      [join(dir, 'secret'), join(dir, 'harmless')],
      [join(dir, 'secret'), join(dir, 'relative')],
      ['nothing', join(dir, 'empty')],
      // What was cut off is asked for its path after the call.
      [join(dir, 'tree'), join(dir, 'tree')],
    ])
    const errors = events.flatMap((event) =>
      'fileChange' in event && event.fileChange.op === 'MOUNT' ? [event.fileChange.errno] : [],
    )
    expect(errors).toEqual([EPERM, 0, 0, 0, 0, 0])
  })

  test('is told before what is read through it, and the file is known by its inode', () => {
    const { ino } = statSync(join(dir, 'secret/key'))
    for (const name of ['harmless', 'tree']) {
      const mounted = events.findIndex((event) => 'fileChange' in event && event.fileChange.newPath === join(dir, name))
      const read = events.findIndex((event) => 'fileOpen' in event && event.fileOpen.path === join(dir, name, 'key'))
      expect(mounted).toBeGreaterThan(0)
      expect(read).toBeGreaterThan(mounted)
      expect(events[read]).toMatchObject({ fileOpen: { inode: String(ino), resolved: true } })
    }
  })

  test('is told of a tree that is cut off, by the path as it was passed', () => {
    const found = opens(events).filter((event) => event.fileOpen.userPath === join(dir, 'secret'))
    expect(found.map((event) => event.fileOpen)).toMatchObject([
      { path: join(dir, 'secret'), resolved: false, flags: ['O_PATH'], access: 'READ', errno: 0 },
    ])
  })

  test('a file that is opened in such a tree is not said to be at the path that it has there', () => {
    const { ino } = statSync(join(dir, 'secret/key'))
    const found = opens(events).filter((event) => event.fileOpen.userPath === 'key')
    expect(found.map((event) => event.fileOpen)).toMatchObject([{ path: '/key', resolved: false, inode: String(ino) }])
  })

  test('files that are made without being opened are told as well', () => {
    expect(changes('MKNOD')).toEqual([
      [join(dir, 'made/fifo'), ''],
      [join(dir, 'made/file'), ''],
    ])
  })
})
