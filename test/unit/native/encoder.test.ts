import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { loadAddon } from '../../../src/native/addon.js'
import { ABI } from '../../../src/native/generated/abi.js'
import {
  EventBatch,
  encodeBuffer,
  fromBigInt,
  type IKernelEvent,
  KernelEvent,
  toBigInt,
} from '../../../src/proto/codec.js'
import { bitsOf, buildRecord, KIND_NUMBERS, type Kind, layoutOf, type RecordParts } from '../../support/ring-record.js'

const addon = loadAddon()
const KINDS: readonly Kind[] = [
  'exec',
  'fork',
  'exit',
  'file_open',
  'connect',
  'exec_failed',
  'file_change',
  'closed',
  'listen',
  'socket',
  'cgroup',
  'stdin',
  'quarantine',
]
const { SL_PATH_MAX, SL_SOCKADDR_MAX, SL_ARGS_MAX, SL_INPUT_MAX, SL_INTERPRETER_MAX } = ABI.limits
/** Where a varint gets longer, and where a sign would show. */
const BOUNDARIES = [0n, 1n, 127n, 128n, 16383n, 16384n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n]
const HEADER_FIELDS = [
  ['cpu', 'cpu'],
  ['cpu_seq', 'cpuSeq'],
  ['time_ns', 'timeNs'],
  ['sandbox', 'sandbox'],
  ['cgroup_id', 'cgroupId'],
  ['start_time_ns', 'startTimeNs'],
  ['pid', 'pid'],
  ['tid', 'tid'],
  ['ppid', 'ppid'],
  ['uid', 'uid'],
  ['gid', 'gid'],
  ['exec_count', 'execCount'],
] as const
const SOCKET_CALL = [
  ['cookie', 'cookie'],
  ['port', 'port'],
  ['local_port', 'localPort'],
  ['family', 'family'],
  ['protocol', 'protocol'],
  ['via', 'via'],
  ['error', 'error'],
  ['type', 'type'],
  ['flags', 'flags'],
  ['count', 'count'],
  ['last_ns', 'lastNs'],
  ['base_flags', 'baseFlags'],
] as const
const SOCKET_CALL_STRINGS = [
  ['base_len', 'base', SL_PATH_MAX],
  ['sockaddr_len', 'sockaddr', SL_SOCKADDR_MAX],
] as const
/** Integers of each kind's own struct, with the name they have on the wire. Lengths are the strings' business. */
const OWN_FIELDS: Readonly<Record<Kind, readonly (readonly [string, string])[]>> = {
  exec: [
    ['args_bytes', 'argsBytes'],
    ['exe_inode', 'exeInode'],
    ['exe_dev', 'exeDev'],
    ['flags', 'flags'],
    ['argc', 'argc'],
    ['exe_flags', 'exeFlags'],
    ['cwd_flags', 'cwdFlags'],
    ['script_base_flags', 'scriptBaseFlags'],
  ],
  fork: [
    ['child_pid', 'childPid'],
    ['child_start_time_ns', 'childStartTimeNs'],
  ],
  exit: [['status', 'status']],
  file_open: [
    ['inode', 'inode'],
    ['dev', 'dev'],
    ['flags', 'flags'],
    ['error', 'error'],
    ['created', 'created'],
    ['path_flags', 'pathFlags'],
    ['repeats', 'repeats'],
    ['first_ns', 'firstTimeNs'],
    ['last_ns', 'lastTimeNs'],
  ],
  connect: SOCKET_CALL,
  listen: SOCKET_CALL,
  socket: SOCKET_CALL,
  closed: [
    ['cookie', 'cookie'],
    ['bytes_sent', 'bytesSent'],
    ['bytes_received', 'bytesReceived'],
    ['duration_ns', 'durationNs'],
    ['port', 'port'],
    ['local_port', 'localPort'],
    ['incoming', 'incoming'],
  ],
  exec_failed: [
    ['base_flags', 'baseFlags'],
    ['error', 'error'],
  ],
  file_change: [
    ['op', 'op'],
    ['base_flags', 'baseFlags'],
    ['new_base_flags', 'newBaseFlags'],
    ['error', 'error'],
  ],
  cgroup: [
    ['op', 'op'],
    ['path_flags', 'pathFlags'],
    ['target', 'target'],
    ['actor', 'actorPid'],
    ['flags', 'flags'],
  ],
  stdin: [['bytes', 'bytes']],
  quarantine: [
    ['cause', 'cause'],
    ['subject', 'subjectPid'],
    ['stopped', 'stopped'],
  ],
}
/** Length field, name on the wire, longest. */
const STRINGS: Readonly<Record<Kind, readonly (readonly [string, string, number])[]>> = {
  exec: [
    ['exe_len', 'exe', SL_PATH_MAX],
    ['cwd_len', 'cwd', SL_PATH_MAX],
    ['args_len', 'args', SL_ARGS_MAX],
    ['script_base_len', 'scriptBase', SL_PATH_MAX],
    ['script_len', 'script', SL_PATH_MAX],
    ['interpreter_len', 'interpreter', SL_INTERPRETER_MAX],
  ],
  fork: [],
  exit: [],
  file_open: [
    ['path_len', 'path', SL_PATH_MAX],
    ['user_path_len', 'userPath', SL_PATH_MAX],
  ],
  connect: SOCKET_CALL_STRINGS,
  listen: SOCKET_CALL_STRINGS,
  socket: SOCKET_CALL_STRINGS,
  closed: [],
  exec_failed: [
    ['base_len', 'base', SL_PATH_MAX],
    ['path_len', 'path', SL_PATH_MAX],
  ],
  file_change: [
    ['base_len', 'base', SL_PATH_MAX],
    ['path_len', 'path', SL_PATH_MAX],
    ['new_base_len', 'newBase', SL_PATH_MAX],
    ['new_path_len', 'newPath', SL_PATH_MAX],
  ],
  cgroup: [['path_len', 'path', SL_PATH_MAX]],
  stdin: [['text_len', 'text', SL_INPUT_MAX]],
  quarantine: [],
}
const FACTS: Readonly<Record<Kind, string>> = {
  exec: 'exec',
  fork: 'fork',
  exit: 'exit',
  file_open: 'fileOpen',
  connect: 'connect',
  exec_failed: 'execFailed',
  file_change: 'fileChange',
  closed: 'connectionClosed',
  listen: 'listen',
  socket: 'socket',
  cgroup: 'cgroup',
  stdin: 'stdin',
  quarantine: 'quarantine',
}

