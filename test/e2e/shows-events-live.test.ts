/** `run --events`: lines on stderr while the command runs; a reader who does not read holds up neither the run nor the record. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { expectComplete, opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { goOn } from '../support/shell-loops.js'
import { readRecord, SLUICE_BIN, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const SLOW_READER = fileURLToPath(new URL('../support/programs/slow_reader.py', import.meta.url))
/** Longer than the live view waits for its reader at the end. */
const ASLEEP_SECONDS = 7
const OPENS = 60_000

describe.skipIf(skip)(`the live view ${reason}`, () => {
  test('shows every event to a reader who keeps up, before the summary', async () => {
    const { stderr } = await execa(SLUICE_BIN, ['run', '--events=all', '--', 'sh', '-c', '/bin/true a; /bin/true b'], {
      stdin: 'ignore',
    })
    const lines = stderr.split('\n')
    const at = lines.findIndex((line) => line.startsWith('sluice: exit 0 after'))
    const total = /^ {2}events +([\d,]+), none lost$/m.exec(stderr)?.[1]
    expect(at).toBe(Number(total))
    expect(lines.slice(0, at).filter((line) => / exec .*\/bin\/true [ab]$/.test(line))).toHaveLength(2)
    expect(stderr).not.toContain('not shown')
  })

  // Side by side: most of the time nobody reads.
  test.concurrent.each(['pipe', 'socket'])('drops lines that a full %s does not take, and says so', async (kind) => {
    await withTempDir(async (dir) => {
      const record = join(dir, 'record.jsonl')
      const script = `i=0; while [ $i -lt ${OPENS} ]; do i=$((i+1)); : >/dev/null; done; echo over; exit 5`
      const command = [SLUICE_BIN, 'run', '--events=all', '--record', record, '--', 'sh', '-c', script]
      const args = [SLOW_READER, kind, String(ASLEEP_SECONDS), '--', ...command]
      const { stdout } = await execa('/usr/bin/python3', args, { stdin: 'ignore' })
      const { exitCode, stderr, overAfter } = JSON.parse(stdout)
      expect(exitCode).toBe(5)
      expect(overAfter).toBeLessThan(30)
      const ours = stderr.split('\n').filter((line: string) => line.startsWith('sluice: '))
      expect(ours).toEqual([
        expect.stringMatching(/^sluice: (at least )?\d+ live lines were not shown: /),
        expect.stringMatching(/^sluice: exit 5 after /),
      ])
      const events = readRecord(record)
      expectComplete(events)
      const unshown = /^sluice: (\d+) live/.exec(ours[0])?.[1]
      const shown = stderr.split('\n').filter((line: string) => /^\d\d:\d\d:/.test(line)).length
      if (unshown !== undefined) expect(shown + Number(unshown)).toBe(events.length)
      expect(opens(events).filter((event) => event.fileOpen.path === '/dev/null')).toHaveLength(OPENS)
    })
  })

  test('hears signals while nobody reads it', async () => {
    await withTempDir(async (dir) => {
      const record = join(dir, 'record.jsonl')
      const flood = `i=0; while [ $i -lt 20000 ]; do i=$((i+1)); : >/dev/null; done`
      const script = `trap "echo over; exit 7" TERM; ${flood}; kill -TERM $PPID; ${goOn()}`
      const command = [SLUICE_BIN, 'run', '--events=all', '--record', record, '--', 'sh', '-c', script]
      const args = [SLOW_READER, 'pipe', '0', '--', ...command]
      const { stdout } = await execa('/usr/bin/python3', args, { stdin: 'ignore' })
      expect(JSON.parse(stdout).exitCode).toBe(7)
      expectComplete(readRecord(record))
    })
  })
})
