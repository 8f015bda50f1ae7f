/**
 * What no everyday program does: arguments of every size with every byte, paths as long as the kernel takes, a thousand threads, a pid that
 * is used again, other mount namespaces. Each is in the record as it was.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { textToBytes } from '../../src/proto/text.js'
import { execs, execWith, exits, expectComplete, openOf, opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { type SluiceRun, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const ARGS_KEPT = 32_768
const PATH_BYTES = 4_095
const THREADS = 1_000
const PYTHON = '/usr/bin/python3'

/** Runs a Python program in an empty folder. */
async function python(program: string, dir: string, args: string[] = []): Promise<SluiceRun> {
  const file = join(dir, 'program.py')
  writeFileSync(file, program)
  const work = join(dir, 'w')
  mkdirSync(work)
  const run = await sluiceRun([PYTHON, '-B', file, ...args], { cwd: work })
  expect(run.exitCode, run.stderr).toBe(0)
  expectComplete(run.events)
  return run
}

/** The last exec gets `bytes` bytes of arguments after its name; the same are written to a file. */
const ARGUMENTS = `
import os, resource, sys
bytes = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
odd = [b"", b"\\n", b"\\x1b[31m", b"\\xff\\xfe", b"\\\\", b"", b"\\xc3\\xa9", b" ", b"\\x01", b""]
args, size = [], 0
while size < bytes:
    arg = odd[len(args) % len(odd)] if len(args) % 3 else b"a" * min(100000, bytes - size - 1)
    arg = arg[:bytes - size - 1]
    args.append(arg); size += len(arg) + 1
assert size == bytes
with open("args", "wb") as f: f.write(b"true\\0" + b"".join(a + b"\\0" for a in args))
os.execv("/bin/true", [b"true"] + args)
`

const LONG_PATHS = `
import os
home = os.getcwd()
def last(start, size):
    name = "l" * (size - len(start) - 1)
    assert len(start) + 1 + len(name) == size
    return name
dir = home
while ${PATH_BYTES} - len(dir) > 255:
    name = "d" * min(200, ${PATH_BYTES} - len(dir) - 10)
    os.mkdir(name); os.chdir(name); dir += "/" + name
name = last(dir, ${PATH_BYTES})
os.close(os.open(name, os.O_RDONLY | os.O_CREAT, 0o600))
dots = "/bin/" + "./" * 2042
dots += "/" * (${PATH_BYTES} - len(dots) - 4) + "true"
assert len(dots) == ${PATH_BYTES}
os.close(os.open(dots, os.O_RDONLY))
os.chdir(home)
os.execv(dots, [dots, "long"])
`

const MANY_THREADS = `
import os, threading
barrier = threading.Barrier(${THREADS})
def work(i):
    barrier.wait()
    open("t%d" % i, "w").close()
    barrier.wait()
    if i == 0: os.execv("/bin/true", ["true", "from-a-thread"])
    threading.Event().wait()
threading.stack_size(65536)
threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(${THREADS})]
for t in threads: t.start()
threading.Event().wait()
`

/** Two children, one after the other, that get the same pid. Pids are given out by the whole machine: it may take some tries. */
const SAME_PID = `
import os, sys
def child(mark):
    pid = os.fork()
    if pid == 0:
        open("by-" + mark, "w").close()
        os.execv("/bin/true", ["true", mark])
    os.waitpid(pid, 0)
    return pid
for i in range(300):
    first = child("first-%d" % i)
    with open("/proc/sys/kernel/ns_last_pid", "w") as f: f.write(str(first - 1))
    if child("second-%d" % i) == first:
        print(i, first)
        sys.exit(0)
sys.exit(77)
`

const MOUNTS = `
set -e
mkdir m && mount -t tmpfs tmpfs m && cd m
mkdir lower upper work over && echo low > lower/low
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work over
read x < over/low
echo new > over/new
mkdir over/old && cd over && pivot_root . old && cd /
read x < /low
: < /old/etc/passwd
`

