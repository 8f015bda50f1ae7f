/** Events as the engine sends them, one of each kind, for the tests of what is shown. */
import {
  Access,
  CallClass,
  CgroupOp,
  Decision,
  fromBigInt,
  type IEvent,
  Protocol,
  QuarantineCause,
  Severity,
  Stage,
  Via,
} from '../../../src/proto/codec.js'
import { type EventJson, eventToJson } from '../../../src/proto/event-json.js'

const TIME_NS = 1_769_869_387_123_456_789n // 2026-01-31T14:23:07.123456789Z

const bytes = (text: string) => Buffer.from(text)

export const common: IEvent = {
  schema: 1,
  source: 'test',
  node: { name: 'node-1', bootId: 'boot-1' },
  uid: '019c1448-0000-7000-8000-000000000000',
  timeUnixNs: fromBigInt(TIME_NS),
  seq: fromBigInt(7n),
  sandbox: { id: 'box-1', name: 'box' },
  sessionId: 'session-1',
  process: {
    execId: 'exec-1',
    pid: 42,
    exe: bytes('/usr/bin/curl'),
    args: [bytes('curl'), bytes('-s'), bytes('http://x y/')],
  },
}

const verdict = { decision: Decision.DECISION_ALLOW, rule: 'none' }

export const kinds = {
  exec: { exec: {} },
  sends: {
    connect: {
      protocol: Protocol.PROTOCOL_UDP,
      address: '127.0.0.1',
      port: 53,
      via: Via.VIA_SENDMSG,
      count: fromBigInt(9n),
      verdict,
    },
  },
  unix: { connect: { protocol: Protocol.PROTOCOL_UNIX, address: '/run/a b', via: Via.VIA_CONNECT, verdict } },
  socket: { connect: { protocol: Protocol.PROTOCOL_TCP, via: Via.VIA_SOCKET, verdict } },
  packet: { connect: { protocol: Protocol.PROTOCOL_PACKET, via: Via.VIA_SOCKET, errno: 1, verdict } },
  listen: { listen: { protocol: Protocol.PROTOCOL_TCP, address: '0.0.0.0', port: 80, errno: 98, verdict } },
  closed: {
    connectionClosed: {
      ...{ protocol: Protocol.PROTOCOL_TCP, address: '127.0.0.1', port: 4000, localPort: 80, incoming: true },
      ...{ bytesSent: fromBigInt(12n), bytesReceived: fromBigInt(3456n), durationMs: fromBigInt(1500n) },
    },
  },
  exit: { exit: { code: 1, signal: 0, runtimeMs: fromBigInt(12n) } },
  killed: { exit: { code: 0, signal: 9, runtimeMs: fromBigInt(1_500n) } },
  write: {
    fileOpen: {
      path: bytes('/w/new file'),
      access: Access.ACCESS_WRITE,
      created: true,
      verdict,
      count: fromBigInt(1n),
    },
  },
  read: {
    fileOpen: { path: bytes('/w/none'), access: Access.ACCESS_READ, errno: 2, verdict, count: fromBigInt(3n) },
  },
  connect: {
    connect: { protocol: Protocol.PROTOCOL_TCP, address: '127.0.0.1', port: 80, errno: 111, verdict },
  },
  denied: {
    connect: {
      protocol: Protocol.PROTOCOL_UDP,
      address: '::1',
      port: 53,
      hostname: 'ns.example',
      verdict: { decision: Decision.DECISION_WOULD_DENY, rule: 'egress[2]' },
    },
  },
  stdin: {
    stdin: { text: bytes('make all\n'), originalBytes: fromBigInt(9n), truncated: false },
  },
  unshown: {
    stdin: { text: bytes('[redacted]'), originalBytes: fromBigInt(8n), truncated: false, unshown: true },
  },
  cgroup: { cgroupChange: { op: CgroupOp.CGROUP_OP_ESCAPE, path: bytes('/a b'), actorPid: 7 } },
  quarantine: { quarantine: { cause: QuarantineCause.QUARANTINE_CAUSE_FORK, pid: 43, stopped: true } },
  checkpoint: {
    process: null,
    checkpoint: { sessionId: 's-1', number: fromBigInt(2n), records: fromBigInt(1_200n), isSeal: true },
  },
  toolCall: {
    process: null,
    toolCall: {
      class: CallClass.CALL_CLASS_SHELL,
      command: bytes('make all'),
      ended: true,
      exitCode: 2,
      processes: 3,
      filesChanged: [bytes('/w/a')],
    },
  },
  detection: {
    process: null,
    detection: { detector: 'loop', severity: Severity.SEVERITY_MEDIUM, reason: '"make" was run 5 times' },
  },
  gap: {
    process: null,
    gap: {
      stage: Stage.STAGE_KERNEL_RING,
      kind: 'exec',
      count: fromBigInt(3n),
      exact: true,
      cause: 'the ring was full',
    },
  },
  started: {
    process: null,
    sandboxStarted: { mode: 'monitor', user: 'alice', workdir: bytes('/w'), command: [bytes('make'), bytes('all')] },
  },
  ended: {
    process: null,
    sandboxEnded: {
      summary: {
        durationMs: fromBigInt(3_400n),
        exitCode: 2,
        events: fromBigInt(12_345n),
        complete: true,
        processes: fromBigInt(3n),
        execs: fromBigInt(1n),
        filesOpened: fromBigInt(1_234n),
        filesFailed: fromBigInt(5n),
        filesWritten: fromBigInt(2n),
        connects: fromBigInt(1n),
        programs: [{ name: bytes('/usr/bin/make'), count: fromBigInt(1n) }],
        writtenPaths: ['/w/a', '/w/b c', '/tmp/d', '/w/e', '/w/f', '/w/g'].map((path) => ({
          name: bytes(path),
          count: fromBigInt(1n),
        })),
        destinations: [{ name: bytes('tcp 127.0.0.1:80'), count: fromBigInt(2n), failed: fromBigInt(2n) }],
      },
    },
  },
} as const satisfies Record<string, IEvent>

export function sample(kind: keyof typeof kinds, change: IEvent = {}): EventJson {
  return eventToJson({ ...common, ...kinds[kind], ...change })
}

export const allSamples = (): EventJson[] => (Object.keys(kinds) as (keyof typeof kinds)[]).map((kind) => sample(kind))
