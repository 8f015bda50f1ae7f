import { describe, expect, it } from 'vitest'
import type { History, Item } from '../../../../src/engine/detect/history.js'
import { NoveltyDetector } from '../../../../src/engine/detect/novelty.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

const DAY_MS = 24 * 3_600_000
const T0_MS = Date.UTC(2026, 0, 31, 12)

function history(of: Partial<History> = {}, known: readonly string[] = []): History {
  const isNew = ({ kind, name }: Item) => !known.includes(`${kind} ${name}`)
  return {
    sessions: 9,
    usual: () => ({}),
    drift: [],
    driftSinceMs: T0_MS - 8 * DAY_MS,
    news: (items) => items.filter(isNew),
    ...of,
  }
}
const KNOWN = ['binary /usr/bin/agent', 'binary /usr/bin/bash', 'path $WORKDIR/src', 'host api.example']

function told(of: History | null): string[] {
  const story = new Story()
  const bash = story.exec(story.harness, ['bash', '-c', 'x'])
  story.write(bash, 'src/a.ts')
  story.write(bash, '/opt/x/y/z/deep')
  story.attempt(bash, 'tcp 1.2.3.4:443', 'api.example')
  story.attempt(bash, 'tcp 6.6.6.6:443', 'new.example')
  story.end()
  return story.tell(detectionBy(new NoveltyDetector(of))).map(({ reason }) => reason)
}

describe('novelty', () => {
  it('tells a list once a week, at the end of a session', () => {
    expect(told(history({}, KNOWN))).toEqual(['new since 2026-01-23: host new.example, path /opt/x/y'])
  })

  it('has on it what was new in sessions before', () => {
    const drift: Item[] = [{ kind: 'host', name: 'old.example' }]
    expect(told(history({ drift }, KNOWN))).toEqual([
      'new since 2026-01-23: host old.example, host new.example, path /opt/x/y',
    ])
  })

  it.each<[string, History | null]>([
    ['within the week', history({ driftSinceMs: T0_MS - 6 * DAY_MS }, KNOWN)],
    ['of an identity with few sessions', history({ sessions: 4 }, KNOWN)],
    ['where nothing is new', history({}, [...KNOWN, 'host new.example', 'path /opt/x/y'])],
    ['where nothing is kept', null],
  ])('says nothing %s', (_, of) => {
    expect(told(of)).toEqual([])
  })

  it('keeps a bounded number, whatever a session does', () => {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash', '-c', 'x'])
    for (let at = 0; at < 500; at += 1) story.write(bash, `/d${at}/${'x'.repeat(500)}/f`)
    const detector = new NoveltyDetector(history())
    const detection = detectionBy(detector)
    story.tell(detection)
    expect(detection.learned().items.length).toBeLessThan(40)
    expect(JSON.stringify(detection.learned()).length).toBeLessThan(6_000)
    expect(detector.shed()).toBeGreaterThan(400)
  })
})
