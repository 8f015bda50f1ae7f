/**
 * What the launcher puts around a command whose policy is enforced, and around no other: calls that fail, processes outside that it can't get
 * at, sockets that it does not find. And that usual programs do not mind.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { landlockAbi } from '../../src/cli/run/launch-layers.js'
import { privileged } from '../support/privileged.js'
import { SLUICE_BIN, sluiceRun, tempDirForAll } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const CALLS = fileURLToPath(new URL('../support/programs/confined_calls.py', import.meta.url))
const EPERM = 1
/** Nobody is there: what is not refused is not tried. */
const FOR_PERL = 'egress: [{cidr: 203.0.113.7/32, ports: [7], binary: [/usr/bin/perl]}]\n'
const OTHER_PROGRAM = `import runpy, socket, sys
print('connects', socket.socket().connect_ex(('203.0.113.7', 7)))
sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')`
const SCOPES_ABI = 6
const EACCES = 13
/** What the kernel runs for whoever crashes, or loads a module; and what cron runs, where it is. They are opened, and nothing is written. */
const BROKER_FILES = [
  '/proc/sys/kernel/core_pattern',
  '/proc/sys/kernel/modprobe',
  '/etc/crontab',
  '/etc/passwd',
].filter((path) => existsSync(path))
const OPENS_BROKERS = `import ctypes, os, sys
def opens(path):
    try: os.close(os.open(path, os.O_WRONLY))
    except OSError as error: return error.errno
    return 0
found = [opens(path) for path in sys.argv[1:]]
CLONE_NEWUSER = 0x10000000
if os.getuid() != 0: ctypes.CDLL(None).unshare(CLONE_NEWUSER); found += [opens(path) for path in sys.argv[1:]]
print(*found, sep='\\n')`