interface Sample {
  readonly parts: RecordParts
  readonly event: IKernelEvent
}

/** A record and what protobufjs would make of it. `integer` gives each field's value, `length` each string's. */
function sample(
  kind: Kind,
  integer: (field: string) => bigint,
  length: (field: string, max: number) => number,
): Sample {
  const header: Record<string, bigint> = {}
  const own: Record<string, bigint | Uint8Array> = {}
  const event: Record<string, unknown> = { kind: KIND_NUMBERS[kind] }
  const facts: Record<string, unknown> = {}
  for (const [field, wire] of HEADER_FIELDS) {
    header[field] = put(event, wire, integer(field), bitsOf(ABI.structs.sl_event_hdr, field))
  }
  for (const [field, wire] of OWN_FIELDS[kind]) {
    own[field] = put(facts, wire, integer(field), bitsOf(layoutOf(kind), field))
  }
  if ('addr' in layoutOf(kind).fields) {
    own.addr = Buffer.from('00000000000000000000ffff7f000001', 'hex')
    facts.addr = own.addr
  }
  const strings = STRINGS[kind].map(([field, wire, max], index) => {
    const text = Buffer.alloc(length(field, max), 97 + index)
    own[field] = BigInt(text.length)
    if (text.length > 0) facts[wire] = text
    return text
  })
  event[FACTS[kind]] = facts
  return { parts: { kind, header, own, strings }, event: event as IKernelEvent }
}

/** Cuts a value to its field and names it for protobufjs, which writes a zero that it is given: proto3 doesn't. */
function put(target: Record<string, unknown>, wire: string, wanted: bigint, bits: number): bigint {
  const value = BigInt.asUintN(bits, wanted)
  if (value === 0n) return value
  if (wire === 'created' || wire === 'stopped' || wire === 'incoming') target[wire] = true
  else target[wire] = bits === 64 ? fromBigInt(value) : Number(value)
  return value
}

/** How many calls it tells of comes right behind the sandbox, so that a reader finds it early. */
function expected(event: IKernelEvent): string {
  const { kind, timeNs, cpuSeq, sandbox, ...rest } = event
  const repeats = event.fileOpen?.repeats ?? fromBigInt(BigInt(event.connect?.count ?? 0))
  const happened = toBigInt(repeats) > 1n ? { happened: repeats } : {}
  const head = Object.entries({ kind, timeNs, cpuSeq, sandbox }).filter(([, value]) => value !== undefined)
  const parts = [Object.fromEntries(head), happened, rest].map((part) => encodeBuffer(KernelEvent, part))
  const usual = encodeBuffer(EventBatch, { events: [{ ...event, ...happened }] })
  const body = Buffer.concat(parts)
  return Buffer.concat([usual.subarray(0, usual.length - body.length), body]).toString('hex')
}

function encoded(parts: RecordParts): string {
  const bytes = addon.encodeRecord(buildRecord(parts))
  if (bytes === null) throw new Error('the record was refused')
  return bytes.toString('hex')
}

describe.each(KINDS)('the encoding of a %s record', (kind) => {
  it.each(BOUNDARIES)('is protobufjs’s with every integer at %s', (value) => {
    const { parts, event } = sample(
      kind,
      () => value,
      () => 0,
    )
    expect(encoded(parts)).toBe(expected(event))
  })

  it.each([0, 1, 127, 128, 4095, 4096, 16383, 16384, SL_ARGS_MAX])(
    'is protobufjs’s with strings of %s bytes',
    (size) => {
      const { parts, event } = sample(
        kind,
        () => 5n,
        (_, max) => Math.min(size, max),
      )
      const bytes = encoded(parts)
      expect(bytes).toBe(expected(event))
      expect(bytes.length / 2).toBeLessThanOrEqual(addon.maxEncodedEvent)
    },
  )

  it('is protobufjs’s for any values', () => {
    fc.assert(
      fc.property(
        fc.infiniteStream(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
        fc.infiniteStream(fc.nat(300)),
        (values, sizes) => {
          const { parts, event } = sample(
            kind,
            () => values.next().value ?? 0n,
            (_, max) => Math.min(sizes.next().value ?? 0, max),
          )
          expect(encoded(parts)).toBe(expected(event))
        },
      ),
      { numRuns: 200 },
    )
  })

  it('does not depend on what lies behind the used bytes', () => {
    const { parts, event } = sample(
      kind,
      () => 300n,
      () => 7,
    )
    const padded = Buffer.concat([buildRecord(parts), Buffer.alloc(500, 0xff)])
    expect(addon.encodeRecord(padded)?.toString('hex')).toBe(expected(event))
  })
})
