/**
 * Rules for certain programs (`binary`): the program that a rule names gets to the neighbour, and nothing else does that is not that very file,
 * whatever it is called, wherever it lies and whoever starts it. What counts is what arrived.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { ABI } from '../../../src/native/generated/abi.js'
import { HostForm, type IBinary, type ICompiledPolicy, Mode } from '../../../src/proto/codec.js'
import { EPERM, lastNumber, openForAll, script } from '../../support/bypass.js'
import { addressBytes, net, type RunOptions, SANDBOX_ID, TCP, testPolicy } from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { waitFor } from '../../support/sensor-process.js'
import { ALLOWED, PORT } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const PYTHON = '/usr/bin/python3'
const LOADER = '/lib64/ld-linux-x86-64.so.2'
/** A changed file is looked at within a second, by a sensor that has its turn. */
const KNOWN_MS = 20_000
const TRY_MS = 100
const WAYS = [
  'tcp',
  'tcp-mapped',
  'udp-sendto',
  'udp-sendmsg',
  'udp-sendmmsg',
  'udp-connected',
  'tfo-sendto',
  'mptcp',
  'ping',
]
const URING_WAYS = ['connect', 'connect-async', 'connect-poll', 'sendmsg', 'send-to']

/** The neighbour is there for these programs only. */
function forPrograms(binaries: readonly IBinary[], changes: Partial<ICompiledPolicy> = {}): ICompiledPolicy {
  const { ports, ...rest } = net(ALLOWED.v4)
  return testPolicy({
    nets: [{ ...rest, ports: (ports ?? []).map((each) => ({ ...each, binaries: [...binaries] })) }],
    ...changes,
  })
}

