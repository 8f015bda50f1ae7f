/** On a terminal the command is in the foreground, gets what is typed, and every signal of the terminal exactly once. */
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { compileC } from '../support/c-program.js'
import { exits, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { onPty, type PtyResult, type PtyStep } from '../support/pty.js'
import { goOn } from '../support/shell-loops.js'
import { readRecord, SLUICE_BIN, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const INTERRUPT = '\u0003'
const QUIT = '\u001c'

/** Counts what it gets for half a second after the first, then exits 7. */
const COUNTING = `
import signal, sys, time
count = {"INT": 0, "TERM": 0, "QUIT": 0}
for name in count:
    signal.signal(getattr(signal, "SIG" + name), lambda number, frame, name=name: count.update({name: count[name] + 1}))
print("ready", flush=True)
end = time.monotonic() + 20
while not any(count.values()) and time.monotonic() < end:
    time.sleep(0.02)
until = time.monotonic() + 0.5
while time.monotonic() < until:
    time.sleep(0.02)
print(count, flush=True)
sys.exit(7)
`

async function watched(command: string[], steps: PtyStep[]): Promise<PtyResult & { events: EventJson[] }> {
  return withTempDir(async (dir) => {
    const record = join(dir, 'record.jsonl')
    const result = await onPty([SLUICE_BIN, 'run', '-q', '--record', record, '--', ...command], steps)
    return { ...result, events: readRecord(record) }
  })
}

describe.skipIf(skip)(`on a terminal ${reason}`, () => {
  test('^C ends the command, the code says so, and the record is complete', async () => {
    const command = ['sh', '-c', 'echo ready; exec sleep 60']
    const run = await watched(command, [{ expect: 'ready' }, { send: INTERRUPT }])
    expect(run).toMatchObject({ exitCode: 130, settingsKept: true })
    expectComplete(run.events)
    expect(exits(run.events).at(-1)?.exit).toMatchObject({ signal: 2 })
  })

  test.each([
    { name: '^C', key: INTERRUPT, count: "{'INT': 1, 'TERM': 0, 'QUIT': 0}" },
    { name: '^\\', key: QUIT, count: "{'INT': 0, 'TERM': 0, 'QUIT': 1}" },
  ])('$name reaches a command that handles it once, and its code is kept', async ({ key, count }) => {
    const run = await watched(['/usr/bin/python3', '-c', COUNTING], [{ expect: 'ready' }, { send: key }])
    expect(run.output).toContain(count)
    expect(run).toMatchObject({ exitCode: 7, settingsKept: true })
    expectComplete(run.events)
  })

  test('the command has the terminal, its size, and what is typed', async () => {
    const script =
      'for fd in 0 1 2; do test -t $fd && echo tty$fd; done; stty size; read line; echo "<$line>"; stty size'
    const steps: PtyStep[] = [{ expect: '40 100' }, { size: [50, 120] }, { send: 'typed\n' }]
    const run = await watched(['sh', '-c', script], steps)
    const lines = run.output.split('\r\n')
    expect(lines.slice(0, 4)).toEqual(['tty0', 'tty1', 'tty2', '40 100'])
    expect(lines.slice(-3)).toEqual(['<typed>', '50 120', ''])
    expect(run).toMatchObject({ exitCode: 0, settingsKept: true })
  })

  test('a new size reaches it as a signal', async () => {
    const script = `trap "stty size; exit 3" WINCH; echo ready; ${goOn()}`
    const run = await watched(['bash', '-c', script], [{ expect: 'ready' }, { size: [33, 77] }])
    expect(run.output).toContain('33 77')
    expect(run.exitCode).toBe(3)
  })

  test.each([
    { name: 'the command’s', trap: 'trap "exit 7" HUP', options: ['-q'], exitCode: 7 },
    { name: 'of the signal', trap: ':', options: ['-q'], exitCode: 129 },
    { name: 'the command’s with a live view', trap: 'trap "exit 7" HUP', options: ['--events'], exitCode: 7 },
  ])('a terminal that is closed leaves the exit code, $name, and the record', async ({ trap, options, exitCode }) => {
    await withTempDir(async (dir) => {
      const record = join(dir, 'record.jsonl')
      const script = `${trap}; echo rea''dy; ${goOn()}`
      const command = [SLUICE_BIN, 'run', ...options, '--record', record, '--', 'sh', '-c', script]
      const run = await onPty(command, [{ expect: 'ready' }, { sleep: 0.1 }, { hangUp: true }])
      expect(run.exitCode).toBe(exitCode)
      expectComplete(readRecord(record))
    })
  })

  test('it can be stopped and continued as a job', async () => {
    const inner = `${SLUICE_BIN} run -q -- sh -c 'echo ready; read line; echo "<$line>"; exit 9'`
    const script = `set -m; ${inner}; echo "stopped $?"; fg >/dev/null; echo "ended $?"`
    const steps: PtyStep[] = [
      { expect: 'ready' },
      { send: '\u001a' },
      { expect: 'stopped 148' },
      { sleep: 0.2 },
      { send: 'typed\n' },
    ]
    const run = await onPty(['bash', '-c', script], steps)
    expect(run.output).toContain('<typed>')
    expect(run.output).toContain('ended 9')
    expect(run.settingsKept).toBe(true)
  })

  test.each([
    ['an ordinary user', 'nobody'],
    ['root', 'root'],
  ])('%s can not type what the caller’s shell reads afterwards', async (_, user) => {
    await withTempDir(async (dir) => {
      chmodSync(dir, 0o755)
      const inner = `${SLUICE_BIN} run -q --user ${user} -- ${compileC('types', dir)}`
      const { output } = await onPty(['bash', '-c', `${inner}; read -t 1 -n 9 -r line; echo "line=<$line>"`], [])
      expect(output).toContain('native=1 wide=1 narrow=1 size=0')
      expect(output).toContain('line=<>')
    })
  })
})
