import { describe, expect, it } from 'vitest'
import { type SummaryInput, summaryText } from '../../../src/cli/summary-text.js'
import { sample } from './sample-events.js'

const ended = sample('ended')
const summary = 'sandboxEnded' in ended ? ended.sandboxEnded.summary : null
const PLAIN = { color: false, columns: null }
const input: SummaryInput = {
  summary,
  command: ['make', 'all', 'x y'],
  status: { code: 2, signal: 0 },
  workdir: '/w',
  recordPath: '/w/r.jsonl',
  asRoot: false,
  policy: null,
  degraded: [],
  problems: [],
}

describe('the summary of a run', () => {
  const refusals = [
    { target: 'tcp 10.1.2.3:80', rule: 'default', count: '2' },
    { target: 'dns paste.example', rule: 'egress[1]', count: '1' },
  ]
  it.each([
    [{ name: 'coding-agent', enforced: true }, 'policy       coding-agent, enforced: 3 refused'],
    [{ name: 'coding-agent', enforced: false }, 'policy       coding-agent, only monitored: 3 would have been refused'],
  ])('says what came of the policy %j, and by which rule', (policy, line) => {
    const text = summaryText({ ...input, policy, summary: summary && { ...summary, refused: '3', refusals } }, PLAIN)
    expect(text).toContain(`  ${line}\n               tcp 10.1.2.3:80 (default) ×2, dns paste.example (egress[1])\n`)
  })

  it('says that a policy refused nothing', () => {
    const policy = { name: 'coding-agent', enforced: true }
    expect(summaryText({ ...input, policy }, PLAIN)).toContain(
      '  policy       coding-agent, enforced: 0 refused\n  record',
    )
  })

  it('has the command, its end, the counts, the first of each list and where the record is', () => {
    expect(summaryText(input, PLAIN).split('\n')).toEqual([
      "sluice: exit 2 after 3.4 s: make all 'x y'",
      '  processes    3, 1 program started',
      '               make',
      '  files        1,234 opened, 2 written, 5 failed',
      "               a, 'b c', /tmp/d, e, f, and 1 more",
      '  connections  1',
      '               tcp 127.0.0.1:80 ×2 (failed)',
      '  events       12,345, none lost',
      '  policy       none: this run was watched, nothing was refused',
      '  record       /w/r.jsonl',
      '',
    ])
  })

  it('says what is missing, and never that nothing is', () => {
    const text = summaryText({ ...input, problems: ['the disk is full'] }, PLAIN)
    expect(text).toContain('12,345, incomplete')
    expect(text).toContain('the disk is full')
    expect(text).not.toContain('none lost')
    expect(summaryText({ ...input, summary: null }, PLAIN)).toContain('ended without a summary')
  })

  it('says in one line that root can undo the watching', () => {
    expect(summaryText(input, PLAIN)).not.toContain('user')
    expect(summaryText({ ...input, asRoot: true }, PLAIN)).toContain(
      '\n  user         root, which can undo the watching; use --user\n',
    )
  })

  it('fits a terminal', () => {
    const lines = summaryText({ ...input, command: ['x'.repeat(300)] }, { color: false, columns: 60 }).split('\n')
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(60)
  })
})
