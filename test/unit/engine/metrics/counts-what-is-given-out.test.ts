/** Numbers of what sessions gave out: right, in bounds, and in a text that Prometheus reads. */
import { get, type IncomingMessage, request } from 'node:http'
import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { createLog } from '../../../../src/base/log.js'
import { EventTally, OTHERS, SANDBOXES_MAX } from '../../../../src/engine/metrics/event-tally.js'
import { type EngineNumbers, newExposition } from '../../../../src/engine/metrics/exposition.js'
import { MetricsServer } from '../../../../src/engine/metrics/metrics-server.js'
import { Decision, fromBigInt, type IEvent, Severity, Stage } from '../../../../src/proto/codec.js'
import { freePort } from '../../../support/free-port.js'

const NUMBERS: EngineNumbers = {
  ...{ sandboxes: () => 3, isSensorConnected: () => true, stray: () => 4, undecodable: () => 5 },
  ...{
    committedBatches: () => 6,
    watchers: () => 7,
    journal: () => ({ events: 8, lost: 9, checkpoints: 10, faults: 11 }),
    spool: () => ({ events: 12, bytes: 13, shed: 14, missed: 15, faults: 16 }),
    sinks: () => [{ name: 'siem', behind: 17, delivered: 18, filtered: 19, failures: 20, dead: 21 }],
    parts: () => [
      { part: 'spool', problem: null },
      { part: 'sink:siem', problem: 'certificate has expired' },
    ],
  },
}
const NOW_NS = 1_800_000_000_000_000_000n
const denied = { decision: Decision.DECISION_DENY }
const of = (name: string, kind: IEvent): IEvent => ({ sandbox: { id: `id-${name}`, name }, ...kind })

function counting() {
  const tally = new EventTally(() => NOW_NS)
  const { text } = newExposition(tally, NUMBERS)
  const lines = async (start: string) => (await text()).split('\n').filter((line) => line.startsWith(start))
  return { tally, lines }
}

describe('numbers of what was given out', () => {
  it('say how many events of which kind there were', async () => {
    const { tally, lines } = counting()
    for (let count = 0; count < 3; count++) tally.saw(of('box', { exit: {} }))
    tally.saw(of('box', { exec: {} }))
    expect(await lines('sluice_events_total{')).toEqual([
      'sluice_events_total{kind="exit"} 3',
      'sluice_events_total{kind="exec"} 1',
    ])
    // Nothing is counted twice because it was asked for twice.
    expect(await lines('sluice_events_total{kind="exit"')).toEqual(['sluice_events_total{kind="exit"} 3'])
  })

  it('count a folded event as often as it happened', async () => {
    const { tally, lines } = counting()
    tally.saw(of('box', { connect: { verdict: denied, count: fromBigInt(40n) } }))
    tally.saw(of('box', { connect: { verdict: denied } }))
    tally.saw(of('box', { connect: {} }))
    tally.saw(of('box', { dns: { verdict: { decision: Decision.DECISION_ALLOW } } }))
    expect(await lines('sluice_verdicts_total{')).toEqual([
      'sluice_verdicts_total{sandbox="box",kind="connect",decision="DENY"} 41',
      'sluice_verdicts_total{sandbox="box",kind="dns",decision="ALLOW"} 1',
    ])
  })

  it('say what was lost, found, done and refused', async () => {
    const { tally, lines } = counting()
    tally.saw(of('box', { gap: { stage: Stage.STAGE_KERNEL_RING, kind: 'exec', count: fromBigInt(9n) } }))
    tally.saw(of('box', { gap: { stage: Stage.STAGE_SPOOL, count: fromBigInt(2n) } }))
    tally.saw(of('box', { detection: { detector: 'loop', severity: Severity.SEVERITY_MEDIUM } }))
    tally.saw(of('box', { response: { action: 4, state: 2 } }))
    tally.saw(of('box', { limitHit: { what: 'connects', refused: fromBigInt(12n), verdict: denied } }))
    expect(await lines('sluice_events_lost_total{')).toEqual([
      'sluice_events_lost_total{stage="KERNEL_RING",kind="exec"} 9',
      'sluice_events_lost_total{stage="SPOOL",kind="any"} 2',
    ])
    expect(await lines('sluice_detections_total{')).toEqual([
      'sluice_detections_total{sandbox="box",detector="loop",severity="MEDIUM"} 1',
    ])
    expect(await lines('sluice_responses_total{')).toEqual([
      'sluice_responses_total{sandbox="box",action="FREEZE",state="APPLIED"} 1',
    ])
    expect(await lines('sluice_limit_refusals_total{')).toEqual([
      'sluice_limit_refusals_total{sandbox="box",limit="connects",decision="DENY"} 12',
    ])
  })

  it('say what the engine is asked for', async () => {
    const { lines } = counting()
    expect(await lines('sluice_s')).toEqual(
      expect.arrayContaining(['sluice_sandboxes 3', 'sluice_sensor_connected 1', 'sluice_stray_facts_total 4']),
    )
    expect(await lines('sluice_journal')).toEqual([
      'sluice_journal 1',
      'sluice_journal_events_total 8',
      'sluice_journal_lost_total 9',
      'sluice_journal_checkpoints_total 10',
      'sluice_journal_faults_total 11',
    ])
    expect(await lines('sluice_spool_')).toEqual([
      'sluice_spool_bytes 13',
      'sluice_spool_events_total 12',
      'sluice_spool_shed_total 14',
      'sluice_spool_missed_total 15',
      'sluice_spool_faults_total 16',
    ])
    expect(await lines('sluice_sink_')).toEqual([
      'sluice_sink_delivered_total{sink="siem"} 18',
      'sluice_sink_filtered_total{sink="siem"} 19',
      'sluice_sink_failures_total{sink="siem"} 20',
      'sluice_sink_dead_total{sink="siem"} 21',
      'sluice_sink_behind{sink="siem"} 17',
    ])
    expect(await lines('sluice_failing')).toEqual([
      'sluice_failing{part="spool"} 0',
      'sluice_failing{part="sink:siem"} 1',
    ])
    expect(await lines('sluice_undecodable')).toEqual(['sluice_undecodable_facts_total 5'])
    expect(await lines('sluice_engine_process_resident')).toHaveLength(1)
  })

  it('say how late events were, by some of them', async () => {
    const { tally, lines } = counting()
    const late = of('box', { exit: {}, timeUnixNs: fromBigInt(NOW_NS - 2_000_000_000n) })
    for (let count = 0; count < 128; count++) tally.saw(late)
    expect(await lines('sluice_event_delay_seconds_')).toEqual(
      expect.arrayContaining(['sluice_event_delay_seconds_sum 4', 'sluice_event_delay_seconds_count 2']),
    )
  })

  it('keep one line a number whatever a sandbox is called', async () => {
    const { tally, lines } = counting()
    tally.saw(of('a"b\\c\nd', { detection: { detector: 'loop' } }))
    expect(await lines('sluice_detections_total{')).toEqual([
      'sluice_detections_total{sandbox="a\\"b\\\\c\\nd",detector="loop",severity="UNSPECIFIED"} 1',
    ])
  })

  it('are bounded: those that ended make room, and the others share', async () => {
    const { tally } = counting()
    const found = (name: string) => tally.saw(of(name, { detection: { detector: 'loop' } }))
    for (let count = 0; count < SANDBOXES_MAX; count++) found(`box-${count}`)
    tally.saw(of('box-7', { sandboxEnded: {} }))
    tally.saw(of('never-counted', { sandboxEnded: {} }))
    found('new')
    expect(tally.bySandbox.has('box-7')).toBe(false)
    for (const name of ['one', 'more', 'one']) found(name)
    expect(tally.bySandbox.size).toBe(SANDBOXES_MAX + 1)
    expect([...(tally.bySandbox.get(OTHERS)?.detections.entries() ?? [])]).toEqual([['loop', 'UNSPECIFIED', 3]])
    expect(tally.bySandbox.has('new')).toBe(true)
  })
})

