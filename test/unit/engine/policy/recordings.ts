/** Recordings for tests: lines as the engine writes them. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Decision, fromBigInt, type IEvent, Protocol, Via } from '../../../../src/proto/codec.js'
import { eventLine } from '../../../../src/proto/event-json.js'

const START_NS = 1_769_869_387_000_000_000n // 2026-01-31T14:23:07Z
const SECOND_NS = 1_000_000_000n

export interface Happened {
  readonly session?: string
  readonly exe?: string
  readonly connect?: Partial<{
    protocol: Protocol
    address: string
    port: number
    hostname: string
    errno: number
    count: number
    via: Via
    decision: Decision
    rule: string
  }>
  readonly dns?: { name: string; answers?: string[]; decision?: Decision }
  readonly listen?: { protocol?: Protocol; address?: string; port?: number }
}

export function uidOf(index: number): string {
  return `019c1448-0000-7000-8000-${String(index).padStart(12, '0')}`
}

/** One event a second; the path of the file. */
export function recording(dir: string, happened: readonly Happened[], name = 'record.jsonl'): string {
  const path = join(dir, name)
  const lines = happened.map((each, index) => eventLine(eventOf(each, index)))
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''))
  return path
}

function eventOf({ session = 's1', exe = '/usr/bin/curl', connect, dns, listen }: Happened, index: number): IEvent {
  const common: IEvent = {
    ...{
      schema: 1,
      source: 'test',
      node: { name: 'n', bootId: 'b' },
      uid: uidOf(index),
      sandbox: { id: 'x', name: 'x' },
    },
    ...{
      timeUnixNs: fromBigInt(START_NS + BigInt(index) * SECOND_NS),
      seq: fromBigInt(BigInt(index + 1)),
      sessionId: session,
    },
    process: { execId: 'e', pid: 1, exe: Buffer.from(exe) },
  }
  if (dns !== undefined) {
    const verdict = { decision: dns.decision ?? Decision.DECISION_ALLOW, rule: 'none' }
    return { ...common, dns: { name: dns.name, type: 'A', rcode: 'NOERROR', answers: dns.answers ?? [], verdict } }
  }
  if (listen !== undefined) {
    return { ...common, listen: { protocol: Protocol.PROTOCOL_TCP, address: '0.0.0.0', ...listen } }
  }
  const { decision = Decision.DECISION_ALLOW, rule = 'none', count = 1, ...rest } = connect ?? {}
  return {
    ...common,
    connect: {
      ...{ protocol: Protocol.PROTOCOL_TCP, port: 443, via: Via.VIA_CONNECT, ...rest },
      ...{ count: fromBigInt(BigInt(count)), verdict: { decision, rule } },
    },
  }
}
