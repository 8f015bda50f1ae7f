/** Alerts to Slack: to a double as strict as its incoming webhooks, which fails as they do; nothing that is quoted is more than text. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ResponseState } from '../../../../src/proto/codec.js'
import type { SlackSettings } from '../../../../src/schema/sink-settings.js'
import { escaped } from '../../../../src/sinks/alerts/slack.js'
import { type Answering, httpReceiver, type Receiver, reply } from '../../../support/http-receiver.js'
import { until } from '../../../support/sluice-process.js'
import { SinkRig } from '../sink-rig.js'
import { detection, ended, response } from './alert-events.js'

const SECRET = '/services/T000/B000/not-to-be-told'
const CHARS_MAX = 40_000
const KNOWN = ['text', 'mrkdwn', 'parse', 'link_names', 'unfurl_links', 'unfurl_media']

describe('a slack sink', () => {
  let rig: SinkRig
  let receiver: Receiver | null = null
  const texts: string[] = []
  const timesMs: number[] = []
  beforeEach(() => {
    rig = new SinkRig()
    texts.length = 0
    timesMs.length = 0
  })
  afterEach(async () => {
    await rig.remove()
    await receiver?.close()
    receiver = null
  })
  const take: Answering = ({ body }, answer) => {
    texts.push(JSON.parse(body).text)
    reply(answer, 200, 'ok')
  }
  const listen = async (answering: Answering, more: Partial<SlackSettings> = {}): Promise<SlackSettings> => {
    receiver = await httpReceiver((asked, answer, request) => {
      timesMs.push(performance.now())
      const { path, headers, body } = asked
      if (path !== SECRET) return reply(answer, 404, 'no_service')
      if (!headers['content-type']?.startsWith('application/json')) return reply(answer, 400, 'invalid_payload')
      const message = JSON.parse(body)
      const isKnown = Object.keys(message).every((key) => KNOWN.includes(key))
      if (!isKnown || typeof message.text !== 'string') return reply(answer, 400, 'invalid_payload')
      if (message.text === '') return reply(answer, 400, 'no_text')
      if (message.text.length > CHARS_MAX) return reply(answer, 400, 'msg_too_long')
      answering(asked, answer, request)
    })
    const urlFile = join(rig.place('secrets'), 'webhook')
    writeFileSync(urlFile, `http://127.0.0.1:${receiver.port}${SECRET}\n`, { mode: 0o600 })
    return { type: 'slack', urlFile, ...more }
  }

  it('says what was found where, what was done, and that it is over, as text that calls nobody', async () => {
    const settings = await listen(take)
    const reason = 'ran <!channel> <https://evil.example|here> & more\nOVER (all is well)\u202e'
    const cause = detection('a', 1, { reason })
    rig.write([cause, response('a', 2, cause, ResponseState.RESPONSE_STATE_APPLIED)])
    const sink = rig.startAlerts(settings)
    await until('it is told', () => texts.length > 0)
    rig.write([ended('a', 3)])
    await until('it is over', () => texts.length > 1)
    const [first = '', last] = texts
    expect(first.split('\n')).toEqual([
      'MEDIUM More than is usual in a: ran &lt;!channel&gt; &lt;https://evil.example|here&gt; &amp; more OVER (all is well)',
      'volume: observed 1, baseline 3.2, threshold 1, window 10 s; once, at 2027-01-15T08:00:00.000Z',
      'session a, node n1',
      'done: throttle applied: read back as wanted',
      `alert ${cause.uid}, evidence e1`,
    ])
    expect(last).toMatch(/^OVER \(its session ended\) More than is usual in a: /)
    await until('it is counted', () => sink.counts.delivered === 2)
    expect(sink.counts).toMatchObject({ failures: 0, dead: 0 })
  })

  it('puts what comes at once into few messages, none too long, and none too soon', async () => {
    const settings = await listen(take, { quietSeconds: 1_000 })
    const reason = '&'.repeat(60_000)
    rig.write(Array.from({ length: 25 }, (_, at) => detection(`s${at}`, at, { reason })))
    rig.startAlerts(settings)
    await until('all are told', () => texts.join('').split('session s').length === 26)
    expect(texts).toHaveLength(3)
    const gaps = timesMs.slice(1).map((ms, at) => ms - (timesMs[at] ?? 0))
    expect(Math.min(...gaps)).toBeGreaterThan(900)
  })

  it('waits as it is told, gives up nothing for an address that is not known, and keeps it to itself', async () => {
    const faults: Answering[] = [
      (_, answer) => reply(answer, 429, '', { 'retry-after': '1' }),
      (_, answer) => reply(answer, 403, 'invalid_token'),
      (_, answer) => reply(answer, 500, 'rollup_error'),
      (_, __, request) => void request.socket.destroy(),
    ]
    let asked = 0
    const settings = await listen((...all) => (faults[asked++] ?? take)(...all))
    const sink = rig.startAlerts(settings)
    rig.write([detection('a', 1)])
    await until('it is told', () => texts.length > 0)
    expect((timesMs[1] ?? 0) - (timesMs[0] ?? 0)).toBeGreaterThan(950)
    await until('it is counted', () => sink.counts.delivered === 1)
    expect(sink.counts).toMatchObject({ failures: 4, dead: 0 })
    expect(JSON.stringify(sink.counts)).not.toContain('not-to-be-told')
    expect(existsSync(join(rig.folder, 'dead'))).toBe(false)
    await rig.stopSinks()
    expect(readFileSync(join(rig.folder, 'alerts', 's.json'), 'utf8')).not.toContain('not-to-be-told')
  })

  it('takes its address from a file that is root’s alone, and says nothing of what is in it', async () => {
    const settings = await listen(take)
    writeFileSync(settings.urlFile, 'not-to-be-told\n')
    expect(() => rig.startAlerts(settings)).toThrow(/must be one line with an http or https address/)
    expect(() => rig.startAlerts(settings)).not.toThrow(/not-to-be-told/)
    chmodSync(settings.urlFile, 0o644)
    expect(() => rig.startAlerts(settings)).toThrow(settings.urlFile)
  })

  it('cuts no escape', () => {
    expect(escaped('a<b>&', 100)).toBe('a&lt;b&gt;&amp;')
    expect(escaped('<<<', 10)).toBe('&lt;&lt;…')
    expect(escaped('𝕊𝕊𝕊', 4)).toBe('𝕊…')
  })
})
