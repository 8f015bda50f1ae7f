/** Every event that can be made is a document of the Elastic Common Schema, by the published list of its fields. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EVENT_KINDS, eventToJson } from '../../../src/proto/event-json.js'
import { ecsOf } from '../../../src/schema/ecs.js'
import { anyEvent } from '../../support/any-event.js'
import { ecsProblems } from '../../support/ecs-fields.js'

describe('an event as ECS', () => {
  it.each(EVENT_KINDS)('has fields, types and values that ECS knows, and nothing of it is lost: %s', (kind) => {
    fc.assert(
      fc.property(anyEvent(kind), (event) => {
        const json = eventToJson(event)
        const ecs = ecsOf(json, '1.2.3')
        expect(ecsProblems(ecs)).toEqual([])
        expect(ecs).toMatchObject({
          ...{ '@timestamp': json.time, ecs: { version: '9.4.0' }, event: { id: json.uid, code: kind } },
          sluice: { kind, [kind]: Reflect.get(json, kind), seq: json.seq, sandbox: json.sandbox },
        })
      }),
      { numRuns: 150 },
    )
  })

  it('is checked by a list that knows what is wrong', () => {
    const event = { category: ['file'], type: ['start'] }
    expect(ecsProblems({ event })).toEqual(['type start of none', 'file without a type'])
    expect(ecsProblems({ event: { category: [], type: [], kind: 'odd' }, process: { pid: 'x', no: 1 } })).toEqual([
      "event.kind can't be odd",
      'process.pid is of type long, not "x"',
      'process.no is no field of ECS',
    ])
  })

  const common = {
    uid: 'u',
    node: { name: 'n1', bootId: 'b1' },
    sessionId: 's',
    sandbox: { id: 'box', agent: 'claude' },
  }
  const denied = { decision: 2, rule: 'egress[2]', policy: 'p', reason: 'no rule allows it' }

  it('has both ends, the rule and the refusal of a connection', () => {
    const connect = {
      protocol: 1,
      address: '2001:db8::1',
      port: 443,
      hostname: 'example.com',
      via: 1,
      errno: 1,
      verdict: denied,
    }
    const process = {
      pid: 7,
      ppid: 3,
      execId: 'e',
      exe: Buffer.from('/usr/bin/curl'),
      args: ['curl', 'a b'].map((arg) => Buffer.from(arg)),
    }
    expect(ecsOf(eventToJson({ ...common, process, connect }), '1')).toMatchObject({
      event: {
        ...{
          kind: 'event',
          category: ['network', 'intrusion_detection'],
          type: ['connection', 'denied'],
          outcome: 'failure',
        },
        reason: 'no rule allows it',
      },
      destination: { ip: '2001:db8::1', port: 443, domain: 'example.com' },
      network: { transport: 'tcp', type: 'ipv6', direction: 'egress', iana_number: '6' },
      rule: { id: 'egress[2]', ruleset: 'p' },
      process: { pid: 7, name: 'curl', command_line: "curl 'a b'", parent: { pid: 3 } },
      ...{ labels: { agent: 'claude', session: 's' }, related: { ip: ['2001:db8::1'], hosts: ['example.com'] } },
    })
  })

  it('makes an alert of what a person should look at, and of nothing less', () => {
    const found = (severity: number) =>
      ecsOf(eventToJson({ ...common, detection: { detector: 'loop', severity, reason: 'r' } }), '1')
    expect(found(3)).toMatchObject({ event: { kind: 'alert', severity: 3, reason: 'r' }, rule: { id: 'loop' } })
    expect(found(2)).toMatchObject({ event: { kind: 'event', severity: 2 } })
  })
})
