/** Every event that can be made is a log record of OpenTelemetry: its wire format is read by the protocol's rules, its attributes have published names, and its body is the whole event. */
import * as conventions from '@opentelemetry/semantic-conventions/incubating'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Event, encodeBuffer, type IEvent } from '../../../src/proto/codec.js'
import { EVENT_KINDS, eventToJson } from '../../../src/proto/event-json.js'
import { textToUnixNs } from '../../../src/proto/time-text.js'
import { otlpRequest } from '../../../src/sinks/otlp/otlp-request.js'
import { Renderer } from '../../../src/sinks/render.js'
import { SpooledEvents } from '../../../src/sinks/spooled-event.js'
import { anyEvent } from '../../support/any-event.js'
import { type OtlpRecord, otlpRecords } from '../../support/otlp-messages.js'

const NOW_MS = 1_800_000_000_123
const OPTIONS = { version: '1.2.3', resource: { 'k8s.cluster.name': 'eu' } }
const PUBLISHED = new Set(Object.values(conventions).filter((each) => typeof each === 'string'))
const SEVERITIES = { INFO: 9n, LOW: 10n, MEDIUM: 13n, HIGH: 18n }

describe('an event as a log record of OpenTelemetry', () => {
  const renderer = new Renderer({ type: 'otlp', transport: 'http', url: 'http://127.0.0.1' }, OPTIONS.version)
  const records = (events: readonly IEvent[]): OtlpRecord[] => {
    const spooled = new SpooledEvents()
    const items = events.flatMap((event) => spooled.one(event)).flatMap((event) => renderer.item(event) ?? [])
    return otlpRecords(otlpRequest(items, OPTIONS, NOW_MS))
  }

  it.each(EVENT_KINDS)('is read by the protocol’s rules, and nothing of it is lost: %s', (kind) => {
    const types = new Map<string, string>()
    fc.assert(
      fc.property(anyEvent(kind), (event) => {
        // As it comes from the wire.
        const json = eventToJson(Event.decode(encodeBuffer(Event, event)))
        const [record, ...more] = records([event])
        expect(more).toEqual([])
        expect(JSON.parse(String(record?.body))).toEqual(json)
        expect(record).toMatchObject({
          ...{ timeNs: textToUnixNs(json.time), observedNs: BigInt(NOW_MS) * 1_000_000n },
          ...{ severity: SEVERITIES[record?.severityText as keyof typeof SEVERITIES] },
          ...{
            scope: { name: 'sluice', version: '1.2.3' },
            attributes: { 'log.record.uid': json.uid, 'sluice.kind': kind },
          },
          resource: { 'service.name': 'sluice', 'host.name': json.node.name || 'unknown', 'k8s.cluster.name': 'eu' },
        })
        for (const [name, value] of Object.entries({ ...record?.attributes, ...record?.resource })) {
          if (!name.startsWith('sluice.')) expect(PUBLISHED).toContain(name)
          expect(value).not.toBe('')
          const type = Array.isArray(value) ? 'list' : typeof value
          expect(types.get(name) ?? type, name).toBe(type)
          types.set(name, type)
        }
      }),
      { numRuns: 60 },
    )
  })

  const common = {
    ...{ uid: 'u', node: { name: 'n1', bootId: 'b1' }, sessionId: 's', toolCallId: 't' },
    sandbox: { id: 'box', name: 'web', agent: 'claude', labels: { team: 'a b' } },
  }
  const denied = { decision: 2, rule: 'egress[2]', policy: 'p', reason: 'no rule allows it', enforcedBy: 'lsm' }

  it('has who did what, where to, and which rule refused it', () => {
    const process = { pid: 7, ppid: 3, uid: 1_000, exe: Buffer.from('/usr/bin/curl'), args: [Buffer.from('curl')] }
    const to = { protocol: 1, address: '2001:db8::1', port: 443, hostname: 'example.com' }
    const [record] = records([{ ...common, process, connect: { ...to, via: 1, errno: 1, verdict: denied } }])
    expect(record).toMatchObject({ severityText: 'MEDIUM', eventName: 'sluice.connect' })
    expect(record?.attributes).toMatchObject({
      ...{ 'session.id': 's', 'gen_ai.tool.call.id': 't', 'gen_ai.agent.name': 'claude' },
      ...{ 'sluice.sandbox.id': 'box', 'sluice.sandbox.label.team': 'a b' },
      ...{ 'process.pid': 7n, 'process.parent_pid': 3n, 'process.user.id': 1_000n },
      ...{ 'process.executable.name': 'curl', 'process.command_args': ['curl'] },
      ...{ 'network.transport': 'tcp', 'network.type': 'ipv6', 'network.peer.address': '2001:db8::1' },
      ...{ 'network.peer.port': 443n, 'server.address': 'example.com', 'error.type': 'EPERM' },
      ...{ 'sluice.verdict.decision': 'DENY', 'security_rule.name': 'egress[2]', 'security_rule.ruleset.name': 'p' },
    })
  })

  it('has a file, and where a link leads', () => {
    const link = { op: 4, path: Buffer.from('/etc/passwd'), newPath: Buffer.from('/w/l') }
    const [record] = records([{ ...common, fileChange: link }])
    expect(record).toMatchObject({ eventName: 'sluice.file_change', severityText: 'INFO' })
    expect(record?.attributes).toMatchObject({
      ...{ 'file.path': '/w/l', 'file.name': 'l', 'file.directory': '/w', 'sluice.file.op': 'SYMLINK' },
      'file.symbolic_link.target_path': '/etc/passwd',
    })
  })

  it('is of its node, also where a request has events of several', () => {
    const at = (name: string, uid: string) => ({ ...common, uid, node: { name, bootId: 'b' }, exit: {} })
    const found = records([at('n1', '1'), at('n2', '2'), at('n1', '3')])
    expect(found.map(({ resource, attributes }) => [resource['host.name'], attributes['log.record.uid']])).toEqual([
      ...[
        ['n1', '1'],
        ['n1', '3'],
        ['n2', '2'],
      ],
    ])
  })

  it('is checked by a reader that knows what is wrong', () => {
    const item = renderer.rendered(eventToJson({ ...common, exit: {} }))
    const bytes = otlpRequest([item], OPTIONS, NOW_MS)
    expect(() => otlpRecords(bytes.subarray(0, -1))).toThrow()
    expect(() => otlpRecords(Buffer.concat([bytes, Buffer.from([0x12, 0x00])]))).toThrow('has no field 2')
    expect(() => otlpRecords(Buffer.from([0x08, 0x01]))).toThrow('is of wire type 0')
    expect(() => otlpRecords(Buffer.from([0x0a, 0x03, 0x1a, 0x01, 0xff]))).toThrow()
  })
})
