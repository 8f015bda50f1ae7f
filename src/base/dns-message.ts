/**
 * DNS messages read strictly (RFC 1035, 2181, 6891): what is not exactly one whole message of one question is refused, RDLENGTH counts,
 * and nothing may be left over. Names inside record data are unpacked, so that a record can be put into another message. It guards that
 * nobody who reads the same bytes otherwise than we do can be told something that we did not judge. Not here: what a message means,
 * and writing (dns-writer.ts).
 *
 * By hand, as the codecs there are read leniently: they join labels that hold dots, take bytes that are no text for text, and go by a
 * record's type where its length says otherwise.
 */
import { FLAG, opcodeOf, TYPE } from './dns-codes.js'
import { type DnsName, malformed, readName } from './dns-name.js'

export const HEADER_BYTES = 12
/** In all sections of one message. */
export const RECORDS_MAX = 512

export interface DnsQuestion {
  readonly name: DnsName
  readonly type: number
  readonly class: number
}

export interface DnsRecord {
  readonly name: DnsName
  readonly type: number
  readonly class: number
  /** Seconds; one with the highest bit set counts as 0 (RFC 2181, 8). */
  readonly ttl: number
  /** Names in it are uncompressed. */
  readonly data: Buffer
  /** What it points to, of CNAME, DNAME, NS and PTR. */
  readonly target?: DnsName
}

export interface Edns {
  /** What the sender can take by UDP. */
  readonly udpBytes: number
  readonly version: number
  readonly dnssecOk: boolean
}

export interface DnsMessage {
  readonly id: number
  readonly flags: number
  /** With the high bits from EDNS. */
  readonly rcode: number
  readonly question: DnsQuestion
  readonly answers: readonly DnsRecord[]
  readonly authorities: readonly DnsRecord[]
  /** Without OPT. */
  readonly additionals: readonly DnsRecord[]
  readonly edns: Edns | null
}

/** Throws PROTOCOL with what is wrong. */
export function readMessage(bytes: Buffer): DnsMessage {
  if (bytes.length < HEADER_BYTES) throw malformed('the message is shorter than its header')
  const flags = bytes.readUInt16BE(2)
  if (bytes.readUInt16BE(4) !== 1) throw malformed(`the message has ${bytes.readUInt16BE(4)} questions`)
  const counts = [6, 8, 10].map((at) => bytes.readUInt16BE(at))
  if (counts.reduce((sum, count) => sum + count, 0) > RECORDS_MAX) throw malformed('the message has too many records')
  const { question, end } = readQuestion(bytes)
  let at = end
  const sections = counts.map((count) => {
    const records: RawRecord[] = []
    for (let index = 0; index < count; index++) {
      const read = readRecord(bytes, at)
      at = read.end
      records.push(read)
    }
    return records
  })
  if (at !== bytes.length) throw malformed('the message goes on behind its last record')
  const [answers = [], authorities = [], additionals = []] = sections
  const { edns, rcodeHigh } = readEdns([...answers, ...authorities], additionals)
  return {
    id: bytes.readUInt16BE(0),
    flags,
    rcode: (rcodeHigh << 4) | (flags & 0xf),
    question,
    answers: answers.map(({ record }) => record),
    authorities: authorities.map(({ record }) => record),
    additionals: additionals.map(({ record }) => record).filter(({ type }) => type !== TYPE.OPT),
    edns,
  }
}

/** Null: it is no query and gets no answer, or two of our kind would talk for ever. */
export function queryHeader(bytes: Buffer): { id: number; flags: number; opcode: number } | null {
  if (bytes.length < HEADER_BYTES) return null
  const flags = bytes.readUInt16BE(2)
  if ((flags & FLAG.RESPONSE) !== 0) return null
  return { id: bytes.readUInt16BE(0), flags, opcode: opcodeOf(flags) }
}

function readQuestion(bytes: Buffer): { question: DnsQuestion; end: number } {
  const { name, end } = readName(bytes, HEADER_BYTES)
  if (end + 4 > bytes.length) throw malformed('the question goes beyond the message')
  return { question: { name, type: bytes.readUInt16BE(end), class: bytes.readUInt16BE(end + 2) }, end: end + 4 }
}

