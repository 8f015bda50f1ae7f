/** The facts of an open: the file it really led to, how it was asked for, what failed, and what cannot be told. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { compileC } from '../support/c-program.js'
import { expectComplete, openOf, opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, tempDirForAll } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EPERM = 1
const ENOENT = 2
const EBADF = 9
const EFAULT = 14
const EEXIST = 17
const ENOTDIR = 20
const ENAMETOOLONG = 36
const ELOOP = 40
const PATH_KEPT = 4096

describe.skipIf(skip)(`an open ${reason}`, () => {
  const outer = tempDirForAll()
  let dir = ''
  let events: EventJson[] = []
  let said = new Map<string, number>()

  beforeAll(async () => {
    const program = compileC('opens', outer())
    dir = join(outer(), 'w')
    for (const name of ['.', 'dir', 'bound', 'jail']) mkdirSync(join(dir, name), { recursive: true })
    for (const name of ['file', 'dir/in-dir', 'jail/inside']) writeFileSync(join(dir, name), 'x')
    symlinkSync('file', join(dir, 'link'))
    execFileSync('mount', ['--bind', join(dir, 'dir'), join(dir, 'bound')])
    try {
      const run = await sluiceRun([program], { cwd: dir })
      expect(run.exitCode, run.stderr).toBe(0)
      events = run.events
      said = new Map(run.stdout.split('\n').map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]))
    } finally {
      execFileSync('umount', [join(dir, 'bound')])
    }
  })

  test('is in the record once for each call', () => {
    expectComplete(events)
    expect(said.size).toBeGreaterThan(25)
    const failed = [...said.values()].filter((errno) => errno !== 0).length
    expect(opens(events).filter((event) => event.fileOpen.errno !== 0).length).toBe(failed)
    for (const event of opens(events)) expect(event.fileOpen).toMatchObject({ count: '1', lastTime: event.time })
  })

  test('says whether it made the file, how it was asked for, and with which flags', () => {
    expect(openOf(events, 'new')).toMatchObject({
      ...{ path: join(dir, 'new'), resolved: true, created: true, errno: 0, access: 'WRITE' },
      flags: ['O_CREAT', 'O_EXCL', 'O_CLOEXEC'],
    })
    expect(openOf(events, './new')).toMatchObject({ created: false, errno: EEXIST, resolved: false })
    const again = openOf(events, './/new')
    expect(again).toMatchObject({ created: false, errno: 0, access: 'READ_WRITE', path: join(dir, 'new') })
    expect(again.flags.sort()).toEqual(['O_APPEND', 'O_CREAT'])
    expect(openOf(events, 'creat')).toMatchObject({ created: true, access: 'WRITE', flags: ['O_CREAT', 'O_TRUNC'] })
    expect(openOf(events, './file')).toMatchObject({ created: false, access: 'WRITE', flags: ['O_TRUNC'] })
    expect(openOf(events, 'file')).toMatchObject({ created: false, access: 'READ', flags: ['O_NONBLOCK'] })
    expect(openOf(events, 'dir')).toMatchObject({ access: 'READ', flags: ['O_DIRECTORY'] })
    expect(openOf(events, 'dir/in-dir').flags).toEqual(['O_PATH'])
  })

  test('has the file behind a link, with its inode, and the path as passed', () => {
    const { ino, dev } = statSync(join(dir, 'file'))
    const file = { path: join(dir, 'file'), resolved: true, inode: String(ino), dev: String(dev) }
    expect(openOf(events, 'link')).toMatchObject(file)
    expect(openOf(events, './link')).toMatchObject({
      path: join(dir, 'link'),
      resolved: false,
      errno: ELOOP,
      inode: '0',
    })
  })

  test('that failed has the errno, and a path that nobody vouches for', () => {
    const failed = { resolved: false, inode: '0', created: false }
    expect(openOf(events, 'dir/../missing')).toMatchObject({ ...failed, path: join(dir, 'missing'), errno: ENOENT })
    expect(openOf(events, 'file/x')).toMatchObject({ ...failed, path: join(dir, 'file/x'), errno: ENOTDIR })
    expect(openOf(events, 'anything')).toMatchObject({ ...failed, path: 'anything', errno: EBADF })
    const nothing = opens(events).filter(({ fileOpen }) => fileOpen.userPath === '' && fileOpen.errno === ENOENT)
    expect(nothing).toMatchObject([{ fileOpen: { ...failed, path: dir } }])
    const unreadable = opens(events).filter((event) => event.fileOpen.errno === EFAULT)
    expect(unreadable).toMatchObject([{ fileOpen: { ...failed, userPath: '' } }])
  })

  test('starts from a directory’s descriptor', () => {
    expect(openOf(events, 'in-dir')).toMatchObject({ path: join(dir, 'dir/in-dir'), resolved: true })
    expect(openOf(events, 'not-in-dir')).toMatchObject({ path: join(dir, 'dir/not-in-dir'), errno: ENOENT })
    expect(openOf(events, 'by-openat2')).toMatchObject({
      ...{ path: join(dir, 'dir/by-openat2'), created: true, access: 'READ_WRITE', flags: ['O_CREAT'] },
    })
    expect(openOf(events, './/link')).toMatchObject({ path: join(dir, 'link'), errno: ELOOP, resolved: false })
  })

  test('has the path through a bind mount, and past a chroot', () => {
    const bound = openOf(events, 'bound/in-dir')
    expect(bound).toMatchObject({ path: join(dir, 'bound/in-dir'), resolved: true })
    expect(bound.inode).toBe(String(statSync(join(dir, 'dir/in-dir')).ino))
    expect(said.get('jailed')).toBe(0)
    expect(openOf(events, '/inside')).toMatchObject({ path: join(dir, 'jail/inside'), resolved: true })
    expect(openOf(events, '/not-inside')).toMatchObject({ resolved: false, errno: ENOENT })
  })

  test('of a file without a name tells the last one it had', () => {
    const made = openOf(events, 'doomed')
    const deleted = opens(events).filter(
      (event) => /^\/proc\/self\/fd\/\d+$/.test(event.fileOpen.userPath) && event.fileOpen.inode === made.inode,
    )
    expect(deleted).toMatchObject([{ fileOpen: { path: join(dir, 'doomed'), created: false } }])
    const memfd = opens(events).filter((event) => event.fileOpen.userPath.startsWith('/proc/self/fd/./'))
    expect(memfd.map((event) => event.fileOpen.path)).toEqual([expect.stringContaining('memfd:in-memory')])
  })

  test('has bytes that are no text', () => {
    expect(openOf(events, '\\xff\\xfe\\\\\u001b')).toMatchObject({ path: `${dir}/\\xff\\xfe\\\\\u001b`, created: true })
  })

  test('has a long path whole, and says so where it cannot', () => {
    const long = `${dir}/${`${'n'.repeat(200)}/`.repeat(18)}at-the-end`
    expect(openOf(events, 'at-the-end')).toMatchObject({ path: long, resolved: true })
    const deep = openOf(events, 'at-the-bottom')
    expect(deep).toMatchObject({ resolved: false, created: true, errno: 0 })
    expect(deep.path).toMatch(/^(?:\/d){250,}\/at-the-bottom$/)
    const tooLong = opens(events).filter((event) => event.fileOpen.errno === ENAMETOOLONG)
    expect(tooLong.length).toBe(1)
    expect(tooLong[0]?.fileOpen.userPath).toBe('p'.repeat(PATH_KEPT - 1))
  })

  test('by handle has a path though none was passed', () => {
    if (said.get('by-handle') === EPERM) return
    const found = opens(events).filter((event) => event.fileOpen.flags.includes('O_NOATIME'))
    expect(found).toMatchObject([{ fileOpen: { userPath: '', path: join(dir, 'file'), resolved: true, errno: 0 } }])
  })
})
