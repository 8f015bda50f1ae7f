/** A sink of NATS and a real server: every event is in the stream once, in order, whatever happens to the server and to us. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nkeys } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NatsSettings } from '../../../src/schema/sink-settings.js'
import { makeAuthority } from '../../support/certificates.js'
import { NatsServer } from '../../support/nats-server.js'
import { until } from '../../support/sluice-process.js'
import { detected, opened } from '../engine/spool/spool-rig.js'
import { awkward, many, SinkRig } from './sink-rig.js'

const TOKEN = 'secret-of-a-test'

describe('a sink of NATS', () => {
  let rig: SinkRig
  let server: NatsServer
  beforeEach(() => {
    rig = new SinkRig()
  })
  afterEach(async () => {
    await rig.remove()
    await server?.stop()
  })
  const begin = async (settings = '') => {
    server = await NatsServer.start(rig.place('nats'), settings)
  }
  const sink = (more: Partial<NatsSettings> = {}): NatsSettings => ({
    ...{ type: 'nats', servers: [server.url], timeoutSeconds: 1 },
    ...more,
  })
  const uids = async (...options: Parameters<NatsServer['messages']>) =>
    (await server.messages(...options)).flatMap((message) => message.uids)
  const secret = (text: string) => {
    const path = join(rig.place('secrets'), 'secret')
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }

  it('puts batches of one session each where their readers look for them', async () => {
    await begin()
    await server.addStream()
    const events = [...awkward(), ...many(50, 100), opened('b.c *', 1), opened('', 7), detected('a', 150)]
    rig.write(events)
    const running = rig.start(sink({ cluster: 'eu' }))
    await until('all have arrived', () => running.counts.delivered === events.length)
    const messages = await server.messages()
    const subjects = messages.map(({ subject }) => subject)
    for (const subject of subjects) {
      expect(subject).toMatch(/^sluice\.(ev|al)\.([0-9]|1[0-5])\.eu\.n1\.([A-Za-z0-9_-]|%[0-9A-F]{2})+$/)
    }
    expect(subjects).toEqual(expect.arrayContaining(['sluice.ev.10.eu.n1.a', 'sluice.al.10.eu.n1.a']))
    expect(new Set(subjects).size).toBe(9)
    expect(messages.find(({ subject }) => subject.endsWith('.b%2Ec%20%2A'))?.uids).toHaveLength(1)
    expect(messages.find(({ subject }) => subject.endsWith('.n1.-'))?.uids).toHaveLength(1)
    const ofA = messages.find(({ subject }) => subject === 'sluice.ev.10.eu.n1.a')
    expect(ofA?.uids).toEqual(events.slice(5, 55).map(({ uid }) => uid))
    expect(ofA?.header('Content-Encoding')).toBe('gzip')
    expect(ofA?.header('Sluice-Schema')).toBe('native')
    expect(ofA?.header('Sluice-Events')).toBe(String(ofA?.uids.length))
    expect((await uids()).sort()).toEqual(events.map(({ uid }) => uid).sort())
  })

  it('has each event there once, in order, though the server is killed, hangs and is killed again', async () => {
    await begin()
    await server.addStream()
    const events = many(6_000)
    rig.write(events)
    const running = rig.start(sink({ batch: { events: 50 }, timeoutSeconds: 0.5 }))
    const some = (count: number) => until(`${count} have arrived`, () => running.counts.delivered >= count)
    await some(500)
    await server.stop('SIGKILL')
    await until('it is noticed', () => running.counts.isFailing)
    await server.begin()
    await some(2_000)
    process.kill(server.pid, 'SIGSTOP')
    const failures = running.counts.failures
    await until('it is noticed', () => running.counts.failures > failures)
    process.kill(server.pid, 'SIGCONT')
    await some(3_500)
    await server.stop('SIGTERM')
    await server.begin()
    await some(4_500)
    await server.stop('SIGKILL')
    await server.begin()
    await some(events.length)
    expect(await uids()).toEqual(events.map(({ uid }) => uid))
    expect(running.counts.dead).toBe(0)
  })

  it('makes the same batch again when its process is another', async () => {
    await begin()
    await server.addStream()
    const settings = sink({ batch: { events: 1_000, seconds: 0.1 } })
    const events = many(300)
    rig.write(events.slice(0, 100))
    const first = rig.start(settings)
    await until('they have arrived', () => first.counts.delivered === 100)
    // The server has the next batch, and its answer gets lost: it hangs as it is asked, and we are gone when it goes on.
    process.kill(server.pid, 'SIGSTOP')
    rig.write(events.slice(100, 200))
    await until('it is underway', () => {
      const path = join(rig.folder, 'underway', 's.json')
      return existsSync(path) && JSON.parse(readFileSync(path, 'utf8')).position === 201
    })
    await until('it was asked', () => first.counts.failures > 0)
    await rig.stopSinks()
    process.kill(server.pid, 'SIGCONT')
    rig.write(events.slice(200))
    const second = rig.start(settings)
    await until('all have arrived', () => second.counts.delivered === 200)
    expect(await uids()).toEqual(events.map(({ uid }) => uid))
  })

  it('divides what is longer than the server takes, and puts aside what is too long alone', async () => {
    await begin('max_payload: 16384')
    await server.addStream({ max_msg_size: 8_192 })
    // Hardly anything to pack in it.
    const noise = (at: number, bytes: number) => ({
      ...opened('a', at),
      fileOpen: { path: Buffer.from(randomText(bytes, at)), userPath: Buffer.from('f'), resolved: true },
    })
    const events = [
      ...many(40),
      noise(41, 14_000),
      ...many(10, 42),
      noise(52, 100_000),
      noise(53, 6_000),
      ...many(5, 54),
    ]
    rig.write(events)
    const running = rig.start(sink())
    await until('all are told', () => running.counts.delivered + running.counts.dead === events.length)
    expect(running.counts.dead).toBe(2)
    const arrived = events.filter((_, at) => at !== 40 && at !== 51)
    expect(await uids()).toEqual(arrived.map(({ uid }) => uid))
    expect((await server.messages()).length).toBeGreaterThan(1)
    const letters = readFileSync(join(rig.folder, 'dead', 's.jsonl'), 'utf8')
      .trim()
      .split('\n')
    expect(letters.map((line) => JSON.parse(line).reason)).toEqual([
      expect.stringMatching(/bytes: the stream takes less/),
      expect.stringMatching(/bytes: the server takes 16384/),
    ])
  })

  it('waits for a stream that is missing or full, and says what to do', async () => {
    await begin()
    rig.write(many(20))
    const running = rig.start(sink({ batch: { events: 10 } }))
    const fails = (how: RegExp) => until('it says why', () => how.test(running.counts.lastError ?? ''))
    await fails(/^no stream takes sluice\.ev\.\d+\.default\.n1\.a .*`nats stream add sluice --subjects/)
    await server.addStream({ max_msgs: 1, discard: 'new' as never })
    await fails(/^the stream refuses: maximum messages exceeded/)
    await server.manage(({ streams }) => streams.update('sluice', { max_msgs: -1 }))
    await until('all have arrived', () => running.counts.delivered === 20)
    expect(running.counts.dead).toBe(0)
    expect(await uids()).toHaveLength(20)
  })

  it('makes the stream where it is told to, and says when it is another that takes its batches', async () => {
    await begin()
    rig.write(many(20))
    const running = rig.start(sink({ stream: { name: 'fleet', create: true, maxMiB: 64, maxHours: 1 } }))
    await until('all have arrived', () => running.counts.delivered === 20)
    const { config } = await server.manage(({ streams }) => streams.info('fleet'))
    expect(config).toMatchObject({ max_bytes: 64 * 1024 * 1024, max_age: 3_600e9, duplicate_window: 3_600e9 })
    expect(config).toMatchObject({ discard: 'new', storage: 'file', retention: 'limits', num_replicas: 1 })
    await rig.stopSinks()
    rig.write(many(1, 21))
    const other = rig.start(sink({ stream: { name: 'another' } }))
    await until('it says why', () => /expected stream does not match/.test(other.counts.lastError ?? ''))
  })

  it('waits for a server that lets it in, and keeps what it was given to itself', async () => {
    await begin('authorization { token: "another" }')
    rig.write(many(10))
    const running = rig.start(sink({ tokenFile: secret(TOKEN) }))
    await until('it says why', () => /the server does not let us in/.test(running.counts.lastError ?? ''))
    expect(JSON.stringify(running.counts)).not.toContain(TOKEN)
    await server.stop()
    await server.begin(`authorization { token: "${TOKEN}" }`)
    await server.addStream({}, { token: TOKEN })
    await until('all have arrived', () => running.counts.delivered === 10)
  })

  it('says what it may not do', async () => {
    const users = `{ user: all, password: p }, { user: few, password: p, permissions: { publish: "other.>", subscribe: "_INBOX.>" } }`
    await begin(`authorization { users: [ ${users} ] }\nno_auth_user: few`)
    await server.addStream({}, { user: 'all', pass: 'p' })
    rig.write(many(10))
    const running = rig.start(sink())
    await until('it says why', () => /^the server does not let us: .*sluice\.ev\./.test(running.counts.lastError ?? ''))
    await server.stop()
    await server.begin()
    await until('all have arrived', () => running.counts.delivered === 10)
  })

  it('goes in by an nkey, and with a certificate on both sides', async () => {
    const authority = makeAuthority(rig.place('certs'))
    const served = authority.sign('nats', { san: 'IP:127.0.0.1' })
    const own = authority.sign('own', { usage: 'clientAuth' })
    const { seed, name } = nkey()
    const tls = `tls { cert_file: "${served.cert}", key_file: "${served.key}", ca_file: "${served.ca}", verify: true }`
    await begin(`${tls}\nauthorization { users: [ { nkey: ${name} } ] }`)
    rig.write(many(10))
    const settings = sink({ servers: [`tls://127.0.0.1:${server.port}`], nkeyFile: secret(seed), tls: own })
    const running = rig.start({ ...settings, stream: { create: true } })
    await until('all have arrived', () => running.counts.delivered === 10)
  })

  it('says nothing to a server that it does not know, or that has no TLS', async () => {
    const authority = makeAuthority(rig.place('certs'))
    const wrong = makeAuthority(rig.place('others')).sign('wrong', { san: 'IP:127.0.0.1' })
    const elsewhere = authority.sign('elsewhere', { san: 'DNS:localhost' })
    const right = authority.sign('right', { san: 'IP:127.0.0.1' })
    const tls = ({ cert, key }: typeof right) => `tls { cert_file: "${cert}", key_file: "${key}" }`
    await begin(tls(wrong))
    rig.write(many(10))
    const running = rig.start(sink({ tls: { ca: authority.ca }, stream: { create: true }, tokenFile: secret(TOKEN) }))
    const fails = (how: RegExp) => until('it says why', () => how.test(running.counts.lastError ?? ''))
    await fails(/unable to verify|self.signed|issuer/)
    await server.stop()
    await server.begin(tls(elsewhere))
    await fails(/IP: 127\.0\.0\.1 is not in the cert/)
    await server.stop()
    await server.begin()
    await fails(/the server has no TLS, and the configuration wants it/)
    expect(running.counts.delivered).toBe(0)
    await server.stop()
    await server.begin(tls(right))
    await until('all have arrived', () => running.counts.delivered === 10)
  })

  it('takes another server where one hangs or is gone', async () => {
    await begin()
    await server.addStream()
    rig.write(many(10))
    const running = rig.start(sink({ servers: ['nats://127.0.0.1:1', server.url] }))
    await until('all have arrived', () => running.counts.delivered === 10)
  })
})

/** The same for the same seed. */
function randomText(bytes: number, seed: number): string {
  let text = ''
  for (let at = 0; text.length < bytes; at++) text += createHash('sha256').update(`${seed} ${at}`).digest('base64')
  return text.slice(0, bytes)
}

/** Of a user, as `nk -gen user` makes it. */
function nkey(): { seed: string; name: string } {
  const made = nkeys.createUser()
  return { seed: Buffer.from(made.getSeed()).toString('ascii'), name: made.getPublicKey() }
}
