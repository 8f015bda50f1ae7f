/** A sink of OTLP and receivers that read it by the protocol's rules: every event arrives, over gRPC and over HTTP, whatever they answer, and what they refuse for good is not sent again. */
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { constants, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventToJson } from '../../../src/proto/event-json.js'
import { schemaLine } from '../../../src/schema/schemas.js'
import { type OtlpSettings, sinkSettings } from '../../../src/schema/sink-settings.js'
import { makeAuthority } from '../../support/certificates.js'
import { httpReceiver, reply } from '../../support/http-receiver.js'
import { type OtlpAsked, type OtlpReply, otlpReceiver } from '../../support/otlp-receiver.js'
import { until } from '../../support/sluice-process.js'
import { detected, opened } from '../engine/spool/spool-rig.js'
import { awkward, many, SinkRig, VERSION } from './sink-rig.js'

const WAYS = ['grpc', 'http'] as const
const TAKEN: OtlpReply = {}
const QUICK = { seconds: 0.1 }
const FIXED = { type: 'otlp', url: 'http://127.0.0.1:1', transport: 'grpc' } as const

let rig: SinkRig
const open: { close(): Promise<void> }[] = []
beforeEach(() => {
  rig = new SinkRig()
})
afterEach(async () => {
  await rig.remove()
  for (const each of open.splice(0)) await each.close()
})
const dead = () => join(rig.folder, 'dead', 's.jsonl')
const letters = () => {
  const text = existsSync(dead()) ? readFileSync(dead(), 'utf8').trim() : ''
  return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line))
}

