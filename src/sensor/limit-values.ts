/**
 * Keys and values of the BPF maps for limits as bytes (bpf/limit_abi.h); offsets come from the generated ABI. Guards that no rounding lets more
 * through than was said: what one costs is rounded up.
 */
import { ABI } from '../native/generated/abi.js'
import { fromBigInt, type ILimits, type IRateLimit, toBigInt } from '../proto/codec.js'

/** Key of sl_limit_state, which has one entry. */
export const LIMIT_STATE_KEY: Uint8Array = Buffer.alloc(4)

const NS_PER_S = 1_000_000_000n
const BYTES_SHIFT = 20n
/** What the kernel side adds to a time of its clock stays far below 64 bits. */
const SPAN_MAX_NS = 1n << 62n
/** Execs that may wait, as a multiple of the burst. */
const WAITING_BURSTS = 10n
/** TCP is dropped only when it is so far beyond its rate: pacing has to be got around for that. */
const PACED_NS = 2n * NS_PER_S
const PACED_BYTES = 8n << BYTES_SHIFT

export function encodeLimitState({ limited }: { limited: boolean }): Buffer {
  const { size, fields } = ABI.structs.sl_limit_state
  const value = Buffer.alloc(size)
  value.writeUInt32LE(limited ? 1 : 0, fields.limited)
  return value
}

/** enum sl_limit, under the names that policies have for them. */
export const KERNEL_LIMITS = {
  connects: ABI.enums.SL_LIMIT_CONNECTS,
  execs: ABI.enums.SL_LIMIT_EXECS,
  egress_bytes: ABI.enums.SL_LIMIT_EGRESS,
  connections: ABI.enums.SL_LIMIT_CONNECTIONS,
} as const
export type KernelLimit = keyof typeof KERNEL_LIMITS

/** What holds for one of them. */
export interface LimitRule {
  readonly intervalNs: bigint
  readonly toleranceNs: bigint
  readonly slackNs: bigint
  readonly most: bigint
  /** enum sl_limit_flag */
  readonly flags: number
}

export interface SandboxLimitsValue {
  readonly sandbox: bigint
  readonly rules: Readonly<Partial<Record<KernelLimit, LimitRule>>>
}

const NO_RULE: LimitRule = { intervalNs: 0n, toleranceNs: 0n, slackNs: 0n, most: 0n, flags: 0 }

/** `stops`: who is over it is stopped. */
export interface RuleOptions {
  readonly enforced: boolean
  readonly throttled: boolean
  readonly stops: boolean
}

function flagsOf({ enforced, throttled, stops }: RuleOptions): number {
  const { SL_LIMIT_SET, SL_LIMIT_ENFORCED, SL_LIMIT_THROTTLED, SL_LIMIT_STOPS } = ABI.enums
  return (
    SL_LIMIT_SET |
    (enforced ? SL_LIMIT_ENFORCED : 0) |
    (throttled ? SL_LIMIT_THROTTLED : 0) |
    (stops ? SL_LIMIT_STOPS : 0)
  )
}

/** Of things that are counted one by one. */
export function countedRule(rate: IRateLimit, options: RuleOptions): LimitRule {
  const intervalNs = costNs(rate.perSecond ?? 0, 1)
  const burst = atLeastOne(toBigInt(rate.burst))
  const waiting = smaller(burst * WAITING_BURSTS, BigInt(ABI.limits.SL_HELD_OF_SANDBOX_MAX))
  return {
    intervalNs,
    toleranceNs: smaller((burst - 1n) * intervalNs, SPAN_MAX_NS),
    slackNs: smaller(waiting * intervalNs, SPAN_MAX_NS),
    most: 0n,
    flags: flagsOf(options),
  }
}

/** @param total 0: any number. A rate of null: only the total counts. */
export function bytesRule(rate: IRateLimit | null, total: bigint, options: RuleOptions): LimitRule {
  const common = { most: total, flags: flagsOf(options) }
  if (rate === null) return { ...NO_RULE, ...common }
  const intervalNs = costNs(rate.perSecond ?? 0, 2 ** Number(BYTES_SHIFT))
  const bytesNs = (bytes: bigint) => smaller((bytes * intervalNs) >> BYTES_SHIFT, SPAN_MAX_NS)
  const slackNs = larger(PACED_NS, bytesNs(PACED_BYTES))
  return { ...common, intervalNs, toleranceNs: bytesNs(toBigInt(rate.burst)), slackNs }
}

export function openRule(most: number, options: RuleOptions): LimitRule {
  return { ...NO_RULE, most: BigInt(most), flags: flagsOf(options) }
}

