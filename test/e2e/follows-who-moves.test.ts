/** Whoever is moved or born into a sandbox's cgroup belongs to it at once, and whoever gets out of it still does; both are told. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import type { EventJson, ProcessJson } from '../../src/proto/event-json.js'
import { compileC } from '../support/c-program.js'
import { cgroupMount, freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { connects, execs, execWith, expectComplete, hasExecWith, opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { untilThere } from '../support/shell-loops.js'
import { cgroupOf, startSluice } from '../support/sluice-process.js'
import { readRecord, sluiceRun, tempDirForAll, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const outside = promisify(execFile)
const NOT_ALLOWED = 77
const ROOT = cgroupMount() ?? ''

type CgroupEvent = Extract<EventJson, { cgroupChange: unknown }> & { process: ProcessJson }

const changes = (events: EventJson[]) => events.filter((event): event is CgroupEvent => 'cgroupChange' in event)
/** Op and path below the sandbox's own cgroup, or the whole path elsewhere. */
function told(events: EventJson[]): string[] {
  return changes(events).map(({ cgroupChange: { op, path }, sandbox }) => {
    const own = sandbox.cgroupPath
    return `${op} ${path === own || path.startsWith(`${own}/`) ? `.${path.slice(own.length)}` : path}`
  })
}

const MOVES = `
import errno, os, sys, subprocess, time
root = sys.argv[1]
own = root + open("/proc/self/cgroup").read().split("0::")[1].strip()
def move(to):
    open(to + "/cgroup.procs", "w").write("0")
def run(mark):
    subprocess.run(["/bin/true", mark])
def remove(path): # a thread that has ended is there for a moment longer
    while True:
        try: return os.rmdir(path)
        except OSError as error:
            if error.errno != errno.EBUSY: raise
        time.sleep(0.01)
`
const BELOW = `${MOVES}
os.mkdir(own + "/sub")
move(own + "/sub")
os.mkdir(own + "/sub/deeper")
run("in-sub")
move(own)
remove(own + "/sub/deeper")
remove(own + "/sub")
`
const OUT_AND_BACK = `${MOVES}
move(root)
run("outside")
move(own)
run("back")
`
/** One thread is moved, the others stay. */
const THREADED = `${MOVES}
import threading
os.mkdir(own + "/sub")
open(own + "/sub/cgroup.type", "w").write("threaded")
def body():
    open(own + "/sub/cgroup.threads", "w").write(str(threading.get_native_id()))
    open("/etc/hostname").read()
    run("by-thread")
thread = threading.Thread(target=body)
thread.start()
thread.join()
open(own + "/cgroup.threads", "w").write(str(os.getpid()))
remove(own + "/sub")
`
/** Waits for a line, then each thread does one thing; none of them execs. */
const STRANGER = `
import os, socket, sys, threading
folder, port = sys.argv[1], int(sys.argv[2])
go = [threading.Event() for _ in range(3)]
def opener():
    go[0].wait(); os.open(folder + "/opened-by-thread", os.O_RDONLY | os.O_CREAT)
def connector():
    go[1].wait(); socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect_ex(("127.0.0.1", port))
def forker():
    go[2].wait()
    if os.fork() == 0:
        os.open(folder + "/opened-by-child", os.O_RDONLY | os.O_CREAT)
        os._exit(0)
    os.wait()
threads = [threading.Thread(target=body) for body in (opener, connector, forker)]
for thread in threads: thread.start()
print("ready", flush=True)
sys.stdin.readline()
for event, thread in zip(go, threads):
    event.set(); thread.join()
`
/** The thread that execs makes no other call that is looked at before. */
const THREAD_EXEC = `
import os, sys, threading
def body():
    os.read(0, 1)
    os.execv("/bin/true", ["true", "by-a-thread"])
thread = threading.Thread(target=body)
thread.start()
print("ready", flush=True)
thread.join()
`

