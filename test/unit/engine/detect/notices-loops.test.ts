import { describe, expect, it } from 'vitest'
import { LoopDetector } from '../../../../src/engine/detect/loop.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

type Step = string | { run: string; code?: number; writes?: string[]; denied?: boolean }

function found(steps: readonly Step[]) {
  const story = new Story()
  for (const step of steps) {
    const { run, code = 0, writes = [], denied = false } = typeof step === 'string' ? { run: step } : step
    const bash = story.exec(story.harness, ['bash', '-c', run])
    for (const path of writes) story.write(bash, path)
    if (denied) story.say({ kind: 'attempt', target: 'tcp 1.2.3.4:443', host: '', denied, count: 1 }, bash)
    story.exit(bash, code)
  }
  story.end()
  return story.tell(detectionBy(new LoopDetector())).map(({ title, measured, severity }) => [title, measured, severity])
}

const times = (count: number, step: (at: number) => Step | Step[]): Step[] =>
  Array.from({ length: count }, (_, at) => step(at)).flat()
const REPEAT = 'The same call again and again'
const CYCLE = 'The same few calls in turns'
const SIMILAR = 'Nearly the same call again and again'
const FAILING = 'The same thing fails again and again'
const edit = (at = 0): Step => ({ run: `sed -i s/${'abcdefghijkl'[at]}/x/ src/a.py`, writes: ['src/a.py'] })
const test: Step = { run: 'pytest -x', code: 1 }

describe('loop', () => {
  it.each<[string, Step[], unknown[]]>([
    ['four times the same is none', times(4, () => 'git status'), []],
    ['five times the same', times(5, () => 'git status'), [[REPEAT, 5, 'medium']]],
    [
      'ten times: told again, higher',
      times(10, () => 'git status'),
      [
        [REPEAT, 5, 'medium'],
        [REPEAT, 10, 'high'],
      ],
    ],
    [
      'more often than are kept: told again as long as it goes on',
      times(40, () => ['git status', 'cat x']).slice(0, 60),
      [
        [CYCLE, 4, 'medium'],
        [REPEAT, 5, 'medium'],
        [REPEAT, 5, 'medium'],
        [CYCLE, 8, 'high'],
        [REPEAT, 10, 'high'],
        [REPEAT, 10, 'high'],
        [CYCLE, 16, 'high'],
        [REPEAT, 20, 'high'],
        [REPEAT, 20, 'high'],
      ],
    ],
    [
      'two in turns: each once, until it is twice as long',
      times(9, () => ['git status', 'git log']),
      [
        [CYCLE, 4, 'medium'],
        [REPEAT, 5, 'medium'],
        [REPEAT, 5, 'medium'],
        [CYCLE, 8, 'high'],
      ],
    ],
    [
      'with other reads in between',
      times(5, (n) => ['git status', `cat file${'abcdefgh'[n]}.txt`]),
      [[REPEAT, 5, 'medium']],
    ],
    ['the same after an edit each time', times(8, (n) => ['pytest', edit(n)]), []],
    ['an edit ends a streak', [...times(4, () => 'pytest'), edit(), ...times(4, () => 'pytest')], []],
    [
      'a write outside of the workspace is no edit',
      times(5, () => ({ run: 'pytest', writes: ['/tmp/x'] })),
      [[REPEAT, 5, 'medium']],
    ],
    [
      'what a call writes each time it runs is no edit',
      times(7, () => ({ run: 'pytest', writes: ['.cache/last'] })),
      [[REPEAT, 5, 'medium']],
    ],
    [
      'in turns, with what each round writes anew',
      times(4, () => [{ run: 'pytest', writes: ['.cache/last'] }, 'git log']),
      [[CYCLE, 4, 'medium']],
    ],
    [
      'the same edit again and again is a loop itself',
      times(5, () => [edit(), 'pytest']),
      [
        [CYCLE, 4, 'medium'],
        [REPEAT, 5, 'medium'],
      ],
    ],
    ['two in turns', times(4, () => ['grep a f', 'grep b f']), [[CYCLE, 4, 'medium']]],
    ['three in turns', times(4, () => ['grep a f', 'ls', 'cat g']), [[CYCLE, 4, 'medium']]],
    ['edits that hardly differ', times(10, edit), []],
    ['in turns with an edit', times(6, (n) => ['grep a f', edit(n), 'cat g']), []],
    [
      'one random word each time',
      times(8, (n) => `curl -s https://api.example.com/v1/items/list?nonce=${'abcdefghij'[n]}xyz`),
      [[SIMILAR, 8, 'medium']],
    ],
    [
      'a number each time is the same',
      times(5, (n) => `curl https://api.example.com/?t=${17_000_000 + n}`),
      [[REPEAT, 5, 'medium']],
    ],
    ['reading on is none', times(12, (n) => `sed -n '${n * 50},${n * 50 + 49}p' f`), []],
    ['one that fails', times(5, () => test), [[REPEAT, 5, 'medium']]],
    [
      'one that fails with other arguments',
      times(8, (n) => ({ run: `pytest tests/test_${'abcdefgh'[n]}.py::Test${'PQRSTUVW'[n]}`, code: 1 })),
      [[FAILING, 8, 'medium']],
    ],
    ['a failing test with edits is work', times(10, (n) => [edit(n), test]), []],
    ['what our own policy refused is no loop', times(9, () => ({ run: 'curl x', code: 7, denied: true })), []],
  ])('%s', (_, steps, expected) => {
    expect(found(steps)).toEqual(expected)
  })

  it('names the calls that prove it, the latest ones', () => {
    const story = new Story()
    for (let at = 0; at < 5; at += 1) story.call('git status')
    const [finding] = story.tell(detectionBy(new LoopDetector()))
    const execs = story.facts.filter(({ kind, process }) => kind === 'exec' && process?.exe === '/usr/bin/bash')
    expect(finding?.evidence).toEqual(execs.map(({ uid }) => uid))
    expect(finding?.reason).toBe('"git status" was run 5 times, and nothing in the workspace changed in between')
  })

  it('takes its thresholds', () => {
    const story = new Story()
    for (let at = 0; at < 3; at += 1) story.call('git status')
    expect(story.tell(detectionBy(new LoopDetector({ repeats: 3 })))).toHaveLength(1)
  })
})
