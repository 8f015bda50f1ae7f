/** Commands that come by standard input are told like those that stand in an argv: whole, once, with exact sizes, without secrets. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { EventJson, ProcessJson } from '../../src/proto/event-json.js'
import { compileC } from '../support/c-program.js'
import { exits, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { onPty, type PtyStep } from '../support/pty.js'
import { readRecord, SLUICE_BIN, type SluiceRunOptions, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const MIB = 2 ** 20
const KEPT_MAX = 32_768

type StdinEvent = Extract<EventJson, { stdin: unknown }> & { process: ProcessJson }

const inputs = (events: EventJson[]) => events.filter((event): event is StdinEvent => 'stdin' in event)
const textOf = (found: StdinEvent[]) => found.map((event) => event.stdin.text).join('')
const bytesOf = (found: StdinEvent[]) => found.reduce((sum, event) => sum + Number(event.stdin.originalBytes), 0)
const programOf = (event: StdinEvent) => event.process.exe.replace(/^.*\//, '').replace(/[\d.]+$/, '')

async function inputsOf(command: string[], options?: SluiceRunOptions): Promise<StdinEvent[]> {
  const run = await sluiceRun(command, options)
  expect(run.exitCode, run.stderr).toBe(0)
  expectComplete(run.events)
  return inputs(run.events)
}

const python = (code: string, options?: SluiceRunOptions) => inputsOf(['python3', '-c', code], options)

// Side by side, as each is about a run of its own.
describe.skipIf(skip)(`what a shell or an interpreter is told ${reason}`, { concurrent: true }, () => {
  test('comes line by line from one that reads byte by byte', async () => {
    const found = await inputsOf(['sh', '-c', 'printf "echo one\\necho two\\n: three" | bash'])
    expect(found.map((event) => event.stdin)).toEqual([
      { text: 'echo one\n', originalBytes: '9', truncated: false, unshown: false },
      { text: 'echo two\n', originalBytes: '9', truncated: false, unshown: false },
      { text: ': three', originalBytes: '7', truncated: false, unshown: false },
    ])
    expect(found.map(programOf)).toEqual(['bash', 'bash', 'bash'])
    expect(found[0]?.source).toBe('tp_btf/sys_exit')
  })

  test('comes in the blocks that it was read in from all others', async () => {
    const found = await inputsOf(['dash', '-c', 'printf "echo one\\necho two\\n" | dash'])
    expect(textOf(found)).toBe('echo one\necho two\n')
    const script = `import os\nprint(${'"x" + '.repeat(200)}"")\n`
    const piped = await inputsOf(['python3', '-'], { input: script })
    expect(textOf(piped)).toBe(script)
  })

  test('is told before what it leads to', async () => {
    const run = await sluiceRun(['sh', '-c', 'printf "/bin/true told" | bash'])
    const order = run.events.flatMap((event) =>
      'stdin' in event ? ['told'] : 'exec' in event && event.process?.args.includes('told') ? ['done'] : [],
    )
    expect(order.slice(0, 2)).toEqual(['told', 'done'])
  })

  test.each([20, 20_000])('comes by a here-document of %i lines', async (lines) => {
    const script = ': a line of it\n'.repeat(lines)
    await withTempDir(async (dir) => {
      writeFileSync(join(dir, 's'), `dash <<'EOF'\n${script}EOF\n`)
      const found = await inputsOf(['bash', join(dir, 's')])
      expect(textOf(found)).toBe(script)
      expect(bytesOf(found)).toBe(script.length)
    })
  })

  test('comes by a socket, however it is received', async () => {
    const found = await python(`
import socket, subprocess
ours, theirs = socket.socketpair()
ours.sendall(b'import socket, os\\n')
child = subprocess.Popen(['python3', '-c', '''
import os, socket
s = socket.socket(fileno=os.dup(0))
os.dup2(s.fileno(), 0)
s = socket.socket(fileno=0)
s.recv(2, socket.MSG_PEEK)
one = s.recv(100)
s.send(b"x")
two = s.recvmsg(100)[0]
s.send(b"x")
s.recvmsg_into([bytearray(100), bytearray(200)])
s.send(b"x")
os.readv(0, [bytearray(70), bytearray(70), bytearray(70)])
'''], stdin=theirs)
theirs.close()
for text in [b'b' * 80, b'c' * 250, b'd' * 200]:
  ours.recv(1)
  ours.sendall(text)
assert child.wait() == 0
`)
    expect(textOf(found)).toBe(`import socket, os\n${'b'.repeat(80)}${'c'.repeat(250)}${'d'.repeat(200)}`)
    expect(bytesOf(found)).toBe(18 + 80 + 250 + 200)
  })

  test('comes by 32-bit calls as well', async () => {
    await withTempDir(async (dir) => {
      const shell = join(dir, 'lua5.4')
      renameSync(compileC('reads_narrow', dir), shell)
      const found = await python(`
import socket, subprocess
ours, theirs = socket.socketpair()
ours.sendall(b'a' * 100 + b'b' * 100 + b'c' * 100)
assert subprocess.run(['${shell}'], stdin=theirs).returncode == 0
`)
      expect(textOf(found)).toBe('a'.repeat(100) + 'b'.repeat(100) + 'c'.repeat(100))
      expect(bytesOf(found)).toBe(300)
      expect(found.map(programOf)).toEqual(found.map(() => 'lua'))
    })
  })

  test('is what was typed at a terminal', async () => {
    await withTempDir(async (dir) => {
      const record = join(dir, 'record.jsonl')
      const command = [
        SLUICE_BIN,
        'run',
        '-q',
        '--record',
        record,
        '--',
        'env',
        'PS1=ready> ',
        'bash',
        '--norc',
        '--noprofile',
        '-i',
      ]
      const typed = [{ expect: 'ready> ' }, { send: 'echo ty""ped\r' }, { expect: 'typed' }, { send: 'exit\r' }]
      const result = await onPty(command, typed)
      expect(result.exitCode).toBe(0)
      const events = readRecord(record)
      expectComplete(events)
      expect(textOf(inputs(events)).replaceAll('\r', '\n')).toBe('echo ty""ped\nexit\n')
    })
  })

  const SECRET = 'geheim!7'
  const PYTHON = `import os, sys, termios
old = termios.tcgetattr(0)
new = termios.tcgetattr(0)
new[3] &= ~termios.ECHO
print("ask> ", end="", flush=True)
termios.tcsetattr(0, termios.TCSAFLUSH, new)
sys.stdin.readline()
termios.tcsetattr(0, termios.TCSAFLUSH, old)`
  test.each([
    ['read -s of bash', ['bash', '--norc', '-c', `read -s -p 'ask> ' x; echo got; read y; : $y`], '\r', 9],
    ['read -s -n of bash', ['bash', '--norc', '-c', `read -s -n 8 -p 'ask> ' x; echo got; read y; : $y`], '', 8],
    ['stty', ['dash', '-c', `stty -echo; printf 'ask> '; read x; stty echo; echo got; read y; : $y`], '\r', 9],
    ['termios', ['python3', '-c', `${PYTHON}\nprint("got", flush=True)\nsys.stdin.readline()`], '\r', 9],
  ])('is not told where the terminal did not show it: %s', async (_, command, end, size) => {
    await withTempDir(async (dir) => {
      const record = join(dir, 'record.jsonl')
      const typed: PtyStep[] = [
        { expect: 'ask> ' },
        { hidden: true },
        { send: `${SECRET}${end}` },
        { expect: 'got' },
        { send: 'seen\r' },
      ]
      const result = await onPty([SLUICE_BIN, 'run', '-q', '--record', record, '--', ...command], typed)
      expect(result).toMatchObject({ exitCode: 0, output: expect.not.stringContaining(SECRET) })
      const events = readRecord(record)
      expectComplete(events)
      expect(readFileSync(record, 'utf8')).not.toContain(SECRET.slice(0, 4))
      const found = inputs(events).map((event) => event.stdin)
      const unshown = found.filter((stdin) => stdin.unshown)
      expect(unshown.map(({ text, truncated }) => ({ text, truncated }))).toEqual(
        unshown.map(() => ({ text: '[redacted]', truncated: false })),
      )
      expect(unshown.reduce((sum, { originalBytes }) => sum + Number(originalBytes), 0)).toBe(size)
      const shown = found.filter((stdin) => !stdin.unshown).map(({ text }) => text)
      expect(shown.join('')).toBe('seen\n')
    })
  })

  test('keeps exact sizes where only the start of a read is kept', async () => {
    const found = await python('import os\nwhile os.read(0, 65536): pass', { input: 'x'.repeat(MIB) })
    expect(bytesOf(found)).toBe(MIB)
    for (const { stdin } of found) {
      expect(stdin.text.length).toBe(Math.min(Number(stdin.originalBytes), KEPT_MAX))
      expect(stdin.truncated).toBe(Number(stdin.originalBytes) > KEPT_MAX)
    }
  })

  test('is only counted after so much that it must be data', async () => {
    const found = await python('import os\nwhile os.read(0, 65536): pass', { input: 'x'.repeat(40 * MIB) })
    expect(bytesOf(found)).toBe(40 * MIB)
    expect(textOf(found).length).toBeLessThanOrEqual(5 * MIB)
    expect(found.at(-1)?.stdin).toMatchObject({ text: '', truncated: true })
  })

  test('is told though no line ends', async () => {
    const code = `
import os, time
for i in range(5000): os.read(0, 1)
time.sleep(5)
`
    const run = await sluiceRun(['python3', '-c', code], { input: 'y'.repeat(5000) })
    expectComplete(run.events)
    const found = inputs(run.events)
    expect(textOf(found)).toBe('y'.repeat(5000))
    expect(found.length).toBeLessThan(10)
    // By the sweep, not at its end.
    const end = exits(run.events).find((event) => event.process.execId === found[0]?.process.execId)
    expect(Date.parse(end?.time ?? '') - Date.parse(found.at(-1)?.time ?? '')).toBeGreaterThan(1500)
  })

  test('is told by every thread and by what it forks', async () => {
    const found = await python(
      `
import os, threading
lock = threading.Lock()
def read():
  for i in range(100):
    with lock: os.read(0, 1)
threads = [threading.Thread(target=read) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
if os.fork() == 0:
  os.read(0, 100)
  os._exit(0)
os.wait()
`,
      { input: 'z'.repeat(500) },
    )
    expect(textOf(found)).toBe('z'.repeat(500))
    expect(bytesOf(found)).toBe(500)
  })

  test('hides secrets, and keeps all other bytes', async () => {
    const secret = 'hunter2hunter2'
    const hidden = await inputsOf(['bash'], {
      input: `export API_TOKEN=${secret}\ncurl -u me:${secret} -V >/dev/null; :\n`,
    })
    expect(textOf(hidden)).not.toContain(secret)
    expect(textOf(hidden)).toMatch(/^export API_TOKEN=\[redacted:[0-9a-f]{8}\]\ncurl -u me:\[redacted/)
    const binary = await python(`
import subprocess
subprocess.run(['python3', '-c', 'import os; os.read(0, 999)'], input=bytes(range(256)))
`)
    expect(binary.map((event) => event.stdin.originalBytes)).toEqual(['256'])
    expect(binary[0]?.stdin.text).toContain('\u0000\u0001')
    expect(binary[0]?.stdin.text).toContain('\\xff')
  })

  test('is not what other programs read, nor what has a name, nor another descriptor', async () => {
    await withTempDir(async (dir) => {
      const path = join(dir, 'script')
      writeFileSync(path, 'true\n')
      const script = `echo x | cat >/dev/null; bash < ${path}; bash </dev/null; python3 -c 'import os; os.read(3, 9)' 3<<<x`
      expect(await inputsOf(['bash', '-c', script])).toEqual([])
    })
  })
})
