/** Limits of a policy: read from its file, merged (the lowest counts), compiled, and said in words. What they are held by is the sensor's. */
import { fromBigInt, type ILimits, type IRateLimit } from '../../proto/codec.js'
import { parseByteRate, parseBytes, parseCount, parseDuration, parseRate, type Rate } from './quantity.js'
import type { PolicyFile } from './schema.js'

const MS_PER_S = 1_000

export interface RateRule {
  readonly perSecond: number
  readonly burst: number
}

/** Null: not limited. */
export interface LimitRules {
  readonly connects: RateRule | null
  readonly execs: RateRule | null
  readonly egressBytes: RateRule | null
  /** Bytes in all. */
  readonly egressTotal: number | null
  readonly processes: number | null
  readonly memory: number | null
  readonly cpus: number | null
  readonly wallClockMs: number | null
  readonly connections: number | null
}

export const NO_LIMITS: LimitRules = Object.freeze({
  ...{ connects: null, execs: null, egressBytes: null, egressTotal: null, processes: null },
  ...{ memory: null, cpus: null, wallClockMs: null, connections: null },
})

type FileLimits = NonNullable<PolicyFile['limits']>

export function limitRulesOf(limits: FileLimits | undefined): LimitRules {
  if (limits === undefined) return NO_LIMITS
  const { connects, execs, egress_bytes: egress, processes, memory, cpu, wall_clock: clock, connections } = limits
  return {
    connects: rateRule(connects, parseRate, parseCount),
    execs: rateRule(execs, parseRate, parseCount),
    egressBytes:
      egress?.rate === undefined ? null : rateRule({ ...egress, rate: egress.rate }, parseByteRate, parseBytes),
    egressTotal: amount(egress?.total, parseBytes),
    processes: amount(processes, parseCount),
    memory: amount(memory, parseBytes),
    cpus: cpu ?? null,
    wallClockMs: amount(clock, parseDuration),
    connections: amount(connections, parseCount),
  }
}

/** Without a burst: what the rate gives in its unit of time. */
export function rateRule(
  limit: { readonly rate: string | number; readonly burst?: string | number | undefined } | undefined,
  parse: (text: string) => Rate | null,
  parseBurst: (text: string) => number | null,
): RateRule | null {
  const rate = limit === undefined ? null : parse(String(limit.rate))
  if (limit === undefined || rate === null) return null
  const burst = limit.burst === undefined ? null : parseBurst(String(limit.burst))
  return { perSecond: (rate.count * MS_PER_S) / rate.perMs, burst: burst ?? rate.count }
}

export function lowestLimits(one: LimitRules, other: LimitRules): LimitRules {
  return {
    connects: lowestRate(one.connects, other.connects),
    execs: lowestRate(one.execs, other.execs),
    egressBytes: lowestRate(one.egressBytes, other.egressBytes),
    egressTotal: lowest(one.egressTotal, other.egressTotal),
    processes: lowest(one.processes, other.processes),
    memory: lowest(one.memory, other.memory),
    cpus: lowest(one.cpus, other.cpus),
    wallClockMs: lowest(one.wallClockMs, other.wallClockMs),
    connections: lowest(one.connections, other.connections),
  }
}

export function lowestRate(one: RateRule | null, other: RateRule | null): RateRule | null {
  if (one === null || other === null) return one ?? other
  return { perSecond: Math.min(one.perSecond, other.perSecond), burst: Math.min(one.burst, other.burst) }
}

/** Null: there are none, and the policy says nothing of them. */
export function compiledLimits(rules: LimitRules): ILimits | null {
  const { connects, execs, egressBytes, egressTotal, processes, memory, cpus, wallClockMs, connections } = rules
  const limits: ILimits = {
    ...(connects === null ? {} : { connects: compiledRate(connects) }),
    ...(execs === null ? {} : { execs: compiledRate(execs) }),
    ...(egressBytes === null ? {} : { egressBytes: compiledRate(egressBytes) }),
    ...(egressTotal === null ? {} : { egressTotal: fromBigInt(BigInt(egressTotal)) }),
    ...(processes === null ? {} : { processes }),
    ...(memory === null ? {} : { memory: fromBigInt(BigInt(memory)) }),
    ...(cpus === null ? {} : { cpus }),
    ...(wallClockMs === null ? {} : { wallClockMs: fromBigInt(BigInt(wallClockMs)) }),
    ...(connections === null ? {} : { connections }),
  }
  return Object.keys(limits).length === 0 ? null : limits
}

/** A sentence each. */
export function explainLimits(rules: LimitRules): string[] {
  const { connects, execs, egressBytes, egressTotal, processes, memory, cpus, wallClockMs, connections } = rules
  return [
    ...(connects === null ? [] : [`limits.connects: ${ratePhrase(connects)} connects; more fail with EPERM.`]),
    ...(execs === null
      ? []
      : [`limits.execs: ${ratePhrase(execs)} programs started; more wait, and are killed where too many do.`]),
    ...(egressBytes === null
      ? []
      : [`limits.egress_bytes: ${ratePhrase(egressBytes)} bytes sent; TCP is slowed, other packets are dropped.`]),
    ...(egressTotal === null
      ? []
      : [`limits.egress_bytes: ${egressTotal} bytes in all; then nothing leaves any more.`]),
    ...(processes === null ? [] : [`limits.processes: ${processes} processes and threads at once.`]),
    ...(memory === null ? [] : [`limits.memory: ${memory} bytes; beyond, the kernel ends its processes.`]),
    ...(cpus === null ? [] : [`limits.cpu: the time of ${cpus} CPUs.`]),
    ...(wallClockMs === null ? [] : [`limits.wall_clock: it is killed after ${wallClockMs / MS_PER_S} s.`]),
    ...(connections === null
      ? []
      : [`limits.connections: ${connections} connections open at once; more fail with EPERM.`]),
  ]
}

function compiledRate({ perSecond, burst }: RateRule): IRateLimit {
  return { perSecond, burst: fromBigInt(BigInt(burst)) }
}

function ratePhrase({ perSecond, burst }: RateRule): string {
  return `${burst} at once and then ${Number(perSecond.toPrecision(6))} a second of`
}

function amount(value: string | number | undefined, parse: (text: string) => number | null): number | null {
  return value === undefined ? null : parse(String(value))
}

function lowest(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other
  return Math.min(one, other)
}
