/** What keeps a policy from being enforced for processes that others started: rights of root, and brokers that they can reach. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { readPtraceScope } from '../../src/base/policy-host.js'
import { Mode } from '../../src/proto/codec.js'
import { reachableBroker, requireEnforceable } from '../../src/sensor/enforceable.js'
import { requireTellingPrograms } from '../../src/sensor/enforceable-programs.js'
import { privileged } from '../support/privileged.js'
import { until } from '../support/sluice-process.js'

const { skip, reason } = privileged('bpf')
/** Of Yama. */
const NO_ATTACH = 3
const ENFORCED = { mode: Mode.MODE_ENFORCE }
/** PATH MODE UID COMMAND…: listens there below a /run and a /tmp of its own, then becomes the command as nobody. */
const LISTEN = `import os, socket, sys
path, mode, uid = sys.argv[1], int(sys.argv[2], 8), int(sys.argv[3])
os.makedirs(os.path.dirname(path), exist_ok=True)
s = socket.socket(socket.AF_UNIX); s.bind(path); os.chmod(path, mode); os.chown(path, uid, uid)
if len(sys.argv) > 4: os.chmod(os.path.dirname(path), int(sys.argv[4], 8))
os.execvp("setpriv", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "sleep", "60"])`

describe.skipIf(skip)(`a policy for processes of others ${reason}`, () => {
  const started: ChildProcess[] = []
  afterEach(() => {
    for (const child of started.splice(0)) child.kill('SIGKILL')
  })

  async function listening(path: string, mode: string, uid = '0', folder: string[] = []): Promise<ReadonlySet<number>> {
    const mounts = 'mount -t tmpfs none /run && mount -t tmpfs none /tmp && exec "$@"'
    const command = ['sh', '-c', mounts, 'sh', 'python3', '-c', LISTEN, path, mode, uid, ...folder]
    const child = spawn('unshare', ['--mount', ...command], { stdio: ['ignore', 'ignore', 'inherit'], cwd: '/' })
    started.push(child)
    await once(child, 'spawn')
    const pid = child.pid ?? 0
    await until('it sleeps', () => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n')
    return new Set([pid])
  }

  it('is refused where they can reach a broker, by its name, unless it says that this is meant', async () => {
    const pids = await listening('/run/docker.sock', '666')
    expect(reachableBroker(pids)).toEqual({ path: '/run/docker.sock', what: 'a container engine' })
    const unjudged = { pids, judgesUnix: false }
    expect(() => requireEnforceable(ENFORCED, unjudged)).toThrowError(
      /can reach a container engine at \/run\/docker.sock/,
    )
    expect(() => requireEnforceable({ ...ENFORCED, allowBrokers: true }, unjudged)).not.toThrow()
    expect(() => requireEnforceable(ENFORCED, { pids, judgesUnix: true })).not.toThrow()
    expect(() => requireEnforceable({ mode: Mode.MODE_MONITOR }, unjudged)).not.toThrow()
  })

  it('is refused where they could send by no socket at all: as root of a user namespace, over a network that leads out', async () => {
    const link = 'ip link add veth1 type veth peer veth2 && ip addr add 192.0.2.1/24 dev veth1 && ip link set veth1 up'
    const inNetwork = async (prepare: string) => {
      const command = ['sh', '-c', `ip link set lo up && ${prepare} && exec sleep 60`]
      const child = spawn('unshare', ['--user', '--map-root-user', '--net', ...command], { stdio: 'inherit', cwd: '/' })
      started.push(child)
      await once(child, 'spawn')
      await until('it sleeps', () => readFileSync(`/proc/${child.pid}/comm`, 'utf8') === 'sleep\n')
      return { pids: new Set([child.pid ?? 0]), judgesUnix: true }
    }
    const outside = await inNetwork(link)
    expect(() => requireEnforceable(ENFORCED, outside)).toThrowError(/NET_ADMIN over a network .* no hook sees/)
    expect(() => requireEnforceable({ ...ENFORCED, allowPrivileged: true }, outside)).not.toThrow()
    const inside = await inNetwork('true')
    expect(() => requireEnforceable(ENFORCED, inside)).not.toThrow()
  })

  it('for certain programs is refused where they could put another one in place, or take each other over', () => {
    const nets = [{ ports: [{ binaries: [{ path: '/usr/bin/git' }] }] }]
    const policy = { ...ENFORCED, nets }
    const none = new Set<number>()
    const self = new Set([process.pid])
    expect(() => requireTellingPrograms(policy, { pids: self, apart: true })).toThrowError(/run as root/)
    expect(() => requireTellingPrograms(policy, { pids: none, apart: true })).not.toThrow()
    const unheld = () => requireTellingPrograms(policy, { pids: none, apart: false })
    if (readPtraceScope() >= NO_ATTACH) expect(unheld).not.toThrow()
    else expect(unheld).toThrowError(/take each other over/)
    expect(() =>
      requireTellingPrograms({ ...policy, allowPrivileged: true }, { pids: self, apart: false }),
    ).not.toThrow()
    expect(() => requireTellingPrograms({ ...policy, nets: [] }, { pids: self, apart: false })).not.toThrow()
    const monitor = { ...policy, mode: Mode.MODE_MONITOR }
    expect(() => requireTellingPrograms(monitor, { pids: self, apart: false })).not.toThrow()
  })

  it.each<[path: string, mode: string, uid: string, folder: string[], isReached: boolean]>([
    ['/run/docker.sock', '660', '0', [], false],
    ['/run/docker.sock', '600', '65534', [], true],
    ['/run/dbus/system_bus_socket', '666', '0', [], true],
    ['/run/user/1000/bus', '666', '0', ['700'], false],
    ['/tmp/ssh-abc/agent.7', '600', '65534', ['755'], true],
    ['/run/other.sock', '666', '0', [], false],
  ])('looks at who may connect: %s %s of %s below %j: %s', async (path, mode, uid, folder, isReached) => {
    expect(reachableBroker(await listening(path, mode, uid, folder)) !== null).toBe(isReached)
  })

  it('is refused where they hold rights of root, unless it says that this is meant', () => {
    const self = { pids: new Set([process.pid]), judgesUnix: true }
    expect(() => requireEnforceable({ ...ENFORCED, allowBrokers: true }, self)).toThrowError(
      /privileged: its processes hold .*SYS_ADMIN/,
    )
    expect(() => requireEnforceable({ ...ENFORCED, allowBrokers: true, allowPrivileged: true }, self)).not.toThrow()
  })
})
