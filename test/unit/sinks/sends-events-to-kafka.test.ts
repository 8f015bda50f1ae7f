/** A sink of Kafka and librdkafka's mock cluster: every event is in the topic, a session's in order, whatever happens to the broker and to us. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { IEvent } from '../../../src/proto/codec.js'
import { eventToJson } from '../../../src/proto/event-json.js'
import { schemaLine } from '../../../src/schema/schemas.js'
import { type KafkaSettings, sinkSettings } from '../../../src/schema/sink-settings.js'
import { makeAuthority } from '../../support/certificates.js'
import { KafkaBroker, type KafkaMessage, TOPIC } from '../../support/kafka-broker.js'
import { until } from '../../support/sluice-process.js'
import { opened } from '../engine/spool/spool-rig.js'
import { awkward, many, SinkRig, VERSION } from './sink-rig.js'

describe('a sink of Kafka', () => {
  let rig: SinkRig
  let broker: KafkaBroker
  beforeEach(() => {
    rig = new SinkRig()
  })
  afterEach(async () => {
    await rig.remove()
    await broker?.stop()
  })
  const sink = (more: Partial<KafkaSettings> = {}): KafkaSettings => ({
    ...{ type: 'kafka', brokers: [broker.address], topic: TOPIC, timeoutSeconds: 1 },
    ...more,
  })
  const uidOf = ({ payload }: KafkaMessage): string => JSON.parse(payload).uid
  const wanted = (events: readonly IEvent[]) => events.map(({ uid }) => uid)
  /** Each in the place where it came first. */
  const firsts = (messages: readonly KafkaMessage[]) => [...new Set(messages.map(uidOf))]

  it('leaves each event as it was, a session in one partition and in order', async () => {
    broker = await KafkaBroker.start()
    const events = [...awkward(), ...many(50, 100), opened('', 7), ...many(50, 200)]
    rig.write(events)
    const running = rig.start(sink())
    await until('all have arrived', () => running.counts.delivered === events.length)
    const messages = await broker.messages()
    const lines = events.map((event) => schemaLine('json', eventToJson(event), VERSION))
    expect(messages.map(({ payload }) => payload).sort()).toEqual([...lines].sort())
    const ofA = messages.filter(({ key }) => key === 'a')
    expect(ofA.map(uidOf)).toEqual(wanted([...events.slice(5, 55), ...events.slice(56)]))
    expect(new Set(ofA.map(({ partition }) => partition)).size).toBe(1)
    expect(messages.filter(({ key }) => key === 'n1').map(uidOf)).toEqual(wanted(events.slice(55, 56)))
    expect(ofA[0]?.headers).toEqual(['uid', events[5]?.uid, 'kind', 'fileOpen', 'schema', 'native'])
  })

  it('has each event there, in order, though the broker hangs and the sink is stopped and begun again', async () => {
    broker = await KafkaBroker.start()
    const events = many(2_000)
    rig.write(events)
    const settings = sink({ batch: { events: 50 }, timeoutSeconds: 0.5 })
    const first = rig.start(settings)
    await until('some have arrived', () => first.counts.delivered >= 300)
    process.kill(broker.pid, 'SIGSTOP')
    await until('it is noticed', () => first.counts.failures > 0)
    await rig.stopSinks()
    process.kill(broker.pid, 'SIGCONT')
    const second = rig.start(settings)
    await until('all have arrived', () => first.counts.delivered + second.counts.delivered >= events.length)
    const messages = await broker.messages()
    expect(firsts(messages)).toEqual(wanted(events))
    // Those of a batch whose answer was lost, for each time it was sent before the broker went on.
    expect((messages.length - events.length) % 50).toBe(0)
    expect(messages.length - events.length).toBeLessThanOrEqual(50 * (first.counts.failures + 1))
  })

  it('goes on with what a broker that was killed had not acknowledged', async () => {
    broker = await KafkaBroker.start()
    const events = many(100)
    rig.write(events.slice(0, 60))
    const running = rig.start(sink())
    await until('they have arrived', () => running.counts.delivered === 60)
    expect(firsts(await broker.messages())).toEqual(wanted(events.slice(0, 60)))
    await broker.kill()
    rig.write(events.slice(60))
    await until('it is noticed', () => running.counts.isFailing)
    await broker.begin()
    await until('all have arrived', () => running.counts.delivered === events.length)
    expect(firsts(await broker.messages())).toEqual(wanted(events.slice(60)))
    expect(running.counts).toMatchObject({ dead: 0, isFailing: false })
  })

  it('divides what is longer than the broker takes, and puts aside what is too long alone', async () => {
    broker = await KafkaBroker.start({ produceMax: 4_096 })
    const long = { ...opened('a', 20), exec: { interpreter: Buffer.from(noise(16_384)) }, fileOpen: null }
    const events = [...many(200), long, ...many(5, 300)]
    rig.write(events)
    const running = rig.start(sink())
    await until('all are done', () => running.counts.delivered + running.counts.dead === events.length)
    expect(running.counts.dead).toBe(1)
    const there = firsts(await broker.messages())
    expect([...there].sort()).toEqual(wanted(events.filter((event) => event !== long)).sort())
    expect(readFileSync(join(rig.folder, 'dead', 's.jsonl'), 'utf8')).toContain('MESSAGE_TOO_LARGE')
  })

  it('waits for a topic that is not there, and says so', async () => {
    broker = await KafkaBroker.start({ absent: 'absent' })
    rig.write(many(3))
    const running = rig.start(sink({ topic: 'absent' }))
    await until('it is told', () => /there is no topic absent/.test(running.counts.lastError ?? ''))
    expect(running.counts.dead).toBe(0)
  })

  it('speaks TLS with whom its authority knows, and with nobody else', async () => {
    const [ours, theirs] = [makeAuthority(rig.place('ours')), makeAuthority(rig.place('theirs'))]
    const server = ours.sign('broker', { san: 'IP:127.0.0.1' })
    const client = ours.sign('client')
    const [ca, cert, key] = [server.ca, server.cert, server.key].map((path) => readFileSync(path))
    broker = await KafkaBroker.start({ tls: { ca, cert, key, requestCert: true, rejectUnauthorized: true } as object })
    rig.write(many(10))
    for (const [tls, reason] of [
      [{ ca: theirs.ca }, /certificate/],
      [{ ...client, serverName: 'another.example' }, /altnames/],
      [{ ca: ours.ca }, /alert|closed|reset/i],
      [undefined, /closed|timed out|did not answer|timeout/i],
    ] as const) {
      const failing = rig.start(sink({ tls, timeoutSeconds: 0.5 }))
      await until('it is told', () => reason.test(failing.counts.lastError ?? ''))
      await rig.stopSinks()
    }
    const running = rig.start(sink({ tls: client }))
    await until('all have arrived', () => running.counts.delivered === 10)
    expect(firsts(await broker.messages())).toHaveLength(10)
  })

  it('takes no password that anyone on the way could read, and no topic that can not be', () => {
    const sasl = { mechanism: 'plain', username: 'u', passwordFile: '/etc/p' }
    const given = { type: 'kafka', brokers: ['b:9092'], topic: 't', sasl }
    expect(sinkSettings.safeParse(given).error?.message).toMatch(/must have tls where sasl is plain/)
    expect(sinkSettings.safeParse({ ...given, tls: {} }).success).toBe(true)
    expect(sinkSettings.safeParse({ ...given, tls: {}, topic: '..' }).success).toBe(false)
    const passwordFile = join(rig.place('secrets'), 'password')
    writeFileSync(passwordFile, 'two\nlines', { mode: 0o600 })
    const settings: KafkaSettings = {
      ...{ type: 'kafka', brokers: ['127.0.0.1:1'], topic: TOPIC, tls: {} },
      sasl: { mechanism: 'plain', username: 'u', passwordFile },
    }
    expect(() => rig.start(settings)).toThrow('must be one line')
  })
})

/** Hardly anything to pack in it, and the same each time. */
function noise(chars: number): string {
  let state = 1
  return Array.from({ length: chars }, () => {
    state = (state * 48_271) % 2_147_483_647
    return String.fromCharCode(33 + (state % 90))
  }).join('')
}
