/** HTTP sinks: everything arrives through a receiver that fails as receivers do, and what it refuses for good is put aside. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HttpSettings } from '../../../src/schema/sink-settings.js'
import { afterMs } from '../../../src/sinks/http-post.js'
import { makeAuthority } from '../../support/certificates.js'
import { type Answering, httpReceiver, type Receiver, reply } from '../../support/http-receiver.js'
import { until } from '../../support/sluice-process.js'
import { detected } from '../engine/spool/spool-rig.js'
import { awkward, many, SinkRig } from './sink-rig.js'

describe('an HTTP sink', () => {
  let rig: SinkRig
  let receiver: Receiver | null = null
  const seen: string[] = []
  beforeEach(() => {
    rig = new SinkRig()
    seen.length = 0
  })
  afterEach(async () => {
    await rig.remove()
    await receiver?.close()
    receiver = null
  })
  const dead = () => join(rig.folder, 'dead', 's.jsonl')
  const letters = () =>
    existsSync(dead())
      ? readFileSync(dead(), 'utf8')
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line))
      : []
  const uids = (body: string) =>
    body
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).uid as string)
  const listen = async (answering: Answering, more: Partial<HttpSettings> = {}): Promise<HttpSettings> => {
    receiver = await httpReceiver(answering)
    return { type: 'http', url: `http://127.0.0.1:${receiver.port}/in`, ...more }
  }

  it('delivers all of it, once, when a fifth of the requests fail', async () => {
    const events = many(20_000)
    rig.write(events)
    let asked = 0
    const fail: Answering[] = [
      (_, answer) => reply(answer, 503),
      (_, answer) => reply(answer, 429, '', { 'retry-after': '0' }),
      (_, __, request) => void request.socket.destroy(),
      (_, answer) => void answer.writeHead(200, { 'content-length': '10' }).write('x', () => answer.destroy()),
    ]
    const settings = await listen(
      (request, answer, raw) => {
        asked++
        if (asked % 5 === 0) return fail[(asked / 5) % 4]?.(request, answer, raw)
        seen.push(...uids(request.body))
        reply(answer, 200)
      },
      { batch: { events: 250 }, gzip: true },
    )
    const sink = rig.start(settings)
    await until('all have arrived', () => new Set(seen).size === events.length)
    expect(seen.length).toBe(events.length)
    expect(seen).toEqual(events.map(({ uid }) => uid))
    await until('it is counted', () => sink.counts.delivered === events.length)
    expect(sink.counts.failures).toBeGreaterThan(10)
  })

  it('asks again where a receiver says nothing', async () => {
    rig.write(many(3))
    let asked = 0
    const settings = await listen(
      (request, answer) => {
        if (asked++ < 2) return
        seen.push(...uids(request.body))
        reply(answer, 200)
      },
      { timeoutSeconds: 0.2 },
    )
    rig.start(settings)
    await until('all have arrived', () => new Set(seen).size === 3)
  })

  it('goes on where it was when its process is another', async () => {
    rig.write(many(1_000))
    const settings = await listen(
      (request, answer) => {
        seen.push(...uids(request.body))
        reply(answer, 200)
      },
      { batch: { events: 10 } },
    )
    rig.start(settings)
    await until('some have arrived', () => seen.length > 50)
    await rig.stopSinks()
    rig.start(settings)
    await until('all have arrived', () => new Set(seen).size === 1_000)
    expect(seen.length).toBeLessThanOrEqual(1_010)
  })

  it('waits as long as it is told', () => {
    expect(afterMs('7')).toBe(7_000)
    expect(afterMs('Wed, 21 Oct 2026 07:28:00 GMT', Date.parse('2026-10-21T07:27:58Z'))).toBe(2_000)
    expect(afterMs('soon')).toBeNull()
  })

  it('puts aside the one event that is refused, delivers the rest, and sends it again when asked', async () => {
    const events = [...many(60), detected('a', 61), ...many(40, 62)]
    rig.write(events)
    let refuses = true
    const settings = await listen((request, answer) => {
      if (refuses && request.body.includes('"detection"')) return reply(answer, 400, 'I know no detections')
      seen.push(...uids(request.body))
      reply(answer, 200)
    })
    const sink = rig.start(settings)
    await until('the rest has arrived', () => sink.counts.delivered === 100)
    expect(new Set(seen).size).toBe(100)
    expect(letters()).toMatchObject([{ reason: expect.stringContaining('I know no detections'), event: { seq: '61' } }])
    refuses = false
    renameSync(dead(), join(rig.folder, 'dead', 's.again.jsonl'))
    await until('it has arrived', () => sink.counts.delivered === 101)
    expect(seen.at(-1)).toBe(events[60]?.uid)
    await until('the letters are gone', () => !existsSync(join(rig.folder, 'dead', 's.again.jsonl')))
  })

  it('gives up nothing for a token that is refused, and keeps the token to itself', async () => {
    const tokenFile = join(rig.place('secrets'), 'token')
    writeFileSync(tokenFile, 'secret-1\n', { mode: 0o600 })
    rig.write(many(10))
    let isKnown = false
    const settings = await listen(
      ({ headers, body }, answer) => {
        if (!isKnown || headers.authorization !== 'Splunk secret-1') return reply(answer, 403)
        const found = body
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line))
        seen.push(...found.map(({ event }) => event.uid))
        expect(found[0]).toMatchObject({
          time: '1800000000.000',
          host: 'n1',
          sourcetype: 'sluice:fileOpen',
          index: 'main',
        })
        reply(answer, 200, '{"text":"Success","code":0}')
      },
      { format: 'splunk-hec', tokenFile, index: 'main' },
    )
    const sink = rig.start(settings)
    await until('it was refused', () => sink.counts.failures > 0)
    expect(JSON.stringify(sink.counts)).not.toContain('secret-1')
    isKnown = true
    await until('all have arrived', () => sink.counts.delivered === 10)
    expect(sink.counts.dead).toBe(0)
  })

  it('takes from Elastic’s answer what became of each event', async () => {
    const events = many(6)
    rig.write(events)
    const attempts = new Map<string, number>()
    const settings = await listen(
      ({ body }, answer) => {
        const rows = body
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line))
        const items = rows.flatMap(({ create }) => {
          if (create === undefined) return []
          const count = (attempts.get(create._id) ?? 0) + 1
          attempts.set(create._id, count)
          const at = events.findIndex(({ uid }) => uid === create._id)
          const status = at === 0 ? 409 : at === 1 ? 400 : at === 2 && count < 3 ? 429 : 201
          return [
            {
              create: {
                _id: create._id,
                status,
                ...(status === 400 ? { error: { type: 'mapper_parsing_exception' } } : {}),
              },
            },
          ]
        })
        expect(rows[1]).toHaveProperty(['@timestamp'])
        reply(answer, 200, JSON.stringify({ errors: true, items }))
      },
      { format: 'elastic-bulk' },
    )
    const sink = rig.start(settings)
    await until('all are told', () => sink.counts.delivered + sink.counts.dead === 6)
    expect(letters()).toMatchObject([
      { event: { seq: '2' }, reason: expect.stringContaining('mapper_parsing_exception') },
    ])
    expect([...attempts.values()]).toEqual([1, 1, 3, 1, 1, 1])
  })

  it('sends what it is for, whatever is in it, as an array', async () => {
    rig.write([...awkward(), ...many(50), detected('a', 60)])
    const got: unknown[] = []
    const settings = await listen(
      (request, answer) => {
        got.push(...(JSON.parse(request.body) as unknown[]))
        reply(answer, 200)
      },
      { format: 'json-array', kinds: ['exec', 'detection'] },
    )
    const sink = rig.start(settings)
    await until('all have arrived', () => sink.counts.delivered === 6)
    expect(sink.counts.filtered).toBe(50)
    const [first] = got as { exec: { interpreter: string } }[]
    expect(first?.exec.interpreter).toBe('line\nbreak\r\n"quoted" \\\\ ]')
  })

  it('says nothing to a receiver that it does not know, and goes on when it does', async () => {
    const authority = makeAuthority(rig.place('certs'))
    const wrong = makeAuthority(rig.place('others')).sign('wrong', { san: 'DNS:localhost,IP:127.0.0.1' })
    const right = authority.sign('right', { san: 'DNS:localhost,IP:127.0.0.1' })
    rig.write(many(3))
    const files = ({ cert, key }: typeof right) => ({ cert: readFileSync(cert), key: readFileSync(key) })
    const answering: Answering = (request, answer) => {
      seen.push(...uids(request.body))
      reply(answer, 200)
    }
    const first = await httpReceiver(answering, files(wrong))
    const { port } = first
    const sink = rig.start({ type: 'http', url: `https://127.0.0.1:${port}/`, tls: { ca: authority.ca } })
    await until('it was refused', () => sink.counts.failures > 1)
    expect(seen).toEqual([])
    await first.close()
    receiver = await httpReceiver(answering, files(right), port)
    await until('all have arrived', () => sink.counts.delivered === 3)
  })
})
