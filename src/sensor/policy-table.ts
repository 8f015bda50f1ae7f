/**
 * A compiled policy as the kernel side's table of addresses. Guards that what the kernel can't judge is refused here, by name, and
 * never becomes an allow: all of a policy is taken over, or nothing.
 */
import { SluiceError } from '../base/error.js'
import { ADDRESS_BYTES } from '../base/special-addresses.js'
import { ABI } from '../native/generated/abi.js'
import {
  type ICompiledPolicy,
  type INetEntry,
  type IPortRange,
  type IPortRule,
  Listeners,
  Mode,
  NetEntry,
  Protocol,
} from '../proto/codec.js'
import { type NetPlaces, netPlaces } from '../proto/policy-bytes.js'
import { isCountedByKernel } from './limit-maps.js'
import { type PortsValue, writeNetCount, writeNetKey, writeNetPorts } from './policy-values.js'
import { ProgramSets } from './program-sets.js'
import { sameEntries } from './same-entries.js'
import type { TableEntries } from './table-changes.js'
import { WireTable } from './wire-table.js'

/** 50,000 prefixes are promised; the kernel takes about 250 bytes for each. */
const NETS_MAX = 131_072
const PREFIX_BITS = 128
const PORT_MAX = 0xffff
const RULE_MAX = 0xffffffff

const IPPROTO_ICMP = 1
const IPPROTO_TCP = 6
const IPPROTO_UDP = 17
const PROTOCOLS: ReadonlyMap<Protocol, number> = new Map([
  [Protocol.PROTOCOL_TCP, IPPROTO_TCP],
  [Protocol.PROTOCOL_UDP, IPPROTO_UDP],
  [Protocol.PROTOCOL_ICMP, IPPROTO_ICMP],
])

/** Keys and values of a trie, end to end. */
export interface PolicyTable extends TableEntries {
  /** Its keys are in order (compareKeys). */
  readonly isOrdered: boolean
  /** What it was read from; null: it was not, or names programs, whose sets have numbers of the policy's own. */
  readonly wire: NetPlaces | null
}

/**
 * @param like most of the policy may be as in this one: what is need not be read again
 * @throws SluiceError USAGE for what is no policy or can't be judged by the kernel, LIMIT for too much of it.
 */
export function policyTable(policy: ICompiledPolicy, like: PolicyTable | null = null): PolicyTable {
  const onWire = netPlaces(policy)
  const sets = ProgramSets.of(policy)
  return onWire === null ? tableOf(policy.nets ?? [], sets) : tableFromWire(onWire, sets, like)
}

function tableOf(entries: readonly INetEntry[], sets: ProgramSets): PolicyTable {
  const table = emptyTable(entries.length)
  for (const [index, entry] of entries.entries()) writeEntry(table, { entry, sets }, index)
  return { ...table, isOrdered: refuseTwice(table.keys), wire: null }
}

/** As `tableOf`, of what was not decoded. */
function tableFromWire(onWire: NetPlaces, sets: ProgramSets, like: PolicyTable | null): PolicyTable {
  const { bytes, places } = onWire
  const count = places.length / 2
  const table = emptyTable(count)
  const same = sets.isEmpty && like !== null ? copySame(like, onWire, table) : { first: 0, last: 0 }
  const wire = new WireTable(bytes, table, PROTOCOLS)
  for (let index = same.first; index < count - same.last; index++) {
    const [start, end] = [places[2 * index] ?? 0, places[2 * index + 1] ?? 0]
    if (wire.write(index, start, end)) continue
    const valueAt = index * ABI.structs.sl_net.size
    table.values.fill(0, valueAt, valueAt + ABI.structs.sl_net.size)
    writeEntry(table, { entry: NetEntry.decode(bytes.subarray(start, end)), sets }, index)
  }
  return { ...table, isOrdered: refuseTwice(table.keys), wire: sets.isEmpty ? onWire : null }
}

/** Copies the entries that are there already, in front and at the end: so many. */
function copySame(like: PolicyTable, onWire: NetPlaces, to: TableEntries): { first: number; last: number } {
  if (like.wire === null) return { first: 0, last: 0 }
  const { first, last } = sameEntries(like.wire, onWire)
  const copy = (from: Buffer, target: Buffer, size: number) => {
    from.copy(target, 0, 0, first * size)
    from.copy(target, target.length - last * size, from.length - last * size)
  }
  copy(like.keys, to.keys, ABI.structs.sl_net_key.size)
  copy(like.values, to.values, ABI.structs.sl_net.size)
  return { first, last }
}

function emptyTable(count: number): TableEntries {
  if (count <= NETS_MAX) {
    return {
      keys: Buffer.alloc(count * ABI.structs.sl_net_key.size),
      values: Buffer.alloc(count * ABI.structs.sl_net.size),
    }
  }
  throw new SluiceError('LIMIT', `the policy has ${count} address entries, more than ${NETS_MAX}`)
}

function writeEntry(
  { keys, values }: TableEntries,
  { entry, sets }: { entry: INetEntry; sets: ProgramSets },
  index: number,
): void {
  writeNetKey(keys, index * ABI.structs.sl_net_key.size, prefixOf(entry, index), entry.prefixLength ?? 0)
  writePorts(values, index * ABI.structs.sl_net.size, { ports: entry.ports ?? [], index, sets })
}

