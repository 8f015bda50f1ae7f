/**
 * A compiled policy together with its encoding: one of fifty thousand ranges is encoded once where it is compiled, and where it arrives what is
 * big in it is not decoded at all unless somebody asks. Guards that the bytes are the policy's: a copy that says something else has none.
 * Policies are not changed once they are made.
 */
import { createHash } from 'node:crypto'
import { CompiledPolicy, encodeBuffer, type ICompiledPolicy, type INetEntry, NetEntry } from './codec.js'
import { WireReader } from './wire-reader.js'

const KEPT = Symbol('bytes of the policy')
/** Of CompiledPolicy. */
const FIELDS = { rules: 9, nets: 10 } as const
/** Of NetEntry, and of PortRule. */
const NET_PORTS = 3
const PORTS_BINARIES = 4

/** Where each of `nets` begins and ends, in turns. */
export interface NetPlaces {
  readonly bytes: Buffer
  readonly places: Uint32Array
}

interface Kept {
  readonly bytes: Buffer
  readonly nets: NetPlaces | null
  /** Of `nets`, once somebody has asked. */
  forPrograms?: readonly INetEntry[]
}

/** As it is encoded. */
export function policyBytes(policy: ICompiledPolicy): Buffer {
  return keptOf(policy)?.bytes ?? encodeBuffer(CompiledPolicy, policy)
}

/** With the digest over all that it says. It is encoded once. */
export function digested(body: ICompiledPolicy): ICompiledPolicy {
  const without = { ...body, digest: null }
  const bytes = encodeBuffer(CompiledPolicy, without)
  const digest = createHash('sha256').update(bytes).digest('hex')
  // Fields are in order of their numbers: the name, the digest, the rest.
  const nameEnd = encodeBuffer(CompiledPolicy, { name: body.name ?? null }).length
  const field = encodeBuffer(CompiledPolicy, { digest })
  const whole = Buffer.concat([bytes.subarray(0, nameEnd), field, bytes.subarray(nameEnd)])
  return keep({ ...body, digest }, { bytes: whole, nets: null })
}

/** Throws for what is no policy. Of its rules and ranges nothing is looked at before they are asked for. */
export function policyOf(bytes: Buffer): ICompiledPolicy {
  const { rest, places } = split(bytes)
  const policy = CompiledPolicy.decode(rest)
  let whole: CompiledPolicy | null = null
  const lazily = (key: 'rules' | 'nets') => {
    const get = () => {
      whole ??= CompiledPolicy.decode(bytes)
      return whole[key]
    }
    Object.defineProperty(policy, key, { get, enumerable: true })
  }
  lazily('rules')
  lazily('nets')
  return keep(policy, { bytes, nets: { bytes, places } })
}

/** Null for a policy that did not come as bytes. */
export function netPlaces(policy: ICompiledPolicy): NetPlaces | null {
  return keptOf(policy)?.nets ?? null
}

/** Those of `nets` that are for certain programs, and maybe others. */
export function netsForPrograms(policy: ICompiledPolicy): readonly INetEntry[] {
  const kept = keptOf(policy)
  if (kept === undefined || kept.nets === null) return policy.nets ?? []
  kept.forPrograms ??= withPrograms(kept.nets)
  return kept.forPrograms
}

function withPrograms({ bytes, places }: NetPlaces): INetEntry[] {
  const found: INetEntry[] = []
  for (let at = 0; at < places.length; at += 2) {
    const [start, end] = [places[at] ?? 0, places[at + 1] ?? 0]
    if (isForPrograms(new WireReader(bytes, start, end))) found.push(NetEntry.decode(bytes.subarray(start, end)))
  }
  return found
}

function isForPrograms(net: WireReader): boolean {
  while (net.next()) {
    if (net.field !== NET_PORTS) continue
    const ports = net.inside()
    while (ports.next()) if (ports.field === PORTS_BINARIES) return true
  }
  return false
}

/** Not seen by copies, comparisons and encoders. */
function keep(policy: ICompiledPolicy, kept: Kept): ICompiledPolicy {
  return Object.defineProperty(policy, KEPT, { value: kept, enumerable: false })
}

function keptOf(policy: ICompiledPolicy): Kept | undefined {
  return Reflect.get(policy, KEPT)
}

function split(bytes: Buffer): { rest: Buffer; places: Uint32Array } {
  const reader = new WireReader(bytes)
  const kept: Buffer[] = []
  let places: Uint32Array = new Uint32Array(64)
  let count = 0
  let from = 0
  const endRun = (at: number) => {
    if (at > from) kept.push(bytes.subarray(from, at))
  }
  while (reader.next()) {
    if (reader.field !== FIELDS.nets && reader.field !== FIELDS.rules) continue
    endRun(reader.tagAt)
    from = reader.at
    if (reader.field !== FIELDS.nets) continue
    if (count === places.length) places = grown(places)
    places[count++] = reader.start
    places[count++] = reader.at
  }
  endRun(bytes.length)
  return { rest: Buffer.concat(kept), places: places.subarray(0, count) }
}

function grown(places: Uint32Array): Uint32Array {
  const larger = new Uint32Array(2 * places.length)
  larger.set(places)
  return larger
}
