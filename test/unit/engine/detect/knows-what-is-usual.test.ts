/** What is usual over sessions: how fast it is taught, how slowly it rises, and what `volume` makes of it. */
import { describe, expect, it } from 'vitest'
import { COUNTED, type History, type UsualVolume } from '../../../../src/engine/detect/history.js'
import { type KeptUsual, taught } from '../../../../src/engine/detect/usual.js'
import { VolumeDetector, type VolumeThresholds } from '../../../../src/engine/detect/volume.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

const DAY_MS = 24 * 3_600_000

/** One session of `mean` a window each `everyMs`. */
function sessions(means: readonly number[], { everyMs = DAY_MS, windows = 30, deviation = 1 } = {}): KeptUsual {
  let kept: KeptUsual | null = null
  means.forEach((mean, at) => {
    kept = taught(kept, { mean, deviation, windows }, 'calls', at * everyMs)
  })
  if (kept === null) throw new Error('no session')
  return kept
}
const times = (count: number, value: (at: number) => number) => Array.from({ length: count }, (_, at) => value(at))

describe('what is usual over sessions', () => {
  it('goes where the sessions are', () => {
    expect(sessions(times(10, () => 4)).mean).toBeCloseTo(4)
    expect(sessions(times(60, (at) => (at < 20 ? 8 : 2))).mean).toBeLessThan(2.2)
  })

  it('is moved little by one session, and less by a short one', () => {
    const before = times(20, () => 4)
    expect(sessions([...before, 0]).mean).toBeCloseTo(3.6)
    const kept = sessions(before)
    expect(taught(kept, { mean: 0, deviation: 0, windows: 3 }, 'calls', 20 * DAY_MS).mean).toBeCloseTo(3.9)
  })

  it('rises by a quarter a week at most, however many sessions teach it', () => {
    const hour = 3_600_000
    const calm = times(10, () => 8)
    const greedy = (hours: number) => sessions([...calm, ...times(hours, (at) => 8 + at)], { everyMs: hour })
    expect(greedy(6 * 24).mean).toBeCloseTo(8 * 1.25)
    expect(greedy(20 * 24).mean).toBeCloseTo(8 * 1.25 ** 3)
  })

  it('lets what strays rise as slowly', () => {
    const calm = times(10, () => 8)
    const wild = sessions([...calm, ...times(100, (at) => (at % 2 === 0 ? 0 : 16))], { everyMs: 3_600_000 })
    expect(wild.deviation).toBeLessThanOrEqual(sessions(calm).deviation * 1.25)
  })
})

const USUAL: UsualVolume = { calls: { mean: 2, deviation: 1, windows: 40 } }

function history(of: Partial<History> & { volume?: UsualVolume } = {}): History {
  const { volume = USUAL } = of
  return {
    ...{ sessions: 9, drift: [], driftSinceMs: 0, news: () => [] },
    usual: (windowMs) => (windowMs === 10_000 ? volume : {}),
    ...of,
  }
}

/** A session that makes so many calls in each window of 10 s. */
function told(perWindow: readonly number[], of: History | null, limits: Partial<VolumeThresholds> = {}) {
  const story = new Story()
  perWindow.forEach((count, window) => {
    for (let at = 0; at < count; at += 1) {
      story.atMs = window * 10_000 + at * Math.floor(9_000 / count)
      story.call(`step ${window} ${at}`)
    }
  })
  story.atMs = perWindow.length * 10_000 + 1_000
  story.end()
  const detector = new VolumeDetector({ callsPerMinute: 100_000, ...limits }, of)
  return { findings: story.tell(detectionBy(detector)), detector }
}

describe('volume', () => {
  it('measures a session by those before it, from its first window on', () => {
    const { findings } = told([25, 25, 25, 25], history())
    expect(findings).toMatchObject([{ detector: 'volume', measured: 25, baseline: 2, windowMs: 10_000 }])
    const [{ reason = '' } = {}] = findings
    expect(reason).toContain('anomalous tool-call volume: observed 25, baseline 2.0 (of this agent, from 9 earlier')
    expect(reason).toContain('window 10 s')
  })

  it.each<[string, History | null, Partial<VolumeThresholds>]>([
    ['nothing is kept', null, {}],
    ['there were few sessions', history({ sessions: 4 }), {}],
    ['the policy wants more of them', history(), { minSessions: 10 }],
    ['it was counted in other windows', history(), { windowMs: 20_000 }],
    ['too few windows were seen', history({ volume: { calls: { mean: 2, deviation: 1, windows: 11 } } }), {}],
    ['it is usual', history({ volume: { calls: { mean: 20, deviation: 3, windows: 99 } } }), {}],
  ])('says nothing where %s', (_, of, limits) => {
    expect(told([25, 25, 25, 25], of, limits).findings).toEqual([])
  })

  it('teaches what this session did, and not what it was measured by', () => {
    const { detector } = told(
      [2, 4, 2, 4, 2, 4],
      history({ volume: { calls: { mean: 9, deviation: 1, windows: 40 } } }),
    )
    const { volume, windowMs } = detector.learned()
    expect(windowMs).toBe(10_000)
    expect(Object.keys(volume).sort()).toEqual([...COUNTED].sort())
    // The last one has not ended.
    expect(volume.calls?.windows).toBe(5)
    expect(volume.calls?.mean).toBeCloseTo(3, 0)
  })

  it('does not teach what was far off', () => {
    const { detector, findings } = told([2, 2, 50, 2, 50, 2], history())
    expect(findings).toEqual([])
    expect(detector.learned().volume.calls?.windows).toBe(3)
    expect(detector.learned().volume.calls?.mean).toBeLessThan(3)
  })
})