describe.skipIf(skip)(`a sandbox whose policy allows a neighbour to one program ${reason}`, () => {
  const bypass = openForAll()
  let reach = ''
  let other = ''

  beforeAll(async () => {
    reach = bypass().program('reach')
    other = join(bypass().dir, 'other')
    copyFileSync(reach, other)
    await bypass().sandbox.apply(forPrograms([{ path: reach }]))
  })

  /** What a program ended with, and whether its text arrived. */
  async function got(command: (text: string) => readonly string[], options: RunOptions = {}) {
    const text = bypass().text('program')
    const { out } = await bypass().sandbox.run(command(text), options)
    const errno = lastNumber(out)
    const arrived =
      errno === 0 ? await bypass().network.arrives(ALLOWED.v4, text) : bypass().network.hasArrived(ALLOWED.v4, text)
    return { errno, arrived }
  }
  const tcp = (program: string, text: string) => [program, 'tcp', ALLOWED.v4, String(PORT), text]
  const by = (program: string) => got((text) => tcp(program, text))
  const python = (code: string) => got((text) => [PYTHON, '-c', code, ALLOWED.v4, String(PORT), text, other])
  const OPEN = { errno: 0, arrived: true }
  const CLOSED = { errno: EPERM, arrived: false }

  it.each(WAYS)(
    'opens it to that program, and not to a copy of it, by %s',
    async (way) => {
      const through = (program: string) => got((text) => [program, way, ALLOWED.v4, String(PORT), text])
      const outcome = await through(reach)
      // Not here on this machine.
      if (outcome.errno > EPERM) return
      expect(outcome).toEqual(OPEN)
      expect(await through(other)).toEqual(CLOSED)
    },
    60_000,
  )

  it('opens it to what io_uring does for that program, and not for another', async () => {
    const uring = bypass().program('reach_uring')
    const copy = join(bypass().dir, 'other-uring')
    copyFileSync(uring, copy)
    await bypass().sandbox.apply(forPrograms([{ path: uring }]))
    for (const way of URING_WAYS) {
      const through = (program: string) => got((text) => [program, way, ALLOWED.v4, String(PORT), text])
      const outcome = await through(uring)
      if (outcome.errno > EPERM) continue
      expect([way, outcome, await through(copy)]).toEqual([way, OPEN, CLOSED])
    }
    await bypass().sandbox.apply(forPrograms([{ path: reach }]))
  }, 60_000)

  it('goes by the file: other names of it are that program, and its name on another file is not', async () => {
    const { dir } = bypass()
    const [hard, soft] = [join(dir, 'hard'), join(dir, 'soft')]
    symlinkSync(reach, soft)
    mkdirSync(join(dir, 'elsewhere'))
    copyFileSync(reach, join(dir, 'elsewhere', 'reach'))
    expect(await by(soft)).toEqual(OPEN)
    expect(await by(join(dir, 'elsewhere', 'reach'))).toEqual(CLOSED)
    expect(await got((text) => ['bash', '-c', 'exec -a "$0" "$@"', reach, ...tcp(other, text)])).toEqual(CLOSED)
    linkSync(reach, hard)
    // That changed the file, which has to be looked at again.
    await becomes(reach, OPEN)
    expect(await by(hard)).toEqual(OPEN)
  }, 60_000)

  it.each([
    ['the loader', (text: string) => [LOADER, ...tcp(reach, text)]],
    [
      'another file mounted over it',
      (text: string) => shell('mount --bind "$OTHER" "$REACH"', tcp(reach, text), ['unshare', '-m']),
    ],
    [
      'the same, in a user namespace',
      (text: string) => shell('mount --bind "$OTHER" "$REACH"', tcp(reach, text), ['unshare', '-rm']),
    ],
    ['a copy at its path below another root', (text: string) => shell(CHROOT, tcp('/reach', text), [])],
    ['a copy in memory', (text: string) => ['python3', '-c', IN_MEMORY, reach, ...tcp('reach', text).slice(1)]],
    ['itself, unlinked', (text: string) => ['python3', '-c', UNLINKED, reach, ...tcp('reach', text).slice(1)]],
    ['itself, traced', (text: string) => ['strace', '-f', '-o', '/dev/null', ...tcp(reach, text)]],
  ] as [string, (text: string) => readonly string[]][])(
    'does not open it to %s',
    async (_, command) => {
      const env = { OTHER: other, REACH: reach, ROOT: join(bypass().dir, 'root') }
      expect(await got(command, { env })).toEqual(CLOSED)
      expect(await by(reach)).toEqual(OPEN)
    },
    60_000,
  )

  it('is held by what it looks at, not by what is there: a file put in its place is none until it is known', async () => {
    const { dir, sandbox } = bypass()
    const program = join(dir, 'upgraded')
    copyFileSync(reach, program)
    await sandbox.apply(forPrograms([{ path: program }]))
    expect(await by(program)).toEqual(OPEN)
    for (const change of [overwritten, replaced]) {
      process.kill(sandbox.sensorPid, 'SIGSTOP')
      try {
        change(program)
        expect(await by(program)).toEqual(CLOSED)
      } finally {
        process.kill(sandbox.sensorPid, 'SIGCONT')
      }
      await becomes(program, OPEN)
    }
    // From here on somebody else can write it.
    chmodSync(program, 0o777)
    await becomes(program, CLOSED)
    await sandbox.apply(forPrograms([{ path: reach }]))
  }, 60_000)

  it('does not know a program in a folder that others may write, nor below a link of theirs', async () => {
    const { dir, sandbox } = bypass()
    const folder = join(dir, 'open')
    mkdirSync(folder)
    chmodSync(folder, 0o777)
    copyFileSync(reach, join(folder, 'reach'))
    await sandbox.apply(forPrograms([{ path: join(folder, 'reach') }]))
    expect(await by(join(folder, 'reach'))).toEqual(CLOSED)
    const link = join(dir, 'theirs')
    execFileSync('ln', ['-s', reach, link])
    execFileSync('chown', ['-h', '65534', link])
    await sandbox.apply(forPrograms([{ path: link }]))
    expect(await by(link)).toEqual(CLOSED)
    await sandbox.apply(forPrograms([{ path: reach }]))
  }, 60_000)

  it('opens it to scripts by their interpreter', async () => {
    await bypass().sandbox.apply(forPrograms([{ path: PYTHON }]))
    const file = join(bypass().dir, 'script')
    writeFileSync(file, `#!/usr/bin/python3\n${CONNECTS}`, { mode: 0o755 })
    expect(await got((text) => [file, ALLOWED.v4, String(PORT), text])).toEqual(OPEN)
    expect(await by(reach)).toEqual(CLOSED)
    await bypass().sandbox.apply(forPrograms([{ path: reach }]))
  }, 60_000)

  it('opens it to its threads and children, and not to what these execute', async () => {
    await bypass().sandbox.apply(forPrograms([{ path: PYTHON }]))
    expect(await python(CONNECTS)).toEqual(OPEN)
    expect(
      await python(
        `import threading\ndef go():\n${indented(CONNECTS)}\nt = threading.Thread(target=go); t.start(); t.join()`,
      ),
    ).toEqual(OPEN)
    expect(await python(`import os\nif os.fork():\n  os.wait()\nelse:\n${indented(CONNECTS)}`)).toEqual(OPEN)
    expect(await python('import os, sys; os.execv(sys.argv[4], [sys.argv[4], "tcp", *sys.argv[1:4]])')).toEqual(CLOSED)
    expect(await python('import subprocess, sys; subprocess.run([sys.argv[4], "tcp", *sys.argv[1:4]])')).toEqual(CLOSED)
    await bypass().sandbox.apply(forPrograms([{ path: reach }]))
  }, 60_000)

  it('leaves a connection to whoever it is handed to, and no further one', async () => {
    await bypass().sandbox.apply(forPrograms([{ path: PYTHON }]))
    const handOver = (text: string) => [PYTHON, '-c', HANDS_OVER, ALLOWED.v4, String(PORT), text, '/usr/bin/busybox']
    expect(await got(handOver)).toEqual(OPEN)
    // An unconnected socket that the program has sent by: each send is its sender's.
    const shared = `import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'first', (sys.argv[1], int(sys.argv[2]))); os.set_inheritable(s.fileno(), True)
os.execv(sys.argv[4], [sys.argv[4], '${script('sends_by_descriptor.pl')}', str(s.fileno()), *sys.argv[1:4]])`
    expect(await got((text) => [PYTHON, '-c', shared, ALLOWED.v4, String(PORT), text, '/usr/bin/perl'])).toEqual(CLOSED)
    await bypass().sandbox.apply(forPrograms([{ path: reach }]))
  }, 60_000)

  it('ends the connections of other programs that an earlier policy allowed', async () => {
    const { sandbox, network } = bypass()
    const policed = join(bypass().dir, 'policed')
    await sandbox.apply(testPolicy())
    const ended = sandbox.run(['python3', '-c', KEEPS_SENDING, ALLOWED.v4, String(PORT), policed])
    expect(await network.arrives(ALLOWED.v4, 'kept')).toBe(true)
    await sandbox.apply(forPrograms([{ path: reach }]))
    writeFileSync(policed, '')
    expect((await ended).out.trim()).toMatch(/^(ECONNRESET|ECONNABORTED|EPIPE|EPERM)$/)
    expect(await by(reach)).toEqual(OPEN)
  }, 60_000)

  /** Verdicts on connects to the allowed address; they are told a little later than the call returns. */
  function judgedFromNowOn() {
    const { sandbox } = bypass()
    const before = sandbox.events().length
    return () =>
      sandbox
        .events()
        .slice(before)
        .filter(({ connect }) => connect?.addr && addressBytes(ALLOWED.v4).equals(connect.addr))
        .flatMap(({ connect }) => connect?.judged ?? [])
  }

  it('goes by the rule that names the program, where several are for one place', async () => {
    const { sandbox } = bypass()
    await sandbox.apply(
      forPrograms([
        { path: reach, rule: 1 },
        { path: other, rule: 2 },
      ]),
    )
    const judged = judgedFromNowOn()
    expect([await by(reach), await by(other)]).toEqual([OPEN, OPEN])
    expect(await got((text) => ['python3', '-c', CONNECTS, ALLOWED.v4, String(PORT), text])).toEqual(CLOSED)
    const { SL_VERDICT_ALLOW: allow, SL_VERDICT_DENY: deny, SL_WHY_RULE, SL_WHY_PROGRAM } = ABI.enums
    await waitFor('what was judged', () => judged().length >= 3)
    expect(judged().map(({ verdict, why, rule }) => [verdict, why, rule])).toEqual([
      [allow, SL_WHY_RULE, 1],
      [allow, SL_WHY_RULE, 2],
      [deny, SL_WHY_PROGRAM, 1],
    ])
    await sandbox.apply(forPrograms([{ path: reach }]))
  }, 60_000)

  it('only tells it in monitor mode', async () => {
    const { sandbox } = bypass()
    await sandbox.apply(forPrograms([{ path: reach }], { mode: Mode.MODE_MONITOR }))
    const judged = judgedFromNowOn()
    expect([await by(reach), await by(other)]).toEqual([OPEN, OPEN])
    const { SL_VERDICT_ALLOW, SL_VERDICT_WOULD_DENY } = ABI.enums
    await waitFor('what was judged', () => judged().length >= 2)
    expect(judged().map(({ verdict }) => verdict)).toEqual([SL_VERDICT_ALLOW, SL_VERDICT_WOULD_DENY])
    await sandbox.apply(forPrograms([{ path: reach }]))
  }, 60_000)

  it('holds for leases of names too, and while a policy takes another’s place', async () => {
    const { sandbox } = bypass()
    const allowPrivate = [{ prefix: addressBytes('10.203.0.0'), prefixLength: 120 }]
    const host = {
      ...{
        rule: 1,
        host: { form: HostForm.HOST_FORM_EXACT, base: 'ok.test' },
        allowPrivate,
        binaries: [{ path: reach }],
      },
      ports: [{ protocol: TCP, first: PORT, last: PORT }],
    }
    const policy = testPolicy({ nets: [], hosts: [host], digest: 'names' })
    await sandbox.apply(policy)
    const lease = {
      rule: 1,
      name: 'ok.test',
      addresses: [addressBytes(ALLOWED.v4)],
      ttlSeconds: 60,
      policyDigest: 'names',
    }
    await sandbox.host.command({ putLease: { sandboxId: SANDBOX_ID, lease } })
    expect([await by(reach), await by(other)]).toEqual([OPEN, CLOSED])
    await sandbox.apply(policy)
    expect([await by(reach), await by(other)]).toEqual([OPEN, CLOSED])
    await sandbox.apply(forPrograms([{ path: reach }]))
  }, 60_000)

  it('opens it to files of root’s with a hash that it names, and not to other content or to files that others may write', async () => {
    const { dir, sandbox } = bypass()
    const hashed = join(dir, 'hashed')
    copyFileSync('/usr/bin/perl', hashed)
    const sha256 = createHash('sha256').update(readFileSync(hashed)).digest()
    await sandbox.apply(forPrograms([{ sha256 }]))
    const connects = (program: string) =>
      got((text) => [program, script('connects.pl'), ALLOWED.v4, String(PORT), text])
    // Found in the usual folders.
    await until(() => connects('/usr/bin/perl'), OPEN, 60_000)
    expect(await by(reach)).toEqual(CLOSED)
    // Found as the sandbox runs it for a while.
    const running = sandbox.runWithInput([hashed, '-e', '<STDIN>'])
    await until(() => connects(hashed), OPEN, KNOWN_MS)
    running.end()
    await running.ended
    const theirs = join(dir, 'theirs-hashed')
    copyFileSync(hashed, theirs)
    chmodSync(theirs, 0o757)
    const other = sandbox.runWithInput([theirs, '-e', '<STDIN>'])
    await sleep(3_000)
    expect(await connects(theirs)).toEqual(CLOSED)
    other.end()
    await other.ended
    writeFileSync(hashed, Buffer.concat([readFileSync(hashed), Buffer.from('\n')]))
    expect(await connects(hashed)).toEqual(CLOSED)
    await sandbox.apply(forPrograms([{ path: reach }]))
  }, 120_000)

  async function becomes(program: string, outcome: typeof OPEN): Promise<void> {
    await until(() => by(program), outcome, KNOWN_MS)
  }

  async function until(attempt: () => Promise<typeof OPEN>, outcome: typeof OPEN, ms: number): Promise<void> {
    const end = performance.now() + ms
    for (let last = await attempt(); ; last = await attempt()) {
      if (last.errno === outcome.errno || performance.now() > end) {
        expect(last).toEqual(outcome)
        return
      }
      await sleep(TRY_MS)
    }
  }

  function overwritten(program: string): void {
    writeFileSync(program, Buffer.concat([readFileSync(program), Buffer.from('\n')]))
  }

  function replaced(program: string): void {
    copyFileSync(reach, `${program}.new`)
    renameSync(`${program}.new`, program)
  }
})

