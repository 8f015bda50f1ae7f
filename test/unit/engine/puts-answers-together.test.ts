/** What resolvers answered, put together from packets: whole messages in order, and nothing made up where a packet is missing. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readAnswer } from '../../../src/engine/dns-event.js'
import { DnsStreams, STREAMS_MAX } from '../../../src/engine/dns-stream.js'
import { ADDRESSES_MAX, HostNames, NAMES_MAX } from '../../../src/engine/host-names.js'
import { fromBigInt } from '../../../src/proto/codec.js'

const TCP = 6
const UDP = 17
const SECOND = 1_000_000_000n

function segment(payload: Buffer, options: { at?: number; cookie?: bigint; bytes?: number; protocol?: number } = {}) {
  const { at = 0, cookie = 1n, bytes = payload.length, protocol = TCP } = options
  return { payload, bytes, protocol, tcpSeq: at >>> 0, cookie: fromBigInt(cookie) }
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}

describe('answers', () => {
  it('are datagrams as they are, and refused where one was not copied whole', () => {
    const streams = new DnsStreams()
    expect(streams.read(segment(Buffer.from('whole'), { protocol: UDP }))).toEqual([Buffer.from('whole')])
    expect(() => streams.read(segment(Buffer.from('part'), { protocol: UDP, bytes: 5_000 }))).toThrow(
      /not copied whole/,
    )
  })

  it('come out of a stream as they went in, however it is cut, sent twice, and wherever its numbers begin', () => {
    const messages = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(messages, fc.array(fc.nat(40)), fc.nat(2 ** 32 - 1), (given, cuts, begin) => {
        const streams = new DnsStreams()
        const all = Buffer.concat(given.map((message) => framed(Buffer.from(message))))
        const read: Buffer[] = []
        for (let at = 0, index = 0; at < all.length; index++) {
          const end = Math.min(all.length, at + 1 + (cuts[index] ?? all.length))
          const packet = segment(all.subarray(at, end), { at: begin + at })
          read.push(...streams.read(packet), ...streams.read(packet))
          at = end
        }
        expect(read).toEqual(given.map((message) => Buffer.from(message)))
      }),
    )
  })

  it('are given up where a segment is missing, and begin anew', () => {
    const streams = new DnsStreams()
    expect(streams.read(segment(Buffer.from([0, 9, 1, 2]), { at: 100 }))).toEqual([])
    expect(() => streams.read(segment(Buffer.from([3]), { at: 110 }))).toThrow(/not copied/)
    expect(streams.read(segment(framed(Buffer.from('next')), { at: 200 }))).toEqual([Buffer.from('next')])
  })

  it('are kept for so many streams, and the oldest is the one that goes', () => {
    const streams = new DnsStreams()
    for (let cookie = 1n; cookie <= BigInt(STREAMS_MAX) + 1n; cookie++) {
      streams.read(segment(Buffer.from([0, 1]), { cookie }))
    }
    expect(streams.read(segment(Buffer.from('x'), { cookie: 2n, at: 2 }))).toEqual([Buffer.from('x')])
    expect(streams.read(segment(Buffer.from([0]), { cookie: 1n, at: 2 }))).toEqual([])
  })

  it('that are none of the DNS have no name and lead nowhere', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const { dns, learnt } = readAnswer(Buffer.from(bytes), { resolver: Buffer.alloc(16), protocol: UDP })
        if (dns.rcode === 'UNREADABLE') expect(learnt).toEqual({ name: '', addresses: [], ttl: 0 })
      }),
    )
  })
})

describe('names of an address', () => {
  const address = (number: number) =>
    Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, number >> 16, number >> 8, number])
  const told = (name: string, addresses: readonly Buffer[], ttl = 60) => ({ name, addresses, ttl, toldNs: 0n })

  it('are those of the sandbox that was told, the last one first, until they are over', () => {
    const names = new HostNames()
    names.learn(1n, told('one.example', [address(1)]))
    names.learn(1n, told('two.example', [address(1)], 3_600))
    expect(names.of(1n, address(1), 0n)).toEqual(['two.example', 'one.example'])
    expect(names.of(1n, address(1), 91n * SECOND)).toEqual(['two.example'])
    expect(names.of(1n, address(1), 3_601n * SECOND)).toEqual([])
    expect(names.of(2n, address(1), 0n)).toEqual([])
    names.learn(1n, { ...told('three.example', [address(1)]), toldNs: 5n })
    expect(names.of(1n, address(1), 4n)).toEqual(['two.example', 'one.example'])
    expect(names.of(1n, address(1), 5n)[0]).toBe('three.example')
    names.forget(1n)
    expect(names.of(1n, address(1), 0n)).toEqual([])
  })

  it('are so many of an address, and addresses so many of a sandbox: the oldest goes', () => {
    const names = new HostNames()
    for (let count = 0; count <= NAMES_MAX; count++) names.learn(1n, told(`n${count}.example`, [address(0)]))
    expect(names.of(1n, address(0), 0n)).toHaveLength(NAMES_MAX)
    for (let count = 1; count <= ADDRESSES_MAX; count++) names.learn(1n, told('x.example', [address(count)]))
    expect(names.of(1n, address(0), 0n)).toEqual([])
    expect(names.of(1n, address(1), 0n)).toEqual(['x.example'])
  })
})
