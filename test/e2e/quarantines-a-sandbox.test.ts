/** A sandbox that makes more cgroups than are kept is stopped from connecting, and that is told; nobody else notices. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import { cgroupMount } from '../support/cgroup-folder.js'
import { connects, expectComplete, tcpConnects } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { startSluice, until } from '../support/sluice-process.js'
import { readRecord, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EPERM = 1
const ECONNREFUSED = 111
const { SL_CGROUPS_BELOW_MAX } = ABI.limits

/** A child makes cgroups until it is stopped; then its parent tries to connect, and cleans up when told. */
const MAKER = `
import os, signal, socket, sys, time
root, count, stop, tamper = sys.argv[1], int(sys.argv[2]), sys.argv[3], len(sys.argv) > 4
own = root + open("/proc/self/cgroup").read().split("0::")[1].strip()
def connect():
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect_ex(("127.0.0.1", 9))
before = connect()
if tamper: open(own + "/cgroup.max.descendants", "w").write("max")
child = os.fork()
if child == 0:
    try:
        for i in range(count): os.mkdir(own + "/" + str(i))
    except OSError as error: os._exit(error.errno)
    os._exit(0)
_, status = os.waitpid(child, os.WUNTRACED)
made = len([name for name in os.listdir(own) if name.isdigit()])
print(before, connect(), os.WIFSTOPPED(status), made, flush=True)
for _ in range(6000):
    if os.path.exists(stop): break
    time.sleep(0.05)
if os.WIFSTOPPED(status): os.kill(child, signal.SIGKILL)
for i in range(made): os.rmdir(own + "/" + str(i))
`

describe.skipIf(skip)(`a sandbox ${reason}`, () => {
  test('can make as many cgroups as are kept; one that makes more all the same connects to nothing any more', async () => {
    await withTempDir(async (dir) => {
      const stop = join(dir, 'stop')
      const maker = (count: number, file: string) => [
        ...['/usr/bin/python3', '-c', MAKER, cgroupMount() ?? '', String(count), file],
      ]
      const fine = await sluiceRun(maker(SL_CGROUPS_BELOW_MAX + 10, '/'))
      expect(fine.stdout.split(' ')).toEqual([
        String(ECONNREFUSED),
        String(ECONNREFUSED),
        'False',
        String(SL_CGROUPS_BELOW_MAX),
      ])
      expect(fine.events.filter((event) => 'quarantine' in event)).toEqual([])

      const run = startSluice([...maker(SL_CGROUPS_BELOW_MAX + 10, stop), 'tamper'], { dir })
      let out = ''
      run.child.stdout?.on('data', (chunk: Buffer) => {
        out += chunk.toString()
      })
      await until('the sandbox is stopped', () => out !== '')
      // Another sandbox, and somebody who is in none, at the same time.
      const other = await sluiceRun(['bash', '-c', '(exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null; true'])
      expect(tcpConnects(other.events).map(({ connect }) => connect.errno)).toEqual([ECONNREFUSED])
      const stranger = createSocket('udp4')
      stranger.connect(9, '127.0.0.1')
      await once(stranger, 'connect')
      stranger.close()
      writeFileSync(stop, '')
      expect((await run.result).exitCode).toBe(0)

      expect(out.trim().split(' ')).toEqual([
        String(ECONNREFUSED),
        String(EPERM),
        'True',
        String(SL_CGROUPS_BELOW_MAX + 1),
      ])
      const events = readRecord(run.record)
      expectComplete(events)
      expect(connects(events).map(({ connect }) => connect.errno)).toEqual([ECONNREFUSED, EPERM])
      const quarantines = events.flatMap((event) => ('quarantine' in event ? [event.quarantine] : []))
      expect(quarantines).toEqual([{ cause: 'CGROUPS', pid: 0, stopped: true }])
    })
  })
})
