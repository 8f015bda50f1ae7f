/**
 * Data of SVCB and HTTPS records (RFC 9460). Takes out what would lead a client past us: the key for an encrypted ClientHello, and address
 * hints, for which there is no lease. Everything else stays byte for byte. Throws PROTOCOL for what is not well formed.
 */
import { type DnsName, malformed, readName } from '../base/dns-name.js'

const PARAM = { MANDATORY: 0, IPV4HINT: 4, ECH: 5, IPV6HINT: 6 } as const
const TAKEN_OUT: readonly number[] = [PARAM.IPV4HINT, PARAM.ECH, PARAM.IPV6HINT]

export interface ServiceBinding {
  /** The root stands for the record's own name. */
  readonly target: DnsName
  readonly data: Buffer
}

export function strippedBinding(data: Buffer): ServiceBinding {
  if (data.length < 3) throw malformed('a service binding is cut off')
  const { name: target, end } = readName(data.subarray(2), 0)
  // A pointer would lead somewhere within these bytes, and compression is forbidden here.
  if (end !== target.wire.length) throw malformed('the target of a service binding is compressed')
  const kept: Buffer[] = [data.subarray(0, 2 + end)]
  let before = -1
  for (let at = 2 + end; at < data.length; ) {
    if (at + 4 > data.length) throw malformed('a service parameter is cut off')
    const key = data.readUInt16BE(at)
    const next = at + 4 + data.readUInt16BE(at + 2)
    if (next > data.length) throw malformed('a service parameter is cut off')
    if (key <= before) throw malformed('service parameters are out of order')
    before = key
    if (key === PARAM.MANDATORY) kept.push(mandatoryWithout(data.subarray(at + 4, next)))
    else if (!TAKEN_OUT.includes(key)) kept.push(data.subarray(at, next))
    at = next
  }
  return { target, data: Buffer.concat(kept) }
}

/** The whole parameter; nothing where no key is left. */
function mandatoryWithout(value: Buffer): Buffer {
  if (value.length === 0 || value.length % 2 !== 0) throw malformed('a list of mandatory parameters is cut off')
  const keys: number[] = []
  for (let at = 0; at < value.length; at += 2) keys.push(value.readUInt16BE(at))
  const left = keys.filter((key) => !TAKEN_OUT.includes(key))
  if (left.length === 0) return Buffer.alloc(0)
  const param = Buffer.alloc(4 + 2 * left.length)
  param.writeUInt16BE(PARAM.MANDATORY, 0)
  param.writeUInt16BE(2 * left.length, 2)
  for (const [index, key] of left.entries()) param.writeUInt16BE(key, 4 + 2 * index)
  return param
}
