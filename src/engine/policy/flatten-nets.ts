/**
 * Ranges of addresses that overlap as entries that don't have to be asked twice: each says all that holds for its addresses, so that the
 * longest match alone decides. It guards the order deny > allow > default inside an entry, that IPv6's widest range says nothing of IPv4,
 * and that no entry has more port ranges than the kernel side keeps. Fifty thousand ranges are a sort and one walk.
 */
import { SluiceError } from '../../base/error.js'
import { Protocol } from '../../proto/codec.js'
import { type AddressRange, compareRanges, holdsRange, isV4, rangeText, V4_RANGE } from './address-range.js'
import { EVERY_PORT, PORT_MAX, type PortSpan } from './rules.js'

export const NET_PORTS_MAX = 8
const DOT_PORT = 853

export interface NumberedAllow {
  readonly rule: number
  readonly range: AddressRange
  readonly ports: readonly PortSpan[]
  readonly binaries: readonly string[]
}

export interface NumberedDeny {
  readonly rule: number
  readonly range: AddressRange
  /** Empty: all. */
  readonly ports: readonly PortSpan[]
}

/** A program that a range is for, and the rule that says so. */
export interface FlatBinary {
  readonly text: string
  readonly rule: number
}

export interface FlatPorts {
  readonly span: PortSpan
  readonly deny: boolean
  readonly rule: number
  /** In order; empty: every program. */
  readonly binaries: readonly FlatBinary[]
}

export interface FlatNet {
  readonly range: AddressRange
  readonly ports: readonly FlatPorts[]
}

interface Node {
  readonly range: AddressRange
  /** With those of every wider range. */
  readonly allows: NumberedAllow[]
  readonly denies: NumberedDeny[]
}

const ANY = Protocol.PROTOCOL_UNSPECIFIED
const PROTOCOLS: readonly Protocol[] = [Protocol.PROTOCOL_TCP, Protocol.PROTOCOL_UDP, Protocol.PROTOCOL_ICMP]

/** Throws LIMIT for a range with more than NET_PORTS_MAX port ranges; `pathOf` names a rule. */
export function flattenNets(
  allows: readonly NumberedAllow[],
  denies: readonly NumberedDeny[],
  pathOf: (rule: number) => string,
): FlatNet[] {
  const nodes = nodesOf(allows, denies)
  const flat = [nodes.filter(({ range }) => !isV4(range)), nodes.filter(({ range }) => isV4(range))].flatMap(inheritAll)
  const alone = new PortsAlone()
  const entries = flat.map(({ node, parent }) => ({ entry: flatNet(node, pathOf, alone), parent }))
  return entries
    .filter(({ entry, parent }) => parent === null || !samePorts(entry.ports, portsOf(parent.allows, parent.denies)))
    .map(({ entry }) => entry)
    .sort((a, b) => compareRanges(a.range, b.range))
}

function nodesOf(allows: readonly NumberedAllow[], denies: readonly NumberedDeny[]): Node[] {
  const byKey = new Map<string, Node>()
  const nodeAt = (range: AddressRange): Node => {
    const key = `${range.prefix.toString('latin1')}${range.length}`
    const known = byKey.get(key)
    if (known !== undefined) return known
    const made = { range, allows: [], denies: [] }
    byKey.set(key, made)
    return made
  }
  for (const each of allows) nodeAt(each.range).allows.push({ ...each, ports: each.ports.flatMap(withoutDot) })
  for (const each of denies) nodeAt(each.range).denies.push(each)
  // The kernel's look-up knows one kind of address. What a range of IPv6 says ends where IPv4 begins.
  const isWide = ({ range }: Node) =>
    range.length < V4_RANGE.length && V4_RANGE.prefix.subarray(0, 10).equals(range.prefix.subarray(0, 10))
  if ([...byKey.values()].some(isWide)) nodeAt(V4_RANGE)
  return [...byKey.values()]
}

/** Each range with what the wider ones say. `parent`: the closest of those. */
function inheritAll(nodes: readonly Node[]): { node: Node; parent: Node | null }[] {
  const above: Node[] = []
  return [...nodes]
    .sort((a, b) => compareRanges(a.range, b.range))
    .map((own) => {
      while (above.length > 0 && !holdsRange(above.at(-1)?.range ?? own.range, own.range)) above.pop()
      const parent = above.at(-1) ?? null
      const node = {
        range: own.range,
        allows: own.allows.length === 0 && parent !== null ? parent.allows : [...(parent?.allows ?? []), ...own.allows],
        denies: own.denies.length === 0 && parent !== null ? parent.denies : [...(parent?.denies ?? []), ...own.denies],
      }
      above.push(node)
      return { node, parent }
    })
}

function flatNet({ range, allows, denies }: Node, pathOf: (rule: number) => string, alone: PortsAlone): FlatNet {
  const [only, ...others] = allows
  const isAlone = only !== undefined && others.length === 0 && denies.length === 0 && only.binaries.length === 0
  const ports = isAlone ? alone.of(only) : portsOf(allows, denies)
  if (ports.length <= NET_PORTS_MAX) return { range, ports }
  const rules = [...new Set(ports.map(({ rule }) => pathOf(rule)))].join(', ')
  throw new SluiceError(
    'LIMIT',
    `${rangeText(range)} comes to ${ports.length} ranges of ports (${rules}); at most ${NET_PORTS_MAX}`,
    {
      hint: 'put ports together into ranges',
    },
  )
}

