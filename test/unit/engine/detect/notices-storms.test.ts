import { describe, expect, it } from 'vitest'
import { BashHeavyDetector } from '../../../../src/engine/detect/bash-heavy.js'
import { ExecStormDetector } from '../../../../src/engine/detect/exec-storm.js'
import { RetryStormDetector } from '../../../../src/engine/detect/retry-storm.js'
import { VolumeDetector } from '../../../../src/engine/detect/volume.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

describe('exec_storm', () => {
  function storm(count: number, { gapMs = 10, lines = 1, calls = 1 } = {}) {
    const story = new Story()
    for (let call = 0; call < calls; call += 1) {
      const bash = story.exec(story.harness, ['bash', '-c', 'while true; do curl x; done'])
      for (let at = 0; at < count; at += 1) {
        story.atMs += gapMs
        story.exit(story.exec(bash, ['curl', `x${at % lines}`]))
      }
      story.exit(bash)
    }
    return story.tell(detectionBy(new ExecStormDetector())).map(({ measured }) => measured)
  }

  it.each([
    ['49 of a line', { count: 49 }, []],
    ['50 of a line, told once', { count: 200 }, [50]],
    ['that goes on: told again after the window, then after twice that', { count: 400, gapMs: 100 }, [50, 95, 96]],
    ['slowly', { count: 100, gapMs: 250 }, []],
    ['of many lines', { count: 200, lines: 10 }, []],
    ['in each of two calls', { count: 60, calls: 2 }, [50, 50]],
    ['over two calls, in neither enough', { count: 30, calls: 2 }, []],
  ])('%s', (_, { count, ...how }, expected) => {
    expect(storm(count, how)).toEqual(expected)
  })
})

describe('retry_storm', () => {
  function denials(targets: readonly string[], { gapMs = 100, count = 1, denied = true } = {}) {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash', '-c', 'x'])
    for (const target of targets) {
      story.atMs += gapMs
      story.say({ kind: 'attempt', target, host: '', denied, count }, bash)
    }
    return story.tell(detectionBy(new RetryStormDetector())).map(({ measured, threshold }) => [measured, threshold])
  }
  const many = (count: number) => Array.from({ length: count }, (_, at) => `tcp 10.0.0.${at}:80`)

  it.each([
    ['four at one target', Array(4).fill('a'), {}, []],
    ['five at one target', Array(5).fill('a'), {}, [[5, 5]]],
    ['one event that stands for many', ['a'], { count: 40 }, [[40, 5]]],
    ['twenty at as many', many(20), {}, [[20, 20]]],
    ['twenty in more than a minute', many(20), { gapMs: 4_000 }, []],
    ['forty within a minute, told once', many(40), {}, [[20, 20]]],
    ['none that were allowed', many(40), { denied: false }, []],
  ])('%s', (_, targets, how, expected) => {
    expect(denials(targets as string[], how)).toEqual(expected)
  })

  it('counts names that were refused', () => {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash', '-c', 'x'])
    for (let at = 0; at < 5; at += 1) story.say({ kind: 'name', name: 'paste.example', denied: true }, bash)
    expect(story.tell(detectionBy(new RetryStormDetector()))).toMatchObject([{ measured: 5 }])
  })
})

describe('bash_heavy', () => {
  function share(shells: number, programs: number) {
    const story = new Story()
    for (let at = 0; at < Math.max(shells, programs); at += 1) {
      if (at < programs) story.exit(story.exec(story.harness, ['git', 'status']))
      if (at < shells) story.call(`step ${at}`)
    }
    return story.tell(detectionBy(new BashHeavyDetector())).map(({ measured }) => measured)
  }

  it.each([
    ['too few calls', 19, 0, []],
    ['all of twenty', 20, 0, [1]],
    ['nine of ten', 27, 3, [0.9]],
    ['less', 26, 4, []],
  ])('%s', (_, shells, programs, expected) => {
    expect(share(shells, programs)).toEqual(expected)
  })

  it('is told again only after it was left', () => {
    const story = new Story()
    for (let at = 0; at < 30; at += 1) story.call(`a ${at}`)
    for (let at = 0; at < 5; at += 1) story.exit(story.exec(story.harness, ['git', 'status']))
    for (let at = 0; at < 60; at += 1) story.call(`b ${at}`)
    expect(story.tell(detectionBy(new BashHeavyDetector()))).toHaveLength(2)
  })
})

describe('volume', () => {
  const attempt = (target = 'tcp 1.2.3.4:443') =>
    ({ kind: 'attempt', target, host: '', denied: false, count: 1 }) as const

  function connections(perSecond: readonly number[], target?: string) {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash', '-c', 'x'])
    perSecond.forEach((count, second) => {
      story.atMs = second * 1_000
      const step = 1_000 / (count + 1) - 1
      for (let at = 0; at < count; at += 1) {
        story.atMs += step
        story.say(attempt(target), bash)
      }
    })
    return story.tell(detectionBy(new VolumeDetector())).map(({ title, measured }) => [title, measured])
  }
  const steady = (count: number, seconds: number) => Array<number>(seconds).fill(count)

  it('tells a burst at once, and once', () => {
    expect(connections([100, 100, 99, 0])).toEqual([])
    expect(connections([100, 100, 100, 50])).toEqual([['A burst of connections', 300]])
    expect(connections([60, 60, 60, 60, 60, 60])).toEqual([])
    expect(connections(steady(200, 3), 'unix /run/x')).toEqual([])
  })

  it('remembers no more of a burst than makes one, however many come', () => {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash', '-c', 'x'])
    const detector = new VolumeDetector()
    const kept = () => JSON.stringify(detector).length
    let most = 0
    const found = Array.from({ length: 5_000 }, (_, at) => {
      story.atMs = at / 10
      most = Math.max(most, at % 100 === 99 ? kept() : 0)
      return detector.fact(story.say(attempt(), bash), null)
    }).flat()
    expect(found.filter(({ title }) => title === 'A burst of connections')).toMatchObject([{ measured: 300 }])
    expect(most).toBeLessThan(4_000)
  })

  it('tells what stays above what the session itself does, after three windows', () => {
    const usual = steady(2, 200)
    expect(connections([...usual, ...steady(2, 100)])).toEqual([])
    const [first, ...more] = connections([...usual, ...steady(40, 60)])
    expect(first).toEqual(['More than is usual', expect.any(Number)])
    expect(more.length).toBeLessThan(4)
    expect(connections([...usual, ...steady(40, 15), ...usual])).toEqual([])
  })

  it('tells what creeps up', () => {
    const slow = Array.from({ length: 600 }, (_, second) => 5 + Math.floor(second / 30))
    expect(connections([...steady(5, 200), ...slow]).length).toBeGreaterThan(0)
  })

  it('tells more calls than a minute has for them', () => {
    const story = new Story()
    for (let at = 0; at < 61; at += 1) {
      story.atMs += 500
      story.call(`step ${at}`)
    }
    expect(story.tell(detectionBy(new VolumeDetector()))).toMatchObject([{ threshold: 60 }])
  })
})