describe.skipIf(skip)(`a command that is run ${reason}`, () => {
  const dir = tempDirForAll()
  let server: Server

  beforeAll(async () => {
    server = createServer()
    await new Promise<void>((resolve) => void server.listen(join(dir(), 'outside.sock'), resolve))
  })
  afterAll(() => void server.close())

  function policyFile(mode: string, more = ''): string {
    const file = join(dir(), `${mode}${more === '' ? '' : '-more'}.yaml`)
    writeFileSync(file, `version: 1\nname: test\nmode: ${mode}\n${more}`)
    return file
  }

  async function calls(mode: string) {
    const { stdout, exitCode, events } = await sluiceRun(
      ['python3', CALLS, String(process.pid), join(dir(), 'outside.sock')],
      { options: ['--policy', policyFile(mode)] },
    )
    expect(exitCode).toBe(0)
    const errnos = stdout.split('\n').map((line): [string, number] => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    })
    return { errnos: Object.fromEntries(errnos), events }
  }

  it('is refused calls that get around a policy in enforce mode, and not those that it needs', async () => {
    const { errnos, events } = await calls('enforce')
    const isScoped = (await landlockAbi()) >= SCOPES_ABI
    const { 'signal outside': signalled, ...others } = errnos
    expect(others).toEqual({
      ...{ io_uring: EPERM, vsock: EPERM, netlink: 0, inet: 0, 'user namespace mount': EPERM, seize: EPERM },
      ...{ request_key: EPERM, add_key: EPERM, pidfd_getfd: EPERM, 'signal itself': 0, 'is a socket': 0 },
      // As debuggers do it: for what they start themselves.
      ...{ 'traced by its parent': 0, 'writes its memory': 0, "writes another's memory": 0 },
      ...{ 'reads its state': 0, 'writes a file': 0 },
    })
    expect(signalled).toBe(isScoped ? EPERM : 0)
    const [started] = events
    const degraded = started !== undefined && 'sandboxStarted' in started ? started.sandboxStarted.degraded : []
    expect(degraded.filter((loss) => loss.startsWith('seccomp:'))).toEqual([])
    expect(degraded).toContainEqual(expect.stringMatching(/^landlock: holds no files/))
  }, 60_000)

  it('gets nobody outside to run something for it by files of the machine, or is told to have tried', async () => {
    const policy = policyFile('enforce')
    const opens = ['python3', '-c', OPENS_BROKERS, ...BROKER_FILES]
    const run = async (...options: string[]) => {
      const { stdout, events } = await sluiceRun(opens, { options: ['--policy', policy, ...options] })
      const told = events.flatMap((event) =>
        'fileOpen' in event && event.fileOpen.access === 'WRITE' ? [event.fileOpen] : [],
      )
      const [started] = events
      const degraded = started !== undefined && 'sandboxStarted' in started ? started.sandboxStarted.degraded : []
      return { errnos: stdout.split('\n').map(Number), told, degraded }
    }
    const user = await run('--user', 'nobody')
    // By its own rights, and by those that it has in a user namespace of its own.
    expect(user.errnos).toEqual([...BROKER_FILES, ...BROKER_FILES].map(() => EACCES))
    for (const path of BROKER_FILES) {
      expect(user.told.filter((open) => open.path === path).map(({ errno }) => errno)).toContain(EACCES)
    }
    expect(user.degraded.filter((loss) => loss.startsWith('root'))).toEqual([])
    // Root owns them: that is said, and what it opens.
    const root = await run()
    expect(root.degraded).toContainEqual(expect.stringMatching(/^root/))
    const opened = BROKER_FILES.filter((_, index) => root.errnos[index] === 0)
    const paths = root.told.map(({ path }) => path)
    for (const path of opened) expect(paths).toContain(path)
  }, 60_000)

  it('keeps its processes apart where rules are for certain programs', async () => {
    const policy = policyFile('enforce', FOR_PERL)
    const { stdout, events, exitCode } = await sluiceRun(
      ['python3', '-c', OTHER_PROGRAM, CALLS, String(process.pid), join(dir(), 'outside.sock')],
      { options: ['--policy', policy, '--user', 'nobody'] },
    )
    expect(exitCode).toBe(0)
    for (const line of ['traced by its parent 1', 'writes its memory 13', "writes another's memory 13"]) {
      expect(stdout.split('\n')).toContain(line)
    }
    for (const line of ['reads its state 0', 'writes a file 0', 'signal itself 0', 'connects 1']) {
      expect(stdout.split('\n')).toContain(line)
    }
    const verdicts = events.flatMap((event) =>
      'connect' in event && event.connect.port === 7 ? [event.connect.verdict] : [],
    )
    expect(verdicts).toMatchObject([
      { decision: 'DENY', rule: 'egress[0]', reason: expect.stringContaining('for /usr/bin/perl only') },
    ])
  }, 60_000)

  it('does not run as root where rules are for certain programs, unless that is meant', async () => {
    const refused = await execa(SLUICE_BIN, ['run', '--policy', policyFile('enforce', FOR_PERL), 'true'], {
      reject: false,
    })
    expect(refused.failed).toBe(true)
    expect(refused.stderr).toMatch(
      /:4:\d+: error: egress\[0\]\.binary: can't be enforced here: its processes run as root, .*; run it as another user/,
    )
    const meant = policyFile('enforce', `${FOR_PERL}allow_privileged: true\n`)
    expect((await sluiceRun(['true'], { options: ['--policy', meant] })).exitCode).toBe(0)
  }, 60_000)

  it('may do all that without us where the policy only monitors', async () => {
    const { errnos } = await calls('monitor')
    expect(errnos).toMatchObject({
      netlink: 0,
      inet: 0,
      'user namespace mount': 0,
      'signal outside': 0,
      'is a socket': 1,
    })
    for (const call of ['io_uring', 'request_key', 'add_key']) expect(errnos[call]).not.toBe(EPERM)
  }, 60_000)

  it.each([
    [
      'git',
      'git init -q r && cd r && git config user.email a@b && git config user.name n && echo x > f && git add f && git commit -qm x && git log --oneline | wc -l',
    ],
    ['gcc', `printf 'int main(void) { return 0; }' > a.c && cc -o a a.c && ./a && echo 1`],
    [
      'node',
      `node -e 'const { Worker } = require("node:worker_threads"); new Worker("1", { eval: true }).on("exit", () => require("node:fs").readFile("/etc/hostname", () => require("node:child_process").exec("true", () => console.log(1))))'`,
    ],
    ['python', `python3 -c 'import multiprocessing as m; print(sum(m.Pool(2).map(int, ["1", "0"])))'`],
  ])(
    'runs usual programs under a policy, and under one for certain programs: %s',
    async (name, script) => {
      for (const more of ['', `${FOR_PERL}allow_privileged: true\n`]) {
        const workdir = join(dir(), `${name}${more.length}`)
        mkdirSync(workdir)
        const { stdout, exitCode } = await sluiceRun(['sh', '-ec', script], {
          options: ['--policy', policyFile('enforce', more), '--workdir', workdir],
        })
        expect({ stdout: stdout.trim(), exitCode }).toEqual({ stdout: '1', exitCode: 0 })
      }
    },
    60_000,
  )
})
