/** Alerts to Alertmanager: to a strict double that fails as receivers do, and to a real one, which tells people. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ResponseState } from '../../../../src/proto/codec.js'
import type { AlertmanagerSettings } from '../../../../src/schema/sink-settings.js'
import { type PostedAlert, startAlertmanager, strictAlerts } from '../../../support/alertmanager.js'
import { type Answering, httpReceiver, type Receiver, reply } from '../../../support/http-receiver.js'
import { until } from '../../../support/sluice-process.js'
import { many, SinkRig } from '../sink-rig.js'
import { detection, ended, response } from './alert-events.js'

const { RESPONSE_STATE_APPLIED: APPLIED } = ResponseState
const COUNT = 40
const isOver = ({ annotations, endsAt }: PostedAlert) => 'over' in annotations && Date.parse(endsAt) <= Date.now()

describe('an alertmanager sink', () => {
  let rig: SinkRig
  const receivers: Receiver[] = []
  const posted: PostedAlert[] = []
  beforeEach(() => {
    rig = new SinkRig()
    posted.length = 0
  })
  afterEach(async () => {
    await rig.remove()
    for (const receiver of receivers.splice(0)) await receiver.close()
  })
  const listen = async (
    answering: Answering,
    more: Partial<AlertmanagerSettings> = {},
  ): Promise<AlertmanagerSettings> => {
    const receiver = await httpReceiver((asked, answer, request) => {
      try {
        strictAlerts(asked)
      } catch (error) {
        return reply(answer, 400, JSON.stringify(String(error)))
      }
      answering(asked, answer, request)
    })
    receivers.push(receiver)
    return { type: 'alertmanager', url: `http://127.0.0.1:${receiver.port}/`, ...more }
  }
  const take: Answering = (asked, answer) => {
    posted.push(...strictAlerts(asked))
    reply(answer, 200)
  }
  const told = (detector: string) => posted.filter(({ labels }) => labels.detector === detector)

  it('tells of an alert, of what was done, that it goes on, and that it is over, under the same labels', async () => {
    const settings = await listen(take, {
      labels: { cluster: 'eu', severity: 'mine' },
      resendSeconds: 1,
      quietSeconds: 0.1,
    })
    const sink = rig.startAlerts(settings)
    const cause = detection('a', 2, { reason: 'ran <b>\n\u001b[31m"x"\u202e' })
    rig.write([...many(5), cause, response('a', 7, cause, APPLIED)])
    await until('it goes on', () => told('volume').length > 2)
    rig.write([ended('a', 8)])
    await until('it is over', () => posted.some(isOver))
    expect(new Set(posted.map(({ labels }) => JSON.stringify(labels))).size).toBe(1)
    const last = posted.at(-1)
    expect(last?.labels).toEqual({
      ...{ alertname: 'SluiceAlert', cluster: 'eu', detector: 'volume', severity: 'medium' },
      ...{ node: 'n1', sandbox: 'a', session: 'a' },
    })
    expect(last?.annotations).toMatchObject({
      ...{ summary: 'More than is usual in a', description: 'ran <b> [31m"x"', count: '1', evidence: 'e2' },
      ...{ measured: 'observed 2, baseline 3.2, threshold 1, window 10 s', over: 'its session ended' },
      ...{ observed: '2', baseline: '3.2', window_ms: '10000', done: 'throttle applied: read back as wanted' },
    })
    expect(sink.counts).toMatchObject({ failures: 0, dead: 0, isFailing: false })
    expect(sink.counts.filtered).toBe(5)
  })

  it('tells everything once the receiver is well, each alert once with its count', async () => {
    const faults: Answering[] = [
      (_, answer) => reply(answer, 503),
      (_, answer) => reply(answer, 429, '', { 'retry-after': '0' }),
      (_, __, request) => void request.socket.destroy(),
      () => {},
      (_, answer) => reply(answer, 404),
    ]
    let asked = 0
    // What comes once it is told is told a while later.
    const behind: Answering = (...all) => (sink.position > COUNT ? take(...all) : reply(all[1], 503))
    const settings = await listen((request, answer, raw) => (faults[asked++] ?? behind)(request, answer, raw), {
      timeoutSeconds: 0.3,
    })
    const sink = rig.startAlerts(settings)
    for (let at = 1; at <= COUNT; at++) rig.write([detection(at % 2 === 0 ? 'a' : 'b', at)])
    await until('it is told', () => posted.length >= 2)
    await until('the counts are whole', () => {
      const latest = new Map(posted.map(({ labels, annotations }) => [labels.session, Number(annotations.count)]))
      return (latest.get('a') ?? 0) + (latest.get('b') ?? 0) === COUNT
    })
    expect(sink.counts).toMatchObject({ dead: 0 })
    expect(sink.counts.failures).toBeGreaterThanOrEqual(faults.length)
  })

  it('knows its alerts when its process is another, also where it never got to tell of them', async () => {
    let isDown = true
    const settings = await listen((...all) => (isDown ? reply(all[1], 500) : take(...all)), { quietSeconds: 0.1 })
    const first = rig.startAlerts(settings)
    rig.write([detection('a', 1), detection('a', 2), ...many(3, 3)])
    await until('it is asked', () => first.counts.failures > 0)
    await until('the disk has it', () => rig.savedPosition() >= 6)
    await rig.stopSinks()
    isDown = false
    rig.write([detection('a', 7)])
    rig.startAlerts(settings)
    await until('it is told', () => told('volume').some(({ annotations }) => annotations.count === '3'))
    await rig.stopSinks()
    rig.startAlerts(settings)
    await until('it is over', () => posted.some(isOver))
    expect(posted.at(-1)?.annotations).toMatchObject({ count: '3', over: 'nothing more was found' })
  })

  it('begins anew where its file is damaged, and the spool keeps what the disk does not take', async () => {
    const settings = await listen(take)
    const folder = join(rig.folder, 'alerts')
    // Nothing can be written into it.
    writeFileSync(folder, 'no folder')
    const sink = rig.startAlerts(settings)
    rig.write([detection('a', 1)])
    await until('it is told', () => posted.length > 0)
    await rig.stopSinks()
    expect(sink.position).toBeGreaterThan(1)
    expect(rig.savedPosition()).toBe(0)
    rmSync(folder)
    mkdirSync(folder)
    writeFileSync(join(folder, 's.json'), '{"version":1,"alerts":[{')
    rig.startAlerts(settings)
    await until('it is told again', () => posted.length > 1)
    await until('the disk has it', () => rig.savedPosition() >= 2)
    expect(posted[1]?.annotations.count).toBe('1')
  })

  it('puts aside the one that is refused, tells of the others, and tells of it when asked', async () => {
    let refuses = true
    const settings = await listen((asked, answer, request) => {
      if (refuses && asked.body.includes('"bad"')) return reply(answer, 400, '"no such detector"')
      take(asked, answer, request)
    })
    rig.write([detection('a', 1), detection('a', 2, { detector: 'bad' }), detection('a', 3, { detector: 'loop' })])
    const sink = rig.startAlerts(settings)
    await until('the others are told', () => told('loop').length > 0 && told('volume').length > 0)
    const dead = join(rig.folder, 'dead', 's.jsonl')
    await until('it is put aside', () => sink.counts.dead === 1)
    expect(JSON.parse(readFileSync(dead, 'utf8'))).toMatchObject({
      ...{ reason: '400 "no such detector"', event: { detection: { detector: 'bad', reason: 'found 2' } } },
    })
    refuses = false
    renameSync(dead, join(rig.folder, 'dead', 's.again.jsonl'))
    await until('it is told', () => told('bad').length > 0)
    await until('the letters are gone', () => !existsSync(join(rig.folder, 'dead', 's.again.jsonl')))
  })

  it('is understood by a real one, which tells people that it began and that it is over', async () => {
    const notices: { status: string; alerts: { status: string; labels: Record<string, string> }[] }[] = []
    const people = await httpReceiver(({ body }, answer) => {
      notices.push(JSON.parse(body))
      reply(answer, 200)
    })
    receivers.push(people)
    const alertmanager = await startAlertmanager(`http://127.0.0.1:${people.port}/`)
    try {
      const settings: AlertmanagerSettings = { type: 'alertmanager', url: alertmanager.url, quietSeconds: 0.1 }
      const sink = rig.startAlerts(settings)
      const cause = detection('a', 1, { reason: 'é\u0000"x"' })
      rig.write([cause, response('a', 2, cause, APPLIED)])
      await until('people are told', () => notices.some(({ status }) => status === 'firing'))
      expect(await alertmanager.alerts()).toMatchObject([
        {
          labels: { detector: 'volume', session: 'a' },
          annotations: { description: 'é "x"' },
          status: { state: 'active' },
        },
      ])
      rig.write([ended('a', 3)])
      await until('people are told that it is over', () => notices.some(({ status }) => status === 'resolved'))
      expect(sink.counts).toMatchObject({ failures: 0, dead: 0 })
    } finally {
      await alertmanager.stop()
    }
  })
})