describe.each(WAYS)('a sink of OTLP over %s', (transport) => {
  const seen: string[] = []
  beforeEach(() => {
    seen.length = 0
  })
  const uidsOf = ({ records }: OtlpAsked) => records.map(({ attributes }) => String(attributes['log.record.uid']))
  /** What it takes is seen. */
  const listen = async (
    replying: (asked: OtlpAsked, nth: number) => OtlpReply,
    more: Partial<OtlpSettings> = {},
    options: Parameters<typeof otlpReceiver>[2] = {},
  ): Promise<OtlpSettings> => {
    let nth = 0
    const onAsked = (asked: OtlpAsked) => {
      const said = replying(asked, ++nth)
      if (said === TAKEN || said.partial !== undefined) seen.push(...uidsOf(asked))
      return said
    }
    const receiver = await otlpReceiver(transport, onAsked, options)
    open.push(receiver)
    return {
      type: 'otlp',
      transport,
      url: receiver.url,
      timeoutSeconds: 5,
      ...more,
      batch: { ...QUICK, ...more.batch },
    }
  }

  it('has each event there as it was, with the headers that were given', async () => {
    const secrets = rig.place('secrets')
    const [headersFile, tokenFile] = [join(secrets, 'headers'), join(secrets, 'token')]
    writeFileSync(headersFile, '# of the vendor\nX-Api-Key: secret-1\n\n', { mode: 0o600 })
    writeFileSync(tokenFile, 'secret-2\n', { mode: 0o600 })
    const events = [...awkward(), ...many(50, 100), opened('', 7), detected('b', 8)]
    rig.write(events)
    const asked: OtlpAsked[] = []
    const settings = await listen(
      (each) => {
        asked.push(each)
        return TAKEN
      },
      { headersFile, tokenFile, headers: { 'x-tenant': 'eu' }, resource: { 'k8s.cluster.name': 'eu' } },
    )
    const sink = rig.start(settings)
    await until('all have arrived', () => sink.counts.delivered === events.length)
    const records = asked.flatMap((each) => each.records)
    const lines = events.map((event) => schemaLine('json', eventToJson(event), VERSION))
    expect(records.map(({ body }) => body)).toEqual(lines)
    expect(records[0]?.resource).toMatchObject({ 'host.name': 'n1', 'k8s.cluster.name': 'eu' })
    const known = { 'x-api-key': 'secret-1', authorization: 'Bearer secret-2', 'x-tenant': 'eu' }
    expect(asked[0]?.headers).toMatchObject({ ...known, 'user-agent': expect.stringMatching(/^sluice\/0\.0\.0/) })
    expect(JSON.stringify(sink.counts)).not.toContain('secret')
  })

  it('delivers all of it, once, through failures that pass, and goes on as another process', async () => {
    const events = many(1_500)
    rig.write(events)
    const faults: OtlpReply[] = [
      ...[{ grpc: status.UNAVAILABLE, http: 503 }, { grpc: status.ABORTED, http: 502 }, { fault: 'reset' as const }],
      ...[
        { grpc: status.UNAUTHENTICATED, http: 401 },
        { grpc: status.UNIMPLEMENTED, http: 404 },
      ],
      ...[
        { grpc: status.RESOURCE_EXHAUSTED, http: 429, retryMs: 0 },
        { grpc: status.DATA_LOSS, http: 504 },
      ],
    ]
    const settings = await listen((_, nth) => (nth % 4 === 0 ? (faults[(nth / 4) % faults.length] ?? TAKEN) : TAKEN), {
      batch: { events: 50 },
    })
    const first = rig.start(settings)
    await until('some have arrived', () => first.counts.delivered >= 500)
    await rig.stopSinks()
    const second = rig.start(settings)
    await until('all have arrived', () => first.counts.delivered + second.counts.delivered >= events.length)
    expect([...new Set(seen)]).toEqual(events.map(({ uid }) => uid))
    expect(seen.length - events.length).toBeLessThanOrEqual(50)
    expect(first.counts.dead + second.counts.dead).toBe(0)
    expect(first.counts.failures + second.counts.failures).toBeGreaterThan(5)
  })

  it('asks again where a receiver says nothing', async () => {
    rig.write(many(3))
    const settings = await listen((_, nth) => (nth < 3 ? { fault: 'stall' } : TAKEN), { timeoutSeconds: 0.2 })
    const sink = rig.start(settings)
    await until('all have arrived', () => sink.counts.delivered === 3)
    expect(sink.counts.failures).toBeGreaterThanOrEqual(2)
    expect(new Set(seen).size).toBe(3)
  })

  it('waits as long as it is told', async () => {
    rig.write(many(3))
    const askedMs: number[] = []
    const settings = await listen((_, nth) => {
      askedMs.push(performance.now())
      return nth === 1 ? { grpc: status.RESOURCE_EXHAUSTED, http: 429, retryMs: 1_000, message: 'slowly' } : TAKEN
    })
    const sink = rig.start(settings)
    await until('all have arrived', () => sink.counts.delivered === 3)
    expect((askedMs[1] ?? 0) - (askedMs[0] ?? 0)).toBeGreaterThanOrEqual(990)
    expect(sink.counts).toMatchObject({ failures: 1, lastError: expect.stringContaining('slowly') })
  })

  it.each([
    ['of the request', { grpc: status.INVALID_ARGUMENT, http: 400, message: 'odd bytes' }],
    ['that does not pass', { grpc: status.INTERNAL, http: 500, message: 'odd bytes' }],
    ['of a quota without a time', { grpc: status.RESOURCE_EXHAUSTED, http: 422, message: 'odd bytes' }],
  ])('puts aside what is refused for good, %s, and sends it again when asked', async (_, refusal) => {
    const events = many(20)
    rig.write(events)
    let refuses = true
    let asked = 0
    const settings = await listen(
      ({ records }) => {
        asked++
        return refuses && records.some(({ attributes }) => attributes['sluice.seq'] === 7n) ? refusal : TAKEN
      },
      { batch: { events: 5 } },
    )
    const sink = rig.start(settings)
    await until('the rest has arrived', () => sink.counts.delivered === 15)
    expect(asked).toBe(4)
    expect(letters().map(({ event }) => event.seq)).toEqual(['6', '7', '8', '9', '10'])
    expect(letters()[0].reason).toContain('odd bytes')
    refuses = false
    renameSync(dead(), join(rig.folder, 'dead', 's.again.jsonl'))
    await until('they have arrived', () => sink.counts.delivered === 20)
    expect(new Set(seen)).toEqual(new Set(events.map(({ uid }) => uid)))
  })

  it('counts what is rejected of a batch, and does not send it again', async () => {
    rig.write(many(30))
    const partial = [
      null,
      { rejected: 3, message: 'too old' },
      { rejected: 0, message: 'slow' },
      { rejected: 10, message: 'no' },
    ]
    const settings = await listen((_, nth) => ({ partial: partial[nth] ?? { rejected: 0, message: '' } }), {
      batch: { events: 10 },
    })
    const sink = rig.start(settings)
    await until('all are told', () => sink.counts.delivered + sink.counts.dead === 30)
    expect(sink.counts).toMatchObject({ delivered: 17, dead: 13, failures: 0 })
    expect(seen).toHaveLength(30)
    // Which of three out of ten it were is not known; ten out of ten are.
    expect(letters().map(({ event }) => Number(event.seq))).toEqual(many(10, 21).map(({ seq }) => Number(seq)))
    expect(letters()[0].reason).toBe('rejected 10 of 10: no')
    await until('it moved on', () => rig.savedPosition() > 30)
  })

  it('divides what is longer than the receiver takes, and puts aside what is too long alone', async () => {
    const long = opened('a', 20, 32_768)
    const events = [...many(100, 100), long, ...many(5, 300)]
    rig.write(events)
    const settings = await listen(() => TAKEN, {}, { bytesMax: 16_384 })
    const sink = rig.start(settings)
    await until('all are done', () => sink.counts.delivered + sink.counts.dead === events.length)
    expect(seen).toEqual(events.filter((event) => event !== long).map(({ uid }) => uid))
    expect(letters()).toMatchObject([{ event: { seq: '20' }, reason: expect.stringMatching(/413|RESOURCE_EXHAUSTED/) }])
  })

  it('speaks TLS with whom its authority knows, and with nobody else', async () => {
    const [ours, theirs] = [makeAuthority(rig.place('ours')), makeAuthority(rig.place('theirs'))]
    const server = ours.sign('receiver', { san: 'IP:127.0.0.1,DNS:logs.example' })
    const client = ours.sign('client')
    const [ca, cert, key] = [server.ca, server.cert, server.key].map((path) => readFileSync(path)) as [
      Buffer,
      Buffer,
      Buffer,
    ]
    rig.write(many(10))
    const settings = await listen(() => TAKEN, { timeoutSeconds: 2 }, { tls: { ca, cert, key } })
    for (const [tls, reason] of [
      [{ ca: theirs.ca }, /certificate|issuer/],
      [{ ...client, serverName: 'another.example' }, /altnames/],
      [{ ca: ours.ca }, /alert|closed|reset|hang up|disconnected|dropped/i],
    ] as const) {
      const failing = rig.start({ ...settings, tls })
      await until(`it is told: ${reason}`, () => reason.test(failing.counts.lastError ?? ''))
      await rig.stopSinks()
    }
    expect(seen).toEqual([])
    const plain = rig.start({ ...settings, url: settings.url.replace('https', 'http') })
    await until('it is told', () => plain.counts.failures > 0)
    await rig.stopSinks()
    const running = rig.start({ ...settings, tls: { ...client, serverName: 'logs.example' } })
    await until('all have arrived', () => running.counts.delivered === 10)
  })
})

