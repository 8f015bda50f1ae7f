/** What is not exactly one whole message of one question is refused, and nothing that anybody sends does more than that. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TYPE } from '../../../src/base/dns-codes.js'
import { type DnsMessage, type DnsRecord, readMessage } from '../../../src/base/dns-message.js'
import { nameFromText, readName } from '../../../src/base/dns-name.js'
import { SluiceError } from '../../../src/base/error.js'
import { DnsWriter } from '../../../src/gateway/dns-writer.js'

const writer = new DnsWriter()

function query(text: string, type: number = TYPE.A): Buffer {
  const question = { name: nameFromText(text), type, class: 1 }
  return writer.write({ id: 7, flags: 0x0100, rcode: 0, question, edns: { udpBytes: 1232, dnssecOk: false } })
}

function refusalOf(bytes: Buffer): string {
  try {
    readMessage(bytes)
    return 'read'
  } catch (error) {
    if (!(error instanceof SluiceError) || error.code !== 'PROTOCOL') throw error
    return error.message
  }
}

const labelArb = fc.stringMatching(/^[a-z0-9_-]{1,20}$/)
const nameArb = fc.array(labelArb, { minLength: 1, maxLength: 6 }).map((labels) => labels.join('.'))

function recordArb(): fc.Arbitrary<DnsRecord> {
  const head = { name: nameArb.map(nameFromText), class: fc.constant(1), ttl: fc.integer({ min: 0, max: 0x7fffffff }) }
  const address = fc.record({ ...head, type: fc.constant(TYPE.A as number), data: bytesArb(4, 4) })
  const text = fc.record({ ...head, type: fc.constant(TYPE.TXT as number), data: bytesArb(1, 80) })
  const alias = fc
    .record({
      ...head,
      type: fc.constantFrom<number>(TYPE.CNAME, TYPE.NS, TYPE.DNAME),
      target: nameArb.map(nameFromText),
    })
    .map((record) => ({ ...record, data: record.target.wire }))
  return fc.oneof(address, text, alias)
}

function bytesArb(minLength: number, maxLength: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ minLength, maxLength }).map((bytes) => Buffer.from(bytes))
}

const plain = (records: readonly DnsRecord[]) =>
  records.map(({ name, type, ttl, data }) => [name.text, type, ttl, data.toString('hex')])

describe('a message', () => {
  it('is read as it was written, names compressed or not', () => {
    fc.assert(
      fc.property(nameArb, fc.array(recordArb(), { maxLength: 12 }), (asked, answers) => {
        const question = { name: nameFromText(asked), type: TYPE.A, class: 1 }
        const bytes = writer.write({ id: 9, flags: 0x8180, rcode: 3, question, answers, edns: null })
        const read: DnsMessage = readMessage(bytes)
        expect([read.id, read.rcode, read.question.name.text]).toEqual([9, 3, asked])
        expect(plain(read.answers)).toEqual(plain(answers))
      }),
    )
  })

  it('of any bytes is read or refused, and nothing else happens', () => {
    fc.assert(
      fc.property(bytesArb(0, 600), (bytes) => void refusalOf(bytes)),
      { numRuns: 2_000 },
    )
  })

  it('that was damaged in one place is read or refused', () => {
    const question = { name: nameFromText('a.example.net'), type: TYPE.A, class: 1 }
    const cname = nameFromText('b.example.net')
    const head = { name: question.name, class: 1, ttl: 60 }
    const answers = [
      { ...head, type: TYPE.CNAME, data: cname.wire, target: cname },
      { ...head, name: cname, type: TYPE.A, data: Buffer.from([192, 0, 2, 1]) },
    ]
    const whole = writer.write({
      id: 1,
      flags: 0x8180,
      rcode: 0,
      question,
      answers,
      edns: { udpBytes: 512, dnssecOk: false },
    })
    expect(refusalOf(whole)).toBe('read')
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, byte) => {
        const damaged = Buffer.from(whole)
        damaged[at] = byte
        refusalOf(damaged)
      }),
      { numRuns: 3_000 },
    )
  })

  it('is refused when it is cut off anywhere, or goes on', () => {
    const whole = query('api.example.net')
    for (let end = 0; end < whole.length; end++) expect(refusalOf(whole.subarray(0, end)), `${end}`).not.toBe('read')
    expect(refusalOf(Buffer.concat([whole, Buffer.from([0])]))).toContain('goes on')
  })

  it.each([0, 2, 65_535])('is refused with %i questions', (count) => {
    const bytes = query('api.example.net')
    bytes.writeUInt16BE(count, 4)
    expect(refusalOf(bytes)).toContain(`${count} questions`)
  })

  it('is refused with two questions that are both there', () => {
    const bytes = query('api.example.net').subarray(0, 12 + 17 + 4)
    const second = Buffer.concat([nameFromText('evil.example.org').wire, Buffer.from([0, 1, 0, 1])])
    const both = Buffer.concat([bytes, second])
    both.writeUInt16BE(2, 4)
    both.writeUInt16BE(0, 10)
    expect(refusalOf(both)).toContain('2 questions')
  })

  it('is refused with two OPT records, and with one in another section', () => {
    const bytes = query('a.net')
    const opt = bytes.subarray(bytes.length - 11)
    const twice = Buffer.concat([bytes, opt])
    twice.writeUInt16BE(2, 10)
    expect(refusalOf(twice)).toContain('two OPT')
    const misplaced = Buffer.from(bytes)
    misplaced.writeUInt16BE(0, 10)
    misplaced.writeUInt16BE(1, 6)
    expect(refusalOf(misplaced)).toContain('out of its place')
  })

  it('is cut off whole where it does not fit', () => {
    const question = { name: nameFromText('many.example.net'), type: TYPE.A, class: 1 }
    const head = { name: question.name, type: TYPE.A, class: 1, ttl: 60 }
    const answers = Array.from({ length: 60 }, (_, index) => ({ ...head, data: Buffer.from([192, 0, 2, index]) }))
    const bytes = writer.write({ id: 1, flags: 0x8180, rcode: 0, question, answers, edns: null }, 512)
    const read = readMessage(bytes)
    expect([read.answers.length, read.flags & 0x0200, bytes.length <= 512]).toEqual([0, 0x0200, true])
  })
})

describe('a name', () => {
  const read = (...bytes: number[]) => readName(Buffer.from(bytes), 0)
  const label = (length: number) => [length, ...Array.from({ length }, () => 0x61)]

  it('has labels of 63 bytes and no more', () => {
    expect(read(...label(63), 0).name.text).toBe('a'.repeat(63))
    expect(() => read(...label(64), 0)).toThrow('63 bytes')
    expect(() => nameFromText('a'.repeat(64))).toThrow('63 bytes')
  })

  it('has 255 bytes and no more', () => {
    const most = [...label(63), ...label(63), ...label(63), ...label(61), 0]
    expect(read(...most).name.wire).toHaveLength(255)
    expect(() => read(...label(63), ...label(63), ...label(63), ...label(62), 0)).toThrow('255 bytes')
  })

  it('does not point at itself, forwards, or in a circle', () => {
    expect(() => read(0xc0, 0)).toThrow('circle')
    expect(() => read(0xc0, 2, 0)).toThrow('forwards')
    expect(() => readName(Buffer.from([1, 0x61, 0xc0, 4, 1, 0x62, 0xc0, 0]), 4)).toThrow()
    expect(() => read(1, 0x61, 0xc0)).toThrow()
  })

  it('does not grow beyond its limit by pointing', () => {
    const chain = Buffer.concat([
      Buffer.from([...label(60), 0]),
      ...[0, 62, 125, 188, 251].map((target) => Buffer.from([...label(60), 0xc0 | (target >> 8), target & 0xff])),
    ])
    expect(() => readName(chain, 62 + 4 * 63)).toThrow('255 bytes')
  })

  it('with a dot, a space or any other byte in a label is not the name that it looks like', () => {
    expect(read(5, 0x61, 0x2e, 0x62, 0x2e, 0x63, 0).name.text).toBe('a\\046b\\046c')
    expect(read(3, 0x61, 0x00, 0xff, 0).name.text).toBe('a\\000\\255')
    expect(read(3, 0x41, 0x42, 0x43, 0).name.text).toBe('abc')
  })

  it('is the same again from its text', () => {
    fc.assert(
      fc.property(fc.array(bytesArb(1, 20), { maxLength: 6 }), (labels) => {
        const wire = Buffer.concat([
          ...labels.map((each) => Buffer.concat([Buffer.from([each.length]), each])),
          Buffer.from([0]),
        ])
        const { text } = readName(wire, 0).name
        expect(nameFromText(text).text).toBe(text)
      }),
    )
  })
})
