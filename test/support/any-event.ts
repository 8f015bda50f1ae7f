/** Events of every kind with whatever their fields can hold, what no event should hold included. */
import fc from 'fast-check'
import { fromBigInt, type IEvent, type IProcess, type IVerdict } from '../../src/proto/codec.js'
import type { EventKind } from '../../src/proto/event-json.js'

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((each) => Buffer.from(each)),
  fc.constantFrom('', '/', '/usr/bin/bash', '/w/a b', "it's\n\x1b[31m", '𝕊/é').map((each) => Buffer.from(each)),
)
const word = fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom('', 'egress[2]', 'operator', 'NXDOMAIN'))
const u64 = fc.oneof(fc.constantFrom(0n, 1n, 2n ** 64n - 1n), fc.bigInt({ min: 0n, max: 2n ** 40n })).map(fromBigInt)
const time = fc.oneof(fc.constant(0n), fc.bigInt({ min: 1n, max: 2n ** 62n })).map(fromBigInt)
const u32 = fc.oneof(fc.constantFrom(0, 1, 115, 443, 65_535, 65_536, 2 ** 32 - 1), fc.nat(300))
/** Of an enum, also numbers that no version knows. */
const number = fc.nat(14)
const flag = fc.boolean()
const address = fc.oneof(word, fc.ipV4(), fc.ipV6(), fc.constantFrom('fe80::1%eth0', '/run/x.sock', '@abstract'))

const verdict: fc.Arbitrary<IVerdict> = fc.record({ decision: number, rule: word, policy: word, reason: word })
const endpoint = { protocol: number, address, port: u32 }
const policy = fc.option(fc.record({ name: word, hash: word, mode: word }), { nil: null })

const process: fc.Arbitrary<IProcess> = fc.record({
  ...{ execId: word, parentExecId: word, pid: u32, tid: u32, ppid: u32, exe: bytes, cwd: bytes, argsBytes: u64 },
  ...{ args: fc.array(bytes, { maxLength: 4 }), argsTruncated: flag, uid: u32, gid: u32, startTimeUnixNs: time },
  spawnerExecId: word,
})

const KINDS: Readonly<Record<EventKind, fc.Arbitrary<object>>> = {
  exec: fc.record({
    exeInode: u64,
    setuid: flag,
    memfd: flag,
    deleted: flag,
    interpreter: bytes,
    script: bytes,
    adopted: flag,
  }),
  execFailed: fc.record({ path: bytes, errno: u32 }),
  exit: fc.record({ code: u32, signal: fc.nat(64), runtimeMs: u64 }),
  stdin: fc.record({ text: bytes, originalBytes: u64, truncated: flag, unshown: flag }),
  fileOpen: fc.record({
    ...{ path: bytes, userPath: bytes, resolved: flag, access: number, flags: fc.array(word), created: flag },
    ...{ errno: u32, verdict, count: u64, lastTimeUnixNs: time },
  }),
  fileChange: fc.record({ op: number, path: bytes, newPath: bytes, errno: u32, verdict }),
  connect: fc.record({
    ...{ ...endpoint, connectionId: word, hostname: word, localPort: u32, errno: u32, verdict, via: number },
    ...{ resolved: flag, count: u64, lastTimeUnixNs: time },
  }),
  connectionClosed: fc.record({
    ...{ ...endpoint, connectionId: word, bytesSent: u64, bytesReceived: u64, durationMs: u64, localPort: u32 },
    incoming: flag,
  }),
  listen: fc.record({ ...endpoint, errno: u32, verdict, connectionId: word, resolved: flag }),
  dns: fc.record({ name: word, type: word, rcode: word, answers: fc.array(word), resolver: address, verdict }),
  toolCall: fc.record({
    ...{ class: number, command: bytes, startTimeUnixNs: time, endTimeUnixNs: time, ended: flag, exitCode: u32 },
    ...{ signal: fc.nat(64), processes: u32, filesChanged: fc.array(bytes), hosts: fc.array(word), seenBy: number },
  }),
  detection: fc.record({
    ...{ detector: word, severity: number, title: word, reason: word, evidence: fc.array(word) },
    ...{ measured: u32, threshold: u32, baseline: fc.option(u32, { nil: undefined }), windowMs: u64 },
  }),
  response: fc.record({
    ...{ action: number, trigger: word, state: number, observed: word, undoneBy: word, untilUnixNs: time, step: u32 },
  }),
  gap: fc.record({
    ...{
      stage: number,
      kind: word,
      count: u64,
      exact: flag,
      fromUnixNs: time,
      toUnixNs: time,
      cause: word,
      countMax: u64,
    },
  }),
  sandboxStarted: fc.record({
    ...{ policyName: word, policyHash: word, mode: word, degraded: fc.array(word), user: word, workdir: bytes },
    command: fc.array(bytes),
  }),
  sandboxEnded: fc.record({ summary: fc.record({ exitCode: u32, signal: fc.nat(64), durationMs: u64, events: u64 }) }),
  policyChanged: fc.record({ from: policy, to: policy, by: word }),
  limitHit: fc.record({ what: word, refused: u64, windowMs: u64, verdict }),
  cgroupChange: fc.record({ op: number, path: bytes, cgroupId: u64, actorPid: u32 }),
  quarantine: fc.record({ cause: number, pid: u32, stopped: flag }),
  checkpoint: fc.record({
    sessionId: word,
    number: u64,
    records: u64,
    isSeal: flag,
    keyId: word,
    text: word,
    signature: bytes,
  }),
}

export function anyEvent(kind: EventKind): fc.Arbitrary<IEvent> {
  const sandbox = fc.record({ id: word, name: word, agent: word, task: word, cgroupPath: word })
  return fc
    .record({
      ...{ schema: fc.constant(1), source: word, node: fc.record({ name: word, bootId: word }), uid: fc.uuid() },
      ...{ timeUnixNs: time, seq: u64, sandbox, sessionId: word, toolCallId: word },
      ...{ process: fc.option(process, { nil: null }), what: KINDS[kind] },
    })
    .map(({ what, ...common }) => ({ ...common, [kind]: what }))
}
