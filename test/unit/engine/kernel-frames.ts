/** Frames as a sensor sends them, for the tests of the engine. Encoded by the codec: facts in, bytes of one ConnectRequest out. */
import {
  ConnectRequest,
  encodeBuffer,
  fromBigInt,
  type IKernelEvent,
  type IKindLoss,
} from '../../../src/proto/codec.js'

export const BOOT_TO_UNIX_NS = 1_700_000_000_000_000_000n
export const SANDBOX = 4242n

export interface FactOptions {
  /** CLOCK_BOOTTIME in ms */
  ms: number
  pid?: number
  startMs?: number
  execCount?: number
  sandbox?: bigint
  cpu?: number
  cpuSeq?: number
}

type Facts = Pick<
  IKernelEvent,
  | 'exec'
  | 'fork'
  | 'exit'
  | 'fileOpen'
  | 'connect'
  | 'execFailed'
  | 'fileChange'
  | 'connectionClosed'
  | 'listen'
  | 'socket'
>

const KINDS: Readonly<Record<keyof Facts, number>> = {
  ...{ exec: 1, fork: 2, exit: 3, fileOpen: 4, connect: 5 },
  ...{ execFailed: 6, fileChange: 7, connectionClosed: 9, listen: 10, socket: 11 },
}

export function ns(ms: number): bigint {
  return BigInt(Math.round(ms * 1_000_000))
}

export function fact(options: FactOptions, facts: Facts): IKernelEvent {
  const [name] = Object.keys(facts)
  const pid = options.pid ?? 100
  return {
    kind: KINDS[name as keyof Facts],
    timeNs: fromBigInt(ns(options.ms)),
    cpuSeq: fromBigInt(BigInt(options.cpuSeq ?? options.ms)),
    sandbox: fromBigInt(options.sandbox ?? SANDBOX),
    pid,
    tid: pid,
    ppid: 1,
    uid: 1000,
    gid: 1000,
    execCount: options.execCount ?? 1,
    startTimeNs: fromBigInt(ns(options.startMs ?? 1)),
    cgroupId: fromBigInt(options.sandbox ?? SANDBOX),
    cpu: options.cpu ?? 0,
    ...facts,
  }
}

export function exec(options: FactOptions, exe: string, args: readonly string[]): IKernelEvent {
  const bytes = Buffer.from(args.map((arg) => `${arg}\0`).join(''))
  const facts = { exe: Buffer.from(exe), cwd: Buffer.from('/work'), args: bytes, argc: args.length }
  return fact(options, { exec: { ...facts, argsBytes: fromBigInt(BigInt(bytes.length)), exeInode: fromBigInt(7n) } })
}

export function open(
  options: FactOptions,
  path: string,
  more: NonNullable<IKernelEvent['fileOpen']> = {},
): IKernelEvent {
  return fact(options, { fileOpen: { path: Buffer.from(path), userPath: Buffer.from(path), ...more } })
}

export interface BatchOptions {
  seq: number
  events: readonly IKernelEvent[]
  watermarkMs: number
  losses?: IKindLoss[]
  eventCount?: number
}

export function batch(options: BatchOptions): Buffer {
  return encodeBuffer(ConnectRequest, {
    batch: {
      batchSeq: fromBigInt(BigInt(options.seq)),
      bootToUnixNs: fromBigInt(BOOT_TO_UNIX_NS),
      watermarkNs: fromBigInt(ns(options.watermarkMs)),
      eventCount: options.eventCount ?? options.events.length,
      losses: options.losses ?? [],
      events: [...options.events],
    },
  })
}

export function loss(kind: number, dropped: number, missed = 0): IKindLoss {
  const count = (value: number) => fromBigInt(BigInt(value))
  return { kind, attempted: count(dropped + 1000), dropped: count(dropped), missed: count(missed) }
}

/** What was dropped of one sandbox. */
export function lossOf(sandbox: bigint, kind: number, dropped: number): IKindLoss {
  return { kind, sandbox: fromBigInt(sandbox), dropped: fromBigInt(BigInt(dropped)) }
}