describe.skipIf(skip)(`a process ${reason}`, () => {
  const dir = tempDirForAll()
  let identity = ''

  beforeAll(() => {
    identity = compileC('identity', dir())
  })

  /** A sandbox that only waits while `body` does something to it from outside. */
  async function whileItWaits(body: (cgroup: string, dir: string) => Promise<void>): Promise<EventJson[]> {
    return withTempDir(async (dir) => {
      const stop = join(dir, 'stop')
      const run = startSluice(['sh', '-c', untilThere(stop)], { dir })
      const { command } = await run.running()
      await body(join(ROOT, cgroupOf(command)), dir)
      writeFileSync(stop, '')
      expect((await run.result).exitCode).toBe(0)
      return readRecord(run.record)
    })
  }

  /** A foreign Python program that has said that it is ready. */
  async function stranger(source: string, ...args: string[]) {
    const child = spawn('/usr/bin/python3', ['-c', source, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    return { child, pid: child.pid ?? 0, exited: once(child, 'exit') }
  }

  const moveTo = (cgroup: string, pid: number) => writeFileSync(join(cgroup, 'cgroup.procs'), String(pid))

  test('that makes cgroups below its own and moves there stays in its sandbox', async () => {
    const run = await sluiceRun(['/usr/bin/python3', '-c', BELOW, ROOT])
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    expect(told(run.events)).toEqual([
      'MKDIR ./sub',
      'ATTACH ./sub',
      'MKDIR ./sub/deeper',
      'ATTACH .',
      'RMDIR ./sub/deeper',
      'RMDIR ./sub',
    ])
    const { pid } = execs(run.events)[0]?.process ?? {}
    for (const { process, cgroupChange } of changes(run.events)) {
      expect([process.pid, cgroupChange.actorPid]).toEqual([pid, pid])
    }
    expect(hasExecWith(run.events, 'in-sub')).toBe(true)
  })

  test('that moves itself to the root of all cgroups is told as escaped, and stays the sandbox’s', async () => {
    const run = await sluiceRun(['/usr/bin/python3', '-c', OUT_AND_BACK, ROOT])
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    expect(told(run.events)).toEqual(['ESCAPE /', 'ATTACH .'])
    expect(hasExecWith(run.events, 'outside')).toBe(true)
    expect(hasExecWith(run.events, 'back')).toBe(true)
  })

  test('that is born outside by clone3 is told as escaped', async () => {
    const run = await sluiceRun([identity, 'into', 'the-mark', ROOT])
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    const process = execs(run.events).find((event) => event.process.args[1] === 'the-mark')?.process
    expect(process?.exe).toBe('/usr/bin/true')
    expect(told(run.events)).toEqual(['ESCAPE /'])
    expect(changes(run.events)[0]?.source).toBe('tp_btf/sched_process_fork')
    expect(changes(run.events)[0]).toMatchObject({
      process: { pid: process?.pid },
      cgroupChange: { actorPid: process?.ppid },
    })
  })

  test('of a stranger that is born inside by clone3 belongs to the sandbox from its first instruction on', async () => {
    const events = await whileItWaits(async (cgroup) => {
      await outside(identity, ['into', 'the-mark', cgroup])
    })
    expectComplete(events)
    const { process } = execWith(events, 'the-mark')
    expect(told(events)).toEqual(['ATTACH .'])
    expect(changes(events)[0]?.process.pid).toBe(process.pid)
    expect(opens(events).some((event) => event.process.pid === process.pid)).toBe(true)
  })

  test('of a stranger that is moved in belongs to the sandbox at once, with all its threads', async () => {
    let paths: string[] = []
    let pid = 0
    const events = await whileItWaits(async (cgroup, dir) => {
      paths = ['opened-by-thread', 'opened-by-child'].map((name) => join(dir, name))
      const foreign = await stranger(STRANGER, dir, '9')
      pid = foreign.pid
      moveTo(cgroup, pid)
      foreign.child.stdin.end('go\n')
      await foreign.exited
    })
    expectComplete(events)
    expect(told(events)).toEqual(['ATTACH .'])
    const [attach] = changes(events)
    expect(attach?.source).toBe('tp_btf/cgroup_attach_task')
    expect(attach).toMatchObject({ process: { pid }, cgroupChange: { actorPid: process.pid } })
    const found = opens(events).filter((event) => paths.includes(event.fileOpen.path))
    expect(found.map((event) => event.fileOpen.path)).toEqual(paths)
    expect(found.map((event) => event.process.pid === pid)).toEqual([true, false])
    expect(found[0]?.process.tid).not.toBe(pid)
    expect(connects(events).map(({ connect, process }) => [connect.port, process.pid])).toEqual([[9, pid]])
  })

  test('that was moved in and out again stays the sandbox’s, also if a thread then execs', async () => {
    const elsewhere = freeCgroupPath()
    mkdirSync(elsewhere)
    try {
      let pid = 0
      const events = await whileItWaits(async (cgroup) => {
        const foreign = await stranger(THREAD_EXEC)
        pid = foreign.pid
        moveTo(cgroup, pid)
        moveTo(elsewhere, pid)
        foreign.child.stdin.end('g')
        await foreign.exited
      })
      expectComplete(events)
      expect(told(events)).toEqual(['ATTACH .', `ESCAPE /${basename(elsewhere)}`])
      expect(execWith(events, 'by-a-thread').process.pid).toBe(pid)
    } finally {
      await removeCgroupTree(elsewhere)
    }
  })

  test('of which one thread is moved to a threaded cgroup is told by thread', async () => {
    const run = await sluiceRun(['/usr/bin/python3', '-c', THREADED, ROOT])
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    expect(told(run.events).slice(0, 2)).toEqual(['MKDIR ./sub', 'ATTACH ./sub'])
    const attach = changes(run.events)[1]
    expect(attach?.process.pid).toBe(execs(run.events)[0]?.process.pid)
    expect(attach?.process.tid).not.toBe(attach?.process.pid)
    expect(hasExecWith(run.events, 'by-thread')).toBe(true)
  })

  test('in a cgroup namespace of its own is told by the real paths', async (context) => {
    await withTempDir(async (dir) => {
      const script = `mount -t cgroup2 none ${dir} || exit ${NOT_ALLOWED}
        mkdir ${dir}/inner; echo 0 >${dir}/inner/cgroup.procs; /bin/true in-it
        echo 0 >${dir}/cgroup.procs; rmdir ${dir}/inner`
      const run = await sluiceRun(['unshare', '-Urm', '--cgroup', 'sh', '-c', script])
      context.skip(run.exitCode === NOT_ALLOWED, 'no cgroup mount in a user namespace')
      expect(run.exitCode, run.stderr).toBe(0)
      expectComplete(run.events)
      expect(told(run.events)).toEqual(['MKDIR ./inner', 'ATTACH ./inner', 'ATTACH .', 'RMDIR ./inner'])
      expect(hasExecWith(run.events, 'in-it')).toBe(true)
    })
  })

  test('moves on a v1 hierarchy are nobody’s business', async (context) => {
    const v1 = readdirSync(dirname(ROOT)).find((name) => name === 'pids' || name === 'freezer')
    context.skip(v1 === undefined, 'there is no v1 hierarchy here')
    const folder = join(dirname(ROOT), v1 ?? '', basename(freeCgroupPath()))
    mkdirSync(folder)
    try {
      const script = `echo 0 >${folder}/cgroup.procs; /bin/true in-v1; echo 0 >${dirname(folder)}/cgroup.procs`
      const run = await sluiceRun(['sh', '-c', script])
      expect(run.exitCode, run.stderr).toBe(0)
      expectComplete(run.events)
      expect(hasExecWith(run.events, 'in-v1')).toBe(true)
      expect(told(run.events)).toEqual([])
    } finally {
      rmdirSync(folder)
    }
  })
})