/** Runs a line before a command, in a place of its own. */
function shell(line: string, command: readonly string[], inside: readonly string[]): readonly string[] {
  return [...inside, 'sh', '-c', `${line} && exec "$@"`, 'sh', ...command]
}

const CHROOT = `mkdir -p "$ROOT/lib64" "$ROOT/lib/x86_64-linux-gnu" && cp "$OTHER" "$ROOT/reach" &&
cp /lib/x86_64-linux-gnu/libc.so.6 "$ROOT/lib/x86_64-linux-gnu/" && cp -L ${LOADER} "$ROOT/lib64/" && set -- chroot "$ROOT" "$@"`

const CONNECTS = `import errno, socket, sys
s = socket.socket()
e = s.connect_ex((sys.argv[1], int(sys.argv[2])))
if not e: s.send(sys.argv[3].encode())
print(e, flush=True)
`

const KEEPS_SENDING = `import errno, os, socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.send(b'kept'); end = time.time() + 20
while not os.path.exists(sys.argv[3]): time.sleep(0.01)
try:
    while time.time() < end: s.send(b' '); time.sleep(0.05)
    print('goes on')
except OSError as error: print(errno.errorcode[error.errno])
`

const IN_MEMORY = `import os, sys
fd = os.memfd_create('reach', 0)
os.write(fd, open(sys.argv[1], 'rb').read())
os.execv('/proc/self/fd/%d' % fd, sys.argv[1:])
`

/** Executed by its descriptor after its only name went. */
const UNLINKED = `import os, shutil, sys
copy = sys.argv[1] + '.gone'
shutil.copy(sys.argv[1], copy)
fd = os.open(copy, os.O_RDONLY); os.unlink(copy); os.set_inheritable(fd, True)
os.execv('/proc/self/fd/%d' % fd, sys.argv[1:])
`

/** Connects, and has another program send by what is its standard output then. */
const HANDS_OVER = `import os, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print(0, flush=True)
os.dup2(s.fileno(), 1)
os.execv(sys.argv[4], [sys.argv[4], 'echo', '-n', sys.argv[3]])
`

function indented(code: string): string {
  return code
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n')
}