describe('the place where they are asked for', () => {
  const log = createLog({ role: 'test', level: 'silent' })
  const exposition = newExposition(new EventTally(() => NOW_NS), NUMBERS)

  function asked(port: number, path: string, method = 'GET') {
    return new Promise<{ status: number; text: string; type: string }>((resolve, reject) => {
      const done = (response: IncomingMessage) => {
        let text = ''
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        const type = response.headers['content-type'] ?? ''
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text, type }))
      }
      request({ host: '127.0.0.1', port, path, method, agent: false }, done).on('error', reject).end()
    })
  }

  it('answers GET /metrics and nothing else', async () => {
    const port = await freePort()
    const server = new MetricsServer({ host: '127.0.0.1', port }, exposition, log)
    server.start()
    try {
      const { status, text, type } = await asked(port, '/metrics?x=1')
      expect({ status, type }).toEqual({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' })
      expect(text).toContain('\nsluice_sandboxes 3\n')
      expect(await asked(port, '/metrics', 'HEAD')).toMatchObject({ status: 200, text: '' })
      expect(await asked(port, '/')).toMatchObject({ status: 404, text: 'there is nothing here; see /metrics\n' })
      expect(await asked(port, '/metrics', 'POST')).toMatchObject({ status: 405 })
    } finally {
      server.stop()
    }
    await expect(asked(port, '/metrics')).rejects.toThrowError(/ECONNREFUSED/)
  })

  it('is not made anew for each of those that ask at once', async () => {
    const port = await freePort()
    let made = 0
    const counted = {
      ...exposition,
      text() {
        made++
        return exposition.text()
      },
    }
    const server = new MetricsServer({ host: '127.0.0.1', port }, counted, log)
    server.start()
    try {
      const before = performance.now()
      const answers = await Promise.all(Array.from({ length: 10 }, () => asked(port, '/metrics')))
      const most = 1 + Math.ceil((performance.now() - before) / 200)
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200))
      expect(made).toBeGreaterThan(0)
      expect(made).toBeLessThanOrEqual(most)
    } finally {
      server.stop()
    }
  })

  it('tries again where the port was taken', async () => {
    const port = await freePort()
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(port, '127.0.0.1', resolve))
    const server = new MetricsServer({ host: '127.0.0.1', port }, exposition, log, 20)
    server.start()
    try {
      // Whoever connects meanwhile reaches the other one.
      await new Promise<void>((resolve) => {
        taken.once('connection', (socket) => {
          socket.destroy()
          resolve()
        })
        get({ host: '127.0.0.1', port, path: '/metrics' }).on('error', () => {})
      })
      await new Promise<void>((resolve) => taken.close(() => resolve()))
      await expect.poll(() => asked(port, '/metrics').catch(() => null)).toMatchObject({ status: 200 })
    } finally {
      server.stop()
    }
  })
})