/** Ports of ranges that one rule names and nothing else concerns: most of fifty thousand, and they name the same few. */
class PortsAlone {
  readonly #bySpans = new Map<string, readonly FlatPorts[]>()

  of(allow: NumberedAllow): FlatPorts[] {
    const key = allow.ports.map(({ protocol, first, last }) => `${protocol} ${first} ${last}`).join()
    const known = this.#bySpans.get(key) ?? portsOf([allow], [])
    this.#bySpans.set(key, known)
    return known.map((ports) => ({ ...ports, rule: allow.rule }))
  }
}

/** In order of protocol and port; denies of every protocol first. */
function portsOf(allows: readonly NumberedAllow[], denies: readonly NumberedDeny[]): FlatPorts[] {
  const denied = segments(
    denies.flatMap(({ rule, ports }) => (ports.length === 0 ? [EVERY_PORT] : ports).map((span) => ({ span, rule }))),
  ).map(({ first, last, holders }): FlatPorts => {
    return { span: { protocol: ANY, first, last }, deny: true, rule: lowest(holders), binaries: [] }
  })
  const allowed = PROTOCOLS.flatMap((protocol) => {
    const spans = allows.flatMap(({ rule, ports, binaries }) =>
      ports.filter((span) => span.protocol === protocol).map((span) => ({ span, rule, binaries })),
    )
    return segments(
      spans,
      denied.map(({ span }) => span),
    ).map(({ first, last, holders }): FlatPorts => {
      const open = holders.filter(({ binaries }) => binaries.length === 0)
      const binaries = open.length > 0 ? [] : binariesOf(holders)
      return { span: { protocol, first, last }, deny: false, rule: lowest(open.length > 0 ? open : holders), binaries }
    })
  })
  return [...joined(denied), ...joined(allowed)]
}

/** Each once, with the first rule that names it. */
function binariesOf(holders: readonly { readonly binaries: readonly string[]; readonly rule: number }[]): FlatBinary[] {
  const rules = new Map<string, number>()
  for (const { binaries, rule } of holders) {
    for (const text of binaries) rules.set(text, Math.min(rule, rules.get(text) ?? rule))
  }
  return [...rules].sort(([a], [b]) => (a < b ? -1 : 1)).map(([text, rule]) => ({ text, rule }))
}

/** Pieces on which the same spans hold, but for what is in `without`. */
function segments<T extends { readonly span: PortSpan }>(held: readonly T[], without: readonly PortSpan[] = []) {
  const cuts = [...held.map(({ span }) => span), ...without].flatMap(({ first, last }) => [first, last + 1])
  const edges = [...new Set(cuts)].sort((a, b) => a - b)
  return edges.slice(0, -1).flatMap((first, index) => {
    const last = (edges[index + 1] ?? PORT_MAX + 1) - 1
    const holders = held.filter(({ span }) => span.first <= first && last <= span.last)
    const isOut = without.some((span) => span.first <= first && last <= span.last)
    return holders.length === 0 || isOut ? [] : [{ first, last, holders }]
  })
}

function joined(ports: readonly FlatPorts[]): FlatPorts[] {
  return ports.reduce<FlatPorts[]>((done, next) => {
    const before = done.at(-1)
    const isOne = before !== undefined && before.span.last + 1 === next.span.first && sameButPorts(before, next)
    if (isOne) done[done.length - 1] = { ...before, span: { ...before.span, last: next.span.last } }
    else done.push(next)
    return done
  }, [])
}

function sameButPorts(a: FlatPorts, b: FlatPorts): boolean {
  return (
    a.span.protocol === b.span.protocol &&
    a.deny === b.deny &&
    a.rule === b.rule &&
    sameBinaries(a.binaries, b.binaries)
  )
}

function sameBinaries(ones: readonly FlatBinary[], others: readonly FlatBinary[]): boolean {
  const isLike = ({ text, rule }: FlatBinary, index: number) =>
    others[index]?.text === text && others[index]?.rule === rule
  return ones.length === others.length && ones.every(isLike)
}

function samePorts(a: readonly FlatPorts[], b: readonly FlatPorts[]): boolean {
  return (
    a.length === b.length &&
    a.every((each, index) => {
      const other = b[index]
      return (
        other !== undefined &&
        sameButPorts(each, other) &&
        each.span.first === other.span.first &&
        each.span.last === other.span.last
      )
    })
  )
}

/** DNS over TLS has to be named by its port: a range that happens to hold it does not. */
export function withoutDot(span: PortSpan): PortSpan[] {
  if (
    span.first === span.last ||
    span.first > DOT_PORT ||
    span.last < DOT_PORT ||
    span.protocol === Protocol.PROTOCOL_ICMP
  )
    return [span]
  return [
    { ...span, last: DOT_PORT - 1 },
    { ...span, first: DOT_PORT + 1 },
  ].filter(({ first, last }) => first <= last)
}

function lowest(holders: readonly { readonly rule: number }[]): number {
  return holders.reduce((least, { rule }) => Math.min(least, rule), Number.POSITIVE_INFINITY)
}
