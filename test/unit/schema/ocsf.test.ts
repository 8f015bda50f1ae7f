/** Every event that can be made is one that the published schema takes, by a validator that is not ours. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EVENT_KINDS, type EventJson, eventToJson } from '../../../src/proto/event-json.js'
import { ocsfOf } from '../../../src/schema/ocsf.js'
import { anyEvent } from '../../support/any-event.js'
import { ocsfProblems } from '../../support/ocsf-schema.js'

/** The text twin of a number: equal numbers have equal texts, other numbers others. */
const TWINS: readonly (readonly [number: string, text: string])[] = [
  ['activity_id', 'activity_name'],
  ...['class', 'category', 'type'].map((name) => [`${name}_uid`, `${name}_name`] as const),
  ...['severity', 'action', 'disposition'].map((name) => [`${name}_id`, name] as const),
]

function wholeNumbers(value: unknown): number[] {
  if (typeof value === 'number') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(wholeNumbers) : []
}

describe('an event as OCSF', () => {
  it.each(EVENT_KINDS)('is of a class of the schema, and nothing of it is lost: %s', (kind) => {
    const twins = new Map<string, unknown>()
    fc.assert(
      fc.property(anyEvent(kind), (event) => {
        const json = eventToJson(event)
        const ocsf = ocsfOf(json, '1.2.3')
        expect(ocsfProblems(ocsf)).toEqual([])
        const { unmapped, metadata } = ocsf as {
          unmapped: { sluice: object }
          metadata: { uid: string; version: string }
        }
        expect(unmapped.sluice).toMatchObject({
          kind,
          [kind]: Reflect.get(json, kind),
          seq: json.seq,
          sandbox: json.sandbox,
        })
        expect(metadata).toMatchObject({ uid: json.uid, version: '1.8.0' })
        expect(wholeNumbers({ ...ocsf, unmapped: null }).every(Number.isSafeInteger)).toBe(true)
        for (const [id, text] of TWINS) {
          if (!(id in ocsf)) continue
          const key = `${kind} ${id} ${ocsf[id]}`
          if (ocsf.activity_id !== 99) expect(ocsf[text]).toBe(twins.get(key) ?? ocsf[text])
          twins.set(key, ocsf[text])
          expect(ocsf[text], key).toEqual(expect.any(String))
        }
      }),
      { numRuns: 150 },
    )
  })

  it.each(['__proto__', 'constructor', 'NOSUCH'])('has an other code for what the resolver calls %s', (rcode) => {
    const json = eventToJson({ uid: 'u', node: { name: 'node' }, sandbox: { id: 'box' }, dns: { name: 'a', rcode } })
    const ocsf = ocsfOf(json, '1.2.3')
    expect(ocsfProblems(ocsf)).toEqual([])
    expect(ocsf).toMatchObject({ rcode, rcode_id: 99 })
  })

  it('names an address that is longer than the schema takes, written with all its zeros', () => {
    const address = '0000:0000:0000:0000:0000:0000:100.100.100.100'
    for (const kind of [{ connect: { address, port: 443 } }, { dns: { name: 'a', resolver: address } }]) {
      const ocsf = ocsfOf(eventToJson({ uid: 'u', node: { name: 'node' }, sandbox: { id: 'box' }, ...kind }), '1.2.3')
      expect(ocsfProblems(ocsf)).toEqual([])
      expect(ocsf).toMatchObject({ dst_endpoint: { name: address } })
    }
  })

  const verdict = (decision: number) => ({ decision, rule: 'egress[2]', policy: 'p', reason: 'no rule allows it' })
  const connect = (decision: number, errno: number) =>
    ocsfOf(
      eventToJson({
        ...{ uid: 'u', node: { name: 'node' }, sandbox: { id: 'box', agent: 'claude' }, sessionId: 's' },
        process: {
          pid: 7,
          ppid: 3,
          execId: 'e',
          exe: Buffer.from('/usr/bin/curl'),
          args: [Buffer.from('curl'), Buffer.from('a b')],
        },
        connect: {
          protocol: 1,
          address: '192.0.2.1',
          port: 443,
          hostname: 'example.com',
          via: 1,
          errno,
          verdict: verdict(decision),
        },
      }) as EventJson,
      '1',
    )

  it.each([
    ['allowed', 1, 0, { activity_id: 1, action_id: 1, disposition_id: 1, severity_id: 1, status_id: 1 }],
    ['on its way', 1, 115, { activity_id: 1, action_id: 1, disposition_id: 1, status_id: 0 }],
    ['failed', 1, 111, { activity_id: 4, status_id: 2, status_detail: 'ECONNREFUSED' }],
    ['denied', 2, 1, { activity_id: 5, action_id: 2, disposition_id: 2, severity_id: 3, message: 'no rule allows it' }],
    ['that would be denied', 3, 0, { activity_id: 1, action_id: 1, disposition_id: 15, severity_id: 2 }],
  ])('says of a connect whether it was let through: one %s', (_, decision, errno, expected) => {
    expect(connect(decision, errno)).toMatchObject({
      ...{ class_uid: 4001, dst_endpoint: { ip: '192.0.2.1', port: 443, hostname: 'example.com' } },
      ...{ actor: { app_name: 'claude', process: { pid: 7, name: 'curl', cmd_line: "curl 'a b'" } } },
      ...{ firewall_rule: { uid: 'egress[2]' }, policy: { name: 'p' }, ...expected },
    })
  })

  it('has what a detection measured, what is usual, and who is asked to look', () => {
    const found = {
      detector: 'volume',
      severity: 3,
      title: 't',
      reason: 'r',
      evidence: ['a'],
      measured: 61,
      threshold: 60,
      baseline: 9,
    }
    expect(ocsfOf(eventToJson({ uid: 'u', sessionId: 's', detection: found }), '1')).toMatchObject({
      ...{ class_uid: 2004, activity_id: 1, is_alert: true, severity: 'Medium', status: 'New', message: 'r' },
      finding_info: { uid: 'u', analytic: { name: 'volume' }, related_events: [{ uid: 'a' }] },
      anomaly_analyses: [
        { anomalies: [{ observations: [{ value: '61' }] }], baselines: [{ observations: [{ value: '9' }] }] },
      ],
    })
  })
})
