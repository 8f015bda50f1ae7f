/**
 * What keeps an agent from starting is said in one line that names it and the next step, with the exit code of a failure; nothing that is
 * somebody else's is touched, and nothing of the attempt stays. The conditions are real.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { basename, dirname, join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { loadAddon } from '../../src/native/addon.js'
import { pinSchema } from '../../src/sensor/pin-folder.js'
import { mountOwnBpfFs } from '../support/bpf-fs.js'
import { privileged } from '../support/privileged.js'
import { SLUICE_BIN, tempDirForAll, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const DEADLINE_MS = 60_000
const addon = skip ? null : loadAddon()
const schema = addon === null ? '' : pinSchema(addon)

interface Place {
  readonly dir: string
  readonly pinDir: string
  readonly socket: string
  /** Is given back after the attempt. */
  readonly held: { close(): unknown }[]
}

interface Condition {
  readonly what: string
  readonly agent?: Record<string, unknown>
  readonly args?: (place: Place) => string[]
  readonly prepare?: (place: Place) => unknown
  /** Behind `sluice: `; DIR stands for the test's folder. */
  readonly said: string
  readonly exitCode?: number
}

/** One of our maps, at any name below the pin folder. */
function pin(place: Place, name: string, map = 'sl_state'): void {
  const path = join(place.pinDir, name)
  mkdirSync(dirname(path), { recursive: true })
  const object = addon?.openObject('core')
  object?.load()
  object?.pinMap(map, path)
  object?.close()
}

const otherVersion = (name: string) =>
  `DIR/bpf/sluice/${name} has pins of another version of sluice, whose programs still run; ` +
  'start that version again, or end them: `sluice doctor --clean`'
const OWN_PIN_DIR = 'give the pins a folder of their own with agent.pinDir of the configuration'
const OTHER_SOCKET = 'name another socket with --socket'

const CONDITIONS: readonly Condition[] = [
  {
    what: 'another program at its socket',
    prepare: ({ socket, held }) =>
      new Promise((resolve) => held.push(net.createServer().listen(socket, () => resolve(null)))),
    said: `another program listens on DIR/x.sock; ${OTHER_SOCKET}`,
  },
  {
    what: 'a file at its socket',
    prepare: ({ socket }) => writeFileSync(socket, 'mine'),
    said: `DIR/x.sock is there and is not a socket; ${OTHER_SOCKET}`,
  },
  {
    what: 'a folder at its socket',
    prepare: ({ socket }) => mkdirSync(socket),
    said: `DIR/x.sock is there and is not a socket; ${OTHER_SOCKET}`,
  },
  {
    what: 'no folder for its socket',
    args: ({ dir }) => ['--socket', join(dir, 'none/x.sock')],
    said: 'the folder of the control socket DIR/none/x.sock is not there; make it, or name another with --socket',
  },
  {
    what: 'a socket path that is too long',
    args: ({ dir }) => ['--socket', join(dir, 'x'.repeat(120))],
    said: `the socket path DIR/${'x'.repeat(120)} has LENGTH bytes; 107 are allowed; use a shorter directory`,
  },
  {
    what: 'a pin folder that is in no BPF file system',
    agent: { pinDir: '/tmp/none/pins' },
    said:
      '/tmp/none/pins is not in a BPF file system; leave agent.pinDir out, for /sys/fs/bpf/sluice, or mount one there: ' +
      'mkdir -p /tmp/none && mount -t bpf bpf /tmp/none',
    exitCode: 2,
  },
  {
    what: 'a pin folder that others use',
    prepare: (place) => pin(place, 'cilium/theirs'),
    said: `DIR/bpf/sluice/cilium is not sluice's; ${OWN_PIN_DIR}`,
  },
  {
    what: 'a pin that is another map',
    prepare: (place) => pin(place, `${schema}/sl_tasks`),
    said: otherVersion(schema),
  },
  {
    what: 'a pin that is no map at all',
    prepare: ({ pinDir }) => mkdirSync(join(pinDir, schema, 'sl_tasks'), { recursive: true }),
    said: otherVersion(schema),
  },
  {
    what: 'a pin that is no link',
    prepare: (place) => pin(place, `${schema}/link_sl_connect4`),
    said: otherVersion(schema),
  },
  {
    what: 'a folder where a link should be pinned',
    prepare: ({ pinDir }) => mkdirSync(join(pinDir, schema, 'link_sl_connect4'), { recursive: true }),
    said: otherVersion(schema),
  },
  {
    what: 'an engine that would be root',
    agent: { engineUser: 'root' },
    said: "the engine must not run as root: it is root or in root's group; name a user of its own",
  },
  {
    what: 'a pattern that is none',
    args: () => ['--watch', 'a'],
    said: "the pattern 'a' for cgroups to watch must begin with a slash: it is below the cgroup v2 root",
    exitCode: 2,
  },
  {
    what: 'an empty pattern',
    args: () => ['--watch', ''],
    said: "the pattern '' for cgroups to watch must begin with a slash: it is below the cgroup v2 root",
    exitCode: 2,
  },
  {
    what: 'a runtime folder that is none',
    agent: { runtimeDir: '/dev/null' },
    said: '/dev/null must be a directory that only root may write to; remove what is there',
  },
]

describe.skipIf(skip)(`an agent does not start, and says so in one line, ${reason}`, () => {
  const states = tempDirForAll()
  // Side by side: each has folders and a BPF file system of its own, and what is late is found out by waiting.
  it.concurrent.each(CONDITIONS.map((condition) => [condition.what, condition] as const))(
    '%s',
    async (_, condition) => {
      await withTempDir(async (dir) => {
        const bpfFs = mountOwnBpfFs(dir)
        const place: Place = { dir, pinDir: bpfFs.pinDir, socket: join(dir, 'x.sock'), held: [] }
        try {
          const config = join(dir, 'config.yaml')
          // The engine's user gets there, and no further.
          const stateDir = join(states(), basename(dir))
          const agent = { runtimeDir: join(dir, 'run'), stateDir, pinDir: bpfFs.pinDir, ...condition.agent }
          writeFileSync(config, JSON.stringify({ agent }))
          await condition.prepare?.(place)
          const args = condition.args?.(place) ?? []
          const socket = args.includes('--socket') ? [] : ['--socket', place.socket]
          const command = ['agent', '--config', config, '--log-level', 'warn', ...socket, ...args]
          const before = contents(dir)
          const ended = await execa(SLUICE_BIN, command, {
            reject: false,
            all: true,
            stdin: 'ignore',
            timeout: DEADLINE_MS,
          })
          const length = String(dir.length + 121)
          const said = condition.said.replaceAll('DIR', dir).replace('LENGTH', length)
          expect({ exitCode: ended.exitCode, said: ended.all }).toEqual({
            exitCode: condition.exitCode ?? 1,
            said: `sluice: ${said}`,
          })
          expect(contents(dir)).toEqual(before)
        } finally {
          for (const each of place.held) each.close()
          bpfFs.unmount()
        }
      })
    },
  )
})

/** Sockets, and pins with their folders; what a runtime folder holds is an agent's own business. */
function contents(dir: string): string[] {
  const pins = readdirSync(join(dir, 'bpf'), { recursive: true, encoding: 'utf8' })
  const sockets = ['x.sock', 'run/control.sock'].filter((name) => existsSync(join(dir, name)))
  return [...pins, ...sockets].sort()
}