describe('a sink of OTLP', () => {
  it('counts nothing as taken by whoever answers with a page', async () => {
    rig.write(many(3))
    let path = ''
    const page = await httpReceiver((asked, answer) => {
      path = asked.path
      reply(answer, 200, '<html>', { 'content-type': 'text/html' })
    })
    open.push(page)
    const sink = rig.start({
      type: 'otlp',
      transport: 'http',
      url: `http://127.0.0.1:${page.port}/v2/in`,
      batch: QUICK,
    })
    await until('it is told', () => /is that a receiver of OTLP/.test(sink.counts.lastError ?? ''))
    expect(sink.counts).toMatchObject({ delivered: 0, dead: 0 })
    expect(path).toBe('/v2/in')
    const other = rig.start({ type: 'otlp', transport: 'grpc', url: `http://127.0.0.1:${page.port}`, batch: QUICK })
    await until('it is told', () => other.counts.failures > 1)
    expect(other.counts).toMatchObject({ delivered: 0, dead: 0 })
  })

  it('takes an answer in JSON, or without a word, for what it is', async () => {
    rig.write(many(30))
    let nth = 0
    const partialSuccess = { rejectedLogRecords: '4', errorMessage: 'too old' }
    const vendor = await httpReceiver((_, answer) => {
      nth++
      if (nth === 1) return reply(answer, 204)
      reply(answer, 200, JSON.stringify(nth === 2 ? {} : { partialSuccess }), { 'content-type': 'application/json' })
    })
    open.push(vendor)
    const batch = { ...QUICK, events: 10 }
    const sink = rig.start({ type: 'otlp', transport: 'http', url: `http://127.0.0.1:${vendor.port}`, batch })
    await until('all are told', () => sink.counts.delivered + sink.counts.dead === 30)
    expect(sink.counts).toMatchObject({ delivered: 26, dead: 4, failures: 0 })
  })

  it('counts nothing as refused by what is between it and a receiver of gRPC', async () => {
    rig.write(many(3))
    let asked = 0
    const between = createServer()
    between.on('stream', (stream) => {
      stream.on('error', () => {})
      const breaks = [
        () => stream.close(constants.NGHTTP2_INTERNAL_ERROR),
        () => stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM),
        () => stream.respond({ ':status': 500 }, { endStream: true }),
        () => stream.respond({ ':status': 400 }, { endStream: true }),
        () => stream.respond({ ':status': 200, 'content-type': 'text/html' }, { endStream: true }),
      ]
      breaks[asked++ % breaks.length]?.()
    })
    await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve))
    open.push({ close: async () => void between.close() })
    const { port } = between.address() as AddressInfo
    const sink = rig.start({ ...FIXED, url: `http://127.0.0.1:${port}`, batch: QUICK })
    await until('all of it happened', () => sink.counts.failures > 5)
    expect(sink.counts).toMatchObject({ delivered: 0, dead: 0 })
  })

  it.each([
    [{ url: 'http://a:4317/v1/logs' }, /must have a url without a path where transport is grpc/],
    [{ url: 'http://u:p@a:4317' }, /must be without a password/],
    [{ tls: {} }, /must have an https url where tls is/],
    [{ headers: { 'grpc-timeout': '1' } }, /none of HTTP’s own or gRPC’s/],
    [{ headers: { 'X-Tenant': '1' } }, /must be small letters/],
    [{ headers: { x: 'a\nb' } }, /must be printable ASCII/],
    [{ resource: { 'K8s cluster': 'a' } }, /must be small letters, digits, dots/],
    [{ schema: 'cef' }, /Invalid option/],
  ])('is not made of settings that can’t be meant: %j', (more, said) => {
    expect(sinkSettings.safeParse(FIXED).success).toBe(true)
    expect(sinkSettings.safeParse({ ...FIXED, ...more }).error?.message).toMatch(said)
  })

  it.each(['no colon', 'host: other', 'x-key: a\u0007b', ': x'])(
    'says which line of its headers it can’t send: %j',
    (line) => {
      const headersFile = join(rig.place('secrets'), 'headers')
      writeFileSync(headersFile, `x-a: 1\n${line}\n`, { mode: 0o600 })
      expect(() => rig.start({ ...FIXED, headersFile })).toThrow(`line 2 of the headers ${headersFile} can't be sent`)
      chmodSync(headersFile, 0o644)
      expect(() => rig.start({ ...FIXED, headersFile })).toThrow('may be read by others')
    },
  )
})