/** Rounded up. */
function costNs(perSecond: number, amount: number): bigint {
  const cost = Math.ceil((Number(NS_PER_S) * amount) / perSecond)
  return Number.isFinite(cost) && cost > 0 ? smaller(BigInt(cost), SPAN_MAX_NS) : SPAN_MAX_NS
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function atLeastOne(value: bigint): bigint {
  return larger(value, 1n)
}

/** Value of sl_limits. */
export function encodeLimits({ sandbox, rules }: SandboxLimitsValue): Buffer {
  const { size, fields } = ABI.structs.sl_limits
  const rule = ABI.structs.sl_limit_rule
  const value = Buffer.alloc(size)
  value.writeBigUInt64LE(sandbox, fields.sandbox)
  value.writeBigUInt64LE(sandbox, fields.sandbox_again)
  for (const [name, kind] of Object.entries(KERNEL_LIMITS)) {
    const { intervalNs, toleranceNs, slackNs, most, flags } = rules[name as KernelLimit] ?? NO_RULE
    const at = fields.rules + kind * rule.size
    value.writeBigUInt64LE(intervalNs, at + rule.fields.interval_ns)
    value.writeBigUInt64LE(toleranceNs, at + rule.fields.tolerance_ns)
    value.writeBigUInt64LE(slackNs, at + rule.fields.slack_ns)
    value.writeBigUInt64LE(most, at + rule.fields.most)
    value.writeUInt32LE(flags, at + rule.fields.flags)
  }
  return value
}

export function decodeLimits(value: Buffer): SandboxLimitsValue {
  const { fields } = ABI.structs.sl_limits
  const rule = ABI.structs.sl_limit_rule
  const rules: Partial<Record<KernelLimit, LimitRule>> = {}
  for (const [name, kind] of Object.entries(KERNEL_LIMITS)) {
    const at = fields.rules + kind * rule.size
    const flags = value.readUInt32LE(at + rule.fields.flags)
    if ((flags & ABI.enums.SL_LIMIT_SET) === 0) continue
    rules[name as KernelLimit] = {
      intervalNs: value.readBigUInt64LE(at + rule.fields.interval_ns),
      toleranceNs: value.readBigUInt64LE(at + rule.fields.tolerance_ns),
      slackNs: value.readBigUInt64LE(at + rule.fields.slack_ns),
      most: value.readBigUInt64LE(at + rule.fields.most),
      flags,
    }
  }
  return { sandbox: value.readBigUInt64LE(fields.sandbox), rules }
}

/** As people say it. */
export function limitsOf({ rules }: SandboxLimitsValue): ILimits {
  const { connects, execs, egress_bytes: egress, connections } = rules
  return {
    ...(connects === undefined ? {} : { connects: countedRate(connects) }),
    ...(execs === undefined ? {} : { execs: countedRate(execs) }),
    ...(egress === undefined || egress.intervalNs === 0n ? {} : { egressBytes: byteRate(egress) }),
    ...(egress === undefined || egress.most === 0n ? {} : { egressTotal: fromBigInt(egress.most) }),
    ...(connections === undefined ? {} : { connections: Number(connections.most) }),
  }
}

function countedRate({ intervalNs, toleranceNs }: LimitRule): IRateLimit {
  return { perSecond: Number(NS_PER_S) / Number(intervalNs), burst: fromBigInt(toleranceNs / intervalNs + 1n) }
}

function byteRate({ intervalNs, toleranceNs }: LimitRule): IRateLimit {
  const perSecond = (Number(NS_PER_S) * 2 ** Number(BYTES_SHIFT)) / Number(intervalNs)
  return { perSecond, burst: fromBigInt(((toleranceNs + 1n) << BYTES_SHIFT) / intervalNs) }
}

/** What a sandbox has done, as the kernel side counted. */
export interface Usage {
  readonly refused: Readonly<Record<KernelLimit, bigint>>
  readonly connections: bigint
  readonly bytes: bigint
  readonly held: bigint
  readonly killed: bigint
}

export function decodeUsage(value: Buffer): Usage {
  const { fields } = ABI.structs.sl_usage
  const refused = (kind: number) => value.readBigUInt64LE(fields.refused + kind * 8)
  return {
    refused: {
      connects: refused(KERNEL_LIMITS.connects),
      execs: refused(KERNEL_LIMITS.execs),
      egress_bytes: refused(KERNEL_LIMITS.egress_bytes),
      connections: refused(KERNEL_LIMITS.connections),
    },
    connections: value.readBigUInt64LE(fields.connections),
    bytes: value.readBigUInt64LE(fields.bytes),
    held: value.readBigUInt64LE(fields.held),
    killed: value.readBigUInt64LE(fields.killed),
  }
}

export const NO_USAGE: Uint8Array = Buffer.alloc(ABI.structs.sl_usage.size)

export interface Held {
  readonly sandbox: bigint
  /** CLOCK_MONOTONIC */
  readonly dueNs: bigint
  readonly pid: number
}

export function decodeHeld(value: Buffer): Held {
  const { fields } = ABI.structs.sl_held
  return {
    sandbox: value.readBigUInt64LE(fields.sandbox),
    dueNs: value.readBigUInt64LE(fields.due_ns),
    pid: value.readUInt32LE(fields.pid),
  }
}