describe.skipIf(skip)(`the record of ${reason}`, () => {
  test.each([1, 4_096, ARGS_KEPT - 'true\0'.length, ARGS_KEPT, 2 * 1024 * 1024])(
    'odd arguments, %i bytes, has them, or their beginning and their size',
    async (bytes) => {
      await withTempDir(async (dir) => {
        const { events } = await python(ARGUMENTS, dir, [String(bytes)])
        const passed = readFileSync(join(dir, 'w', 'args'))
        const last = execs(events).at(-1)?.process
        expect(last).toMatchObject({ exe: '/usr/bin/true', argsBytes: String(passed.length) })
        expect(last?.argsTruncated).toBe(passed.length > ARGS_KEPT)
        const told = Buffer.concat((last?.args ?? []).flatMap((arg) => [textToBytes(arg), Buffer.of(0)]))
        // Of a last argument that is cut nobody knows where it ends.
        const kept = passed.subarray(0, Math.min(passed.length, ARGS_KEPT))
        expect(told.equals(kept) || told.equals(Buffer.concat([kept, Buffer.of(0)]))).toBe(true)
      })
    },
  )

  test(`paths of ${PATH_BYTES} bytes has them whole`, async () => {
    await withTempDir(async (dir) => {
      const { events } = await python(LONG_PATHS, dir)
      const real = opens(events).filter(({ fileOpen }) => fileOpen.path.length === PATH_BYTES)
      expect(real).toMatchObject([{ fileOpen: { resolved: true, created: true, errno: 0 } }])
      const passed = opens(events).filter(({ fileOpen }) => fileOpen.userPath.length === PATH_BYTES)
      expect(passed).toMatchObject([{ fileOpen: { path: '/usr/bin/true', resolved: true } }])
      const { process } = execWith(events, 'long')
      expect(process.exe).toBe('/usr/bin/true')
      expect(process.args[0]).toHaveLength(PATH_BYTES)
    })
  })

  test(`${THREADS} threads at once tells them apart, and the one that execs is the process`, async () => {
    await withTempDir(async (dir) => {
      const { events } = await python(MANY_THREADS, dir)
      const { process } = execWith(events, 'from-a-thread')
      const mine = opens(events).filter(({ fileOpen }) => /^t\d+$/.test(fileOpen.userPath))
      expect(new Set(mine.map(({ fileOpen }) => fileOpen.userPath)).size).toBe(THREADS)
      expect(new Set(mine.map((event) => event.process.tid)).size).toBe(THREADS)
      expect(new Set(mine.map((event) => event.process.execId)).size).toBe(1)
      expect(mine[0]?.process.pid).toBe(process.pid)
      expect(process.tid).toBe(process.pid)
      expect(exits(events).length).toBe(1)
    })
  })

  test('a pid that is used again has two processes', async () => {
    await withTempDir(async (dir) => {
      const { events, stdout } = await python(SAME_PID, dir)
      const [round, pid] = stdout.split(' ').map(Number)
      const [first, second] = ['first', 'second'].map((mark) => execWith(events, `${mark}-${round}`).process)
      expect([first?.pid, second?.pid]).toEqual([pid, pid])
      expect(second?.execId).not.toBe(first?.execId)
      expect(second?.startTime).not.toBe(first?.startTime)
      for (const mark of ['first', 'second']) {
        const [open] = opens(events).filter(({ fileOpen }) => fileOpen.userPath === `by-${mark}-${round}`)
        const exec = execWith(events, `${mark}-${round}`).process
        expect(open?.process).toMatchObject({ pid, startTime: exec.startTime, args: expect.arrayContaining([PYTHON]) })
      }
    })
  })

  test('another mount namespace, an overlay and a new root has the paths as seen there', async () => {
    await withTempDir(async (dir) => {
      const run = await sluiceRun(['unshare', '-U', '-r', '-m', 'sh', '-c', MOUNTS], { cwd: dir })
      expect(run.exitCode, run.stderr).toBe(0)
      expectComplete(run.events)
      expect(openOf(run.events, 'over/low')).toMatchObject({ path: join(dir, 'm/over/low'), resolved: true })
      expect(openOf(run.events, 'over/new')).toMatchObject({ path: join(dir, 'm/over/new'), created: true })
      expect(openOf(run.events, '/low')).toMatchObject({ path: '/low', resolved: true })
      expect(openOf(run.events, '/old/etc/passwd')).toMatchObject({ path: '/old/etc/passwd', resolved: true })
    })
  })
})
