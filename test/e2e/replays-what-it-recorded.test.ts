/**
 * A real run, looked at while it happens and replayed: its tool calls as they were made, a loop that was really made, and the same answer each time.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { execs, expectGapless } from '../support/events.js'
import { ocsfProblems } from '../support/ocsf-schema.js'
import { privileged } from '../support/privileged.js'
import { SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
/** A harness that goes on after each call, as bash does not exec the last one in its place. */
const AGENT = `
for i in 1 2 3 4 5 6; do sh -c 'grep -c root /etc/passwd > /dev/null'; done
timeout 5 git --version
env A=1 sh -c 'echo new > made.txt; cat made.txt'
(echo sub > sub.txt; git --version) | cat
sh -c 'exit 3'
:`

function replay(file: string, ...args: string[]) {
  return execa(SLUICE_BIN, ['replay', ...args, file], { reject: false, maxBuffer: 64 * 1024 * 1024 })
}

describe.skipIf(skip)(`a replay ${reason}`, () => {
  test('has the calls that were made, and tells the loop', async () => {
    await withTempDir(async (dir) => {
      const options = ['--fail-on', 'detection', '--events']
      const { events: recorded, exitCode, stderr: live } = await sluiceRun(['bash', '-c', AGENT], { cwd: dir, options })
      expect(exitCode).toBe(3)
      expect(live).toMatch(/ detection .* medium loop: "grep -c root /)
      const file = join(dir, 'copy.jsonl')
      writeFileSync(file, recorded.map((event) => `${JSON.stringify(event)}\n`).join(''))
      const asOcsf = await execa(SLUICE_BIN, ['events', '-o', 'ocsf', file], { maxBuffer: 64 * 1024 * 1024 })
      const ocsf = asOcsf.stdout.split('\n').map((line) => JSON.parse(line))
      expect(ocsf).toHaveLength(recorded.length)
      expect(ocsf.flatMap(ocsfProblems)).toEqual([])
      const { stdout, stderr } = await replay(file)
      expect(stderr).toBe('')
      const events = stdout.split('\n').map((line) => JSON.parse(line) as EventJson & { recordedSeq?: string })
      expectGapless(events)
      // What was derived live is derived again, with the same uids in the same places.
      expect(events.map(({ recordedSeq: _, ...event }) => event)).toEqual(recorded)
      const calls = events.flatMap((event) => ('toolCall' in event ? [event.toolCall] : []))
      expect(calls.map(({ class: kind, command, exitCode: code }) => [kind, command, code])).toEqual([
        ...Array(6).fill(['SHELL', 'grep -c root /etc/passwd > /dev/null', 0]),
        ['PROGRAM', 'git --version', 0],
        ['SHELL', 'echo new > made.txt; cat made.txt', 0],
        ['PROGRAM', 'git --version', 0],
        ['PROGRAM', 'cat', 0],
        ['SHELL', 'exit 3', 3],
      ])
      expect(calls[7]?.filesChanged).toEqual([join(dir, 'made.txt')])
      const parts = execs(events).map(({ process, toolCallId }) => [process.args.join(' '), toolCallId !== ''])
      expect(parts).toContainEqual(['cat', true])
      const told = events.flatMap((event) => ('detection' in event ? [event.detection] : []))
      expect(told).toMatchObject([{ detector: 'loop', measured: 5 }])
      expect((await replay(file)).stdout).toBe(stdout)
      expect((await replay(file, '--fail-on', 'detection')).exitCode).toBe(3)
      const policy = join(dir, 'policy.yaml')
      writeFileSync(policy, 'version: 1\nname: p\nmode: monitor\nrespond: {loop: [freeze]}\n')
      const asked = (await replay(file, '--policy', policy)).stdout
        .split('\n')
        .map((line) => JSON.parse(line) as EventJson)
      const loop = recorded.find((event) => 'detection' in event)
      expect(asked.flatMap((event) => ('response' in event ? [event.response] : []))).toMatchObject([
        { action: 'FREEZE', state: 'REQUESTED', trigger: loop?.uid },
      ])
    })
  })

  test('says what it can not read', async () => {
    const missing = await replay('/no/such/file')
    expect(missing.exitCode).toBe(1)
    expect(missing.stderr).toMatch(/^sluice: .*\/no\/such\/file/)
    const garbage = await execa(SLUICE_BIN, ['replay', '-'], { input: 'nothing\n{"a":\n', reject: false })
    expect(garbage).toMatchObject({ exitCode: 0, stdout: '' })
    expect(garbage.stderr).toContain('sluice: 2 bad lines skipped')
  })
})
