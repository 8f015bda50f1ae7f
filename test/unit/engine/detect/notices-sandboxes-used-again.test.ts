import { describe, expect, it } from 'vitest'
import { SandboxReuseDetector } from '../../../../src/engine/detect/sandbox-reuse.js'
import { SandboxUses } from '../../../../src/engine/detect/sandbox-uses.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

type Start = readonly [sandbox: string, task: string, workdir: string]

function told(starts: readonly Start[]): string[] {
  const uses = new SandboxUses()
  return starts.flatMap(([sandbox, task, workdir]) => {
    const detection = detectionBy(new SandboxReuseDetector(uses))
    const started = { uid: 'u', timeMs: 0, time: '', process: null, kind: 'started', sandbox, task, workdir } as const
    return detection.take(started).findings.map(({ reason }) => reason)
  })
}

describe('sandbox_reuse', () => {
  it.each<[string, readonly Start[], string[]]>([
    [
      'another task in the sandbox',
      [
        ['b1', 't1', '/a'],
        ['b1', 't2', '/b'],
      ],
      ['the sandbox b1 was used for t1 before, and now for t2'],
    ],
    [
      'another task in the workspace',
      [
        ['b1', 't1', '/a'],
        ['b2', 't2', '/a'],
      ],
      ['the workspace /a was used for t1 before, and now for t2'],
    ],
    [
      'the same task again',
      [
        ['b1', 't1', '/a'],
        ['b1', 't1', '/a'],
      ],
      [],
    ],
    [
      'tasks without a name',
      [
        ['b1', '', '/a'],
        ['b1', 't1', '/a'],
        ['b1', '', '/a'],
      ],
      [],
    ],
    [
      'places of their own',
      [
        ['b1', 't1', '/a'],
        ['b2', 't2', '/b'],
      ],
      [],
    ],
  ])('%s', (_, starts, expected) => {
    expect(told(starts)).toEqual(expected)
  })

  it.each([
    ['soon after', 10_000, 0],
    ['long after, told once', 70_000, 1],
  ])('a program that starts %s the first one ended', (_, afterMs, count) => {
    const story = new Story()
    const server = story.exec(story.harness, ['server'])
    story.exit(story.harness)
    story.atMs += afterMs
    for (let at = 0; at < 3; at += 1) story.exec(server, ['worker'])
    expect(story.tell(detectionBy(new SandboxReuseDetector(new SandboxUses())))).toHaveLength(count)
  })
})
