/** Least privilege: of the engine, of the command, and of whoever knocks at our sockets. */
import { execFileSync } from 'node:child_process'
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { cgroupMount } from '../support/cgroup-folder.js'
import { expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { untilThere } from '../support/shell-loops.js'
import { type Parts, type SluiceProcess, startSluice, tracesOf } from '../support/sluice-process.js'
import { readRecord, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const CAP_NET_ADMIN = 12n
const CAP_NET_RAW = 13n
const CAP_SYS_MODULE = 16n
const CAP_SYS_RAWIO = 17n
const CAP_SYS_PTRACE = 19n
const CAP_SYS_ADMIN = 21n
const CAP_PERFMON = 38n
const CAP_BPF = 39n
const CAP_CHOWN = 0n
const DROPPED = [
  ...[CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF],
]

/** Connects, sends what a gRPC client would begin with, and prints how much came back. */
const KNOCK = `
import os, socket, sys
path, uid, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_UNIX); s.settimeout(5)
if out: open(out + "/cgroup.procs", "w").write("0")
os.chdir(os.path.dirname(path))
if uid: os.setgroups([]); os.setgid(uid); os.setuid(uid)
try:
    s.connect(os.path.basename(path))
    s.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    print("answered" if s.recv(100) else "closed")
except OSError as e:
    print("closed" if e.errno in (32, 104) else "refused")
`

const SOCKETS = ['uplink.sock', 'control.sock']

function statusOf(pid: number | 'self'): Map<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n')
  return new Map(lines.map((line) => [line.split(':')[0] ?? '', line.split('\t').slice(1).join(' ')]))
}

function capabilities(status: Map<string, string>, set: string): bigint {
  return BigInt(`0x${status.get(set) ?? '0'}`)
}

async function withRun(command: string[], body: (run: SluiceProcess, parts: Parts) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    const run = startSluice(command, { dir, cwd: dir })
    const parts = await run.running()
    try {
      await body(run, parts)
    } finally {
      run.child.kill('SIGTERM')
      await run.result
    }
  })
}

describe.skipIf(skip)(`privilege ${reason}`, () => {
  test('the engine has none: its own user, no group, no capability, not to be looked into', async () => {
    await withRun(['sleep', '60'], async (_, { engine, sensor }) => {
      const uid = execFileSync('id', ['-u', 'sluice-engine'], { encoding: 'utf8' }).trim()
      expect(uid).not.toBe('0')
      const status = statusOf(engine)
      expect(status.get('Uid')).toBe([uid, uid, uid, uid].join(' '))
      expect(status.get('Gid')).not.toMatch(/\b0\b/)
      expect(status.get('Groups')?.trim()).toBe('')
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) expect(capabilities(status, set), set).toBe(0n)
      // Not dumpable: its files in /proc belong to root.
      expect(statSync(`/proc/${engine}/environ`).uid).toBe(0)
      expect(statusOf(sensor).get('Uid')).toBe('0 0 0 0')
    })
  })

  test('our folder and sockets are for nobody else', async () => {
    await withRun(['sleep', '60'], async (_, parts) => {
      const { runDir } = tracesOf(parts)
      expect(statSync(runDir)).toMatchObject({ uid: 0 })
      expect(statSync(runDir).mode & 0o777).toBe(0o700)
      expect(SOCKETS.map((name) => statSync(join(runDir, name)).mode & 0o007)).toEqual([0, 0])
    })
  })

  test('the command lacks what could undo the watching, and keeps the rest', async () => {
    const run = await sluiceRun(['cat', '/proc/self/status'])
    expect(run).toMatchObject({ exitCode: 0, stderr: '' })
    const status = new Map(run.stdout.split('\n').map((line) => [line.split(':')[0] ?? '', line.split('\t')[1] ?? '']))
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) {
      for (const capability of DROPPED) {
        expect(capabilities(status, set) & (1n << capability), `${set} ${capability}`).toBe(0n)
      }
    }
    expect(capabilities(status, 'CapEff') & (1n << CAP_CHOWN)).not.toBe(0n)
    expect(status.get('NoNewPrivs')).toBe('1')
  })

  test('--user root may gain privileges, but not those', async () => {
    const run = await sluiceRun(['cat', '/proc/self/status'], { options: ['--user', 'root'] })
    const status = new Map(run.stdout.split('\n').map((line) => [line.split(':')[0] ?? '', line.split('\t')[1] ?? '']))
    expect(status.get('NoNewPrivs')).toBe('0')
    for (const set of ['CapPrm', 'CapEff', 'CapBnd']) {
      for (const capability of DROPPED) {
        expect(capabilities(status, set) & (1n << capability), `${set} ${capability}`).toBe(0n)
      }
    }
  })

  test.each(SOCKETS)('%s answers nobody but the parts of its own run, root neither', async (name) => {
    await withRun(['sleep', '60'], async (_, parts) => {
      const path = join(tracesOf(parts).runDir, name)
      const knock = async (uid: string) => (await execa('/usr/bin/python3', ['-c', KNOCK, path, uid, ''])).stdout
      expect(await knock('0')).toBe('closed')
      expect(await knock('65534')).toBe('refused')
    })
  })

  /** What `KNOCK` says from inside a sandbox; `leaveTo`: the cgroup that it moves itself to before. */
  async function knockFromInside(name: string, leaveTo: string): Promise<{ said: string; refusals: unknown[] }> {
    const knock = '/usr/bin/python3 -c "$0" "$(cat path)" 0 "$1" > said'
    const script = `${untilThere('path')}; ${knock}; sleep 0.2; exit 4`
    return withTempDir(async (dir) => {
      const run = startSluice(['sh', '-c', script, KNOCK, leaveTo], { dir, cwd: dir })
      const parts = await run.running()
      writeFileSync(join(dir, 'path.new'), join(tracesOf(parts).runDir, name))
      renameSync(join(dir, 'path.new'), join(dir, 'path'))
      const { exitCode, stderr } = await run.result
      expect(exitCode).toBe(4)
      const refusals =
        stderr === ''
          ? []
          : stderr
              .trim()
              .split('\n')
              .map((line): unknown => JSON.parse(line))
      expectComplete(readRecord(run.record))
      return { said: readFileSync(join(dir, 'said'), 'utf8').trim(), refusals }
    })
  }

  test.each(SOCKETS)('%s refuses root inside the sandbox, writes it down, and the run goes on', async (name) => {
    const { said, refusals } = await knockFromInside(name, '')
    expect(said).toBe('closed')
    const sandbox = expect.stringMatching(/^\/sluice\/.+/)
    expect(refusals).toEqual([expect.objectContaining({ level: 'error', role: 'engine', uid: 0, sandbox })])
    expect(refusals).toEqual([
      expect.objectContaining({ pid: expect.any(Number), path: expect.stringContaining(name) }),
    ])
  })

  test.each(SOCKETS)('%s refuses root that has left the sandbox’s cgroup', async (name) => {
    const { said, refusals } = await knockFromInside(name, cgroupMount() ?? '')
    expect(said).toBe('closed')
    expect(refusals).toEqual([
      expect.objectContaining({ uid: 0, sandbox: null, reason: expect.stringContaining('is not') }),
    ])
  })
})
