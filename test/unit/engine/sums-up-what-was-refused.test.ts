import { describe, expect, it } from 'vitest'
import { RunningSummary } from '../../../src/engine/summary.js'
import { Decision, fromBigInt, type IEvent, Protocol, toBigInt, Via } from '../../../src/proto/codec.js'

const END = { exitCode: 0, signal: 0, killed: 0, durationMs: 0n, events: 1, processes: 1 }
const denied = { decision: Decision.DECISION_DENY, rule: 'default' }
const connect = (more: IEvent['connect']): IEvent => ({
  connect: { protocol: Protocol.PROTOCOL_TCP, address: '10.1.2.3', port: 80, count: fromBigInt(1n), ...more },
})

function closed(events: readonly IEvent[]) {
  const summary = new RunningSummary()
  for (const event of events) summary.add(event)
  // As an engine that was started again goes on with it.
  return new RunningSummary(structuredClone(summary.state)).close(END)
}

function refusals(events: readonly IEvent[]) {
  const { refused, refusals: list } = closed(events)
  const told = (list ?? []).map(({ target, rule, count }) => [
    Buffer.from(target ?? []).toString(),
    rule,
    toBigInt(count),
  ])
  return { refused: toBigInt(refused), told }
}

describe('a summary', () => {
  it('has what each rule refused, most first, by target, folded ones by their count', () => {
    const { refused, told } = refusals([
      { dns: { name: 'paste.example', verdict: { ...denied, rule: 'egress[1]' } } },
      connect({ verdict: denied, count: fromBigInt(40n) }),
      connect({ verdict: { ...denied, decision: Decision.DECISION_WOULD_DENY }, address: '2001:db8::1', port: 443 }),
      connect({ verdict: denied, protocol: Protocol.PROTOCOL_RAW, via: Via.VIA_SOCKET, address: '', port: 0 }),
      { listen: { protocol: Protocol.PROTOCOL_TCP, address: '0.0.0.0', port: 80, verdict: denied } },
      connect({ verdict: denied }),
    ])
    expect(refused).toBe(45n)
    expect(told).toEqual([
      ['tcp 10.1.2.3:80', 'default', 41n],
      ['dns paste.example', 'egress[1]', 1n],
      ['tcp [2001:db8::1]:443', 'default', 1n],
      ['raw socket', 'default', 1n],
      ['listen tcp 0.0.0.0:80', 'default', 1n],
    ])
  })

  it('has nothing of what was allowed or brought to the gateway', () => {
    const verdict = (decision: Decision) => connect({ verdict: { decision, rule: 'dns' } })
    expect(refusals([verdict(Decision.DECISION_ALLOW), verdict(Decision.DECISION_REDIRECT), connect({})])).toEqual({
      ...{ refused: 0n, told: [] },
    })
  })

  it('keeps a bounded list, and counts all', () => {
    const many = Array.from({ length: 10_000 }, (_, port) => connect({ verdict: denied, port }))
    const { refused, refusals: list, more } = closed(many)
    expect(toBigInt(refused)).toBe(10_000n)
    expect(list).toHaveLength(64)
    expect(toBigInt(more)).toBeGreaterThan(4_000n)
  })
})