/** Those of a policy are in order, and then each needs but a look at the one before. Whether they are. */
function refuseTwice(keys: Buffer): boolean {
  const { size } = ABI.structs.sl_net_key
  if (isAscending(keys)) return true
  const seen = new Set<string>()
  for (let at = 0; at < keys.length; at += size) {
    seen.add(keys.toString('latin1', at, at + size))
    if (seen.size <= at / size) throw twice(keys.subarray(at), at / size)
  }
  return false
}

/** By address, then by length. */
function isAscending(keys: Buffer): boolean {
  const { size, fields } = ABI.structs.sl_net_key
  for (let at = size; at < keys.length; at += size) {
    const [addr, before] = [at + fields.addr, at - size + fields.addr]
    let each = 0
    while (each < ADDRESS_BYTES && keys[addr + each] === keys[before + each]) each++
    const difference =
      each < ADDRESS_BYTES
        ? (keys[addr + each] ?? 0) - (keys[before + each] ?? 0)
        : keys.readUInt32LE(at + fields.prefix_length) - keys.readUInt32LE(at - size + fields.prefix_length)
    if (difference <= 0) return false
  }
  return true
}

function prefixOf({ prefix, prefixLength }: INetEntry, index: number): Uint8Array {
  if (prefix?.length === ADDRESS_BYTES && (prefixLength ?? 0) <= PREFIX_BITS) return prefix
  const what = `a prefix has ${ADDRESS_BYTES} bytes, of which up to ${PREFIX_BITS} bits count`
  throw new SluiceError('USAGE', `nets[${index}]: ${what}`)
}

function twice(key: Buffer, index: number): SluiceError {
  const { addr, prefix_length } = ABI.structs.sl_net_key.fields
  const name = `${key.toString('hex', addr, addr + ADDRESS_BYTES)}/${key.readUInt32LE(prefix_length)}`
  return new SluiceError('USAGE', `nets[${index}]: the prefix ${name} is there twice`)
}

function writePorts(
  to: Buffer,
  at: number,
  { ports, index, sets }: { ports: readonly IPortRule[]; index: number; sets: ProgramSets },
): void {
  if (ports.length > ABI.limits.SL_PORTS_MAX) {
    const most = `more than ${ABI.limits.SL_PORTS_MAX} port ranges for one prefix`
    throw new SluiceError('LIMIT', `nets[${index}]: ${most}`)
  }
  writeNetCount(to, at, ports.length)
  for (let each = 0; each < ports.length; each++) {
    const rule = ports[each]
    if (rule !== undefined) writeNetPorts(to, at, { each, value: portsValue(rule, index, sets) })
  }
}

/** enum sl_policy_flag */
export function policyFlags({ mode, listeners, limits }: ICompiledPolicy): number {
  if (mode !== Mode.MODE_MONITOR && mode !== Mode.MODE_ENFORCE) {
    throw new SluiceError('USAGE', 'mode: a policy either monitors or enforces')
  }
  const { SL_POLICY_ENFORCED, SL_POLICY_OWN_LISTENERS, SL_POLICY_ANY_LISTENERS, SL_POLICY_LIMITED } = ABI.enums
  return (
    (mode === Mode.MODE_ENFORCE ? SL_POLICY_ENFORCED : 0) |
    (listeners === Listeners.LISTENERS_OWN ? SL_POLICY_OWN_LISTENERS : 0) |
    (listeners === Listeners.LISTENERS_ANY ? SL_POLICY_ANY_LISTENERS : 0) |
    (isCountedByKernel(limits) ? SL_POLICY_LIMITED : 0)
  )
}

function portsValue({ range, deny, rule, binaries }: IPortRule, index: number, sets: ProgramSets): PortsValue {
  if (deny && (binaries?.length ?? 0) > 0) {
    throw new SluiceError('USAGE', `nets[${index}]: a deny is for every program`)
  }
  const programs = sets.numberOf(binaries)
  return { ...rangeValue(range ?? {}, { rule: rule ?? 0, at: index, deny: deny ?? false }), programs }
}

/**
 * @param options.at of which entry, where it is one of a table's
 * @param options.deny then all protocols at once will do
 */
export function rangeValue(
  { protocol, first, last }: IPortRange,
  { rule, at, deny }: { rule: number; at: number | string; deny: boolean },
): Omit<PortsValue, 'programs'> {
  const number = PROTOCOLS.get(protocol ?? Protocol.PROTOCOL_UNSPECIFIED)
  const from = first ?? 0
  const to = last ?? 0
  if (number === undefined && !(deny && (protocol ?? 0) === Protocol.PROTOCOL_UNSPECIFIED)) {
    throw wrongPorts(at, 'a rule is for tcp, udp or icmp')
  }
  if (from > to || to > PORT_MAX) throw wrongPorts(at, `${from}-${to} are no ports`)
  if (rule > RULE_MAX) throw wrongPorts(at, `${rule} is no rule's number`)
  return { protocol: number ?? 0, first: from, last: to, rule, deny }
}

function wrongPorts(at: number | string, what: string): SluiceError {
  return new SluiceError('USAGE', `${typeof at === 'number' ? `nets[${at}]` : at}: ${what}`)
}