interface RawRecord {
  readonly record: DnsRecord
  /** As it is, of OPT too. */
  readonly ttlBits: number
  readonly end: number
}

function readRecord(bytes: Buffer, start: number): RawRecord {
  const { name, end: at } = readName(bytes, start)
  if (at + 10 > bytes.length) throw malformed('a record goes beyond the message')
  const type = bytes.readUInt16BE(at)
  const ttlBits = bytes.readUInt32BE(at + 4)
  const begin = at + 10
  const end = begin + bytes.readUInt16BE(at + 8)
  if (end > bytes.length) throw malformed('a record goes beyond the message')
  const ttl = ttlBits > 0x7fffffff ? 0 : ttlBits
  const record = { name, type, class: bytes.readUInt16BE(at + 2), ttl, ...readData(bytes, { type, begin, end }) }
  return { record, ttlBits, end }
}

/** Bytes before the first name, number of names, bytes behind the last one: of the types whose names may be compressed. */
const WITH_NAMES: ReadonlyMap<number, readonly [before: number, names: number, behind: number]> = new Map([
  [TYPE.NS, [0, 1, 0]],
  [TYPE.CNAME, [0, 1, 0]],
  [TYPE.PTR, [0, 1, 0]],
  [TYPE.DNAME, [0, 1, 0]],
  [TYPE.MX, [2, 1, 0]],
  [TYPE.SRV, [6, 1, 0]],
  [TYPE.SOA, [0, 2, 20]],
])

const FIXED_BYTES: ReadonlyMap<number, number> = new Map([
  [TYPE.A, 4],
  [TYPE.AAAA, 16],
])

function readData(
  bytes: Buffer,
  { type, begin, end }: { type: number; begin: number; end: number },
): { data: Buffer; target?: DnsName } {
  const fixed = FIXED_BYTES.get(type)
  if (fixed !== undefined && end - begin !== fixed) throw malformed('an address has the wrong length')
  const shape = WITH_NAMES.get(type)
  if (shape === undefined) return { data: Buffer.from(bytes.subarray(begin, end)) }
  const [before, names, behind] = shape
  const parts = [bytes.subarray(begin, begin + before)]
  // No name in the data may reach beyond it, but by pointers to what came before.
  const inside = bytes.subarray(0, end)
  let at = begin + before
  let target: DnsName | null = null
  for (let index = 0; index < names; index++) {
    const read = readName(inside, at)
    parts.push(read.name.wire)
    target = read.name
    at = read.end
  }
  if (at + behind !== end) throw malformed('the data of a record has the wrong length')
  parts.push(bytes.subarray(at, end))
  const data = Buffer.concat(parts)
  return before === 0 && behind === 0 && target !== null ? { data, target } : { data }
}

function readEdns(
  elsewhere: readonly RawRecord[],
  additionals: readonly RawRecord[],
): { edns: Edns | null; rcodeHigh: number } {
  if (elsewhere.some(({ record }) => record.type === TYPE.OPT)) throw malformed('an OPT record is out of its place')
  const [opt, second] = additionals.filter(({ record }) => record.type === TYPE.OPT)
  if (opt === undefined) return { edns: null, rcodeHigh: 0 }
  if (second !== undefined) throw malformed('the message has two OPT records')
  if (opt.record.name.text !== '') throw malformed('an OPT record has a name')
  checkOptions(opt.record.data)
  const { ttlBits } = opt
  return {
    edns: {
      udpBytes: opt.record.class,
      version: (ttlBits >>> 16) & 0xff,
      dnssecOk: (ttlBits & 0x8000) !== 0,
    },
    rcodeHigh: ttlBits >>> 24,
  }
}

function checkOptions(data: Buffer): void {
  let at = 0
  while (at < data.length) {
    if (at + 4 > data.length) throw malformed('an option is cut off')
    at += 4 + data.readUInt16BE(at + 2)
  }
  if (at !== data.length) throw malformed('an option is cut off')
}
