import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { connectOf, listenOf } from '../../../src/engine/enrich-net.js'
import { protocolOf, sockaddrText } from '../../../src/engine/socket-address.js'
import { fromBigInt, Protocol, Via } from '../../../src/proto/codec.js'

const TIME = fromBigInt(5n)
const text = (hex: string) => sockaddrText(Buffer.from(hex, 'hex'))
const unix = (path: string) => Buffer.concat([Buffer.from([1, 0]), Buffer.from(path, 'latin1')])

describe('a socket address', () => {
  it.each([
    ['a path', unix('/run/x.sock\0'), '/run/x.sock'],
    ['a path without an end', unix('/run/x'), '/run/x'],
    ['a path of bytes', unix('/\xff\\\n'), '/\\xff\\\\\n'],
    ['an abstract name, NULs in it included', unix('\0a\0b\0'), '@a\0b\0'],
    ['no name', unix(''), ''],
    ['an empty path', unix('\0'), ''],
  ])('of a Unix socket has %s', (_, bytes, address) => {
    expect(sockaddrText(bytes)).toEqual({ address, port: 0 })
  })

  it.each([
    ['netlink', '1000000039300000ffffffff', { address: '12345', port: 0 }],
    ['vsock', '28000000d2040000020000000000000000', { address: '2', port: 1234 }],
    ['packet', '110088b5030000000100000602420aff0001', { address: '02:42:0a:ff:00:01%3', port: 0x88b5 }],
    [
      'packet, with an address longer than there is',
      '110088b50300000001000040aabb',
      { address: 'aa:bb:00:00:00:00:00:00%3', port: 0x88b5 },
    ],
    ['another family', '63000102', { address: '99:0102', port: 0 }],
    ['a family alone', '6300', { address: '99:', port: 0 }],
    ['half a family', '63', { address: '', port: 0 }],
  ])('of %s', (_, hex, expected) => {
    expect(text(hex)).toEqual(expected)
  })

  it('of the crypto interface has type and name', () => {
    const bytes = Buffer.alloc(88)
    bytes.writeUInt16LE(38)
    bytes.write('hash', 2)
    bytes.write('hmac(sha1)', 24)
    expect(sockaddrText(bytes)).toEqual({ address: 'hash hmac(sha1)', port: 0 })
  })

  it('never throws, whatever the caller passed', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 112 }), (bytes) => void sockaddrText(bytes)))
    fc.assert(
      fc.property(fc.constantFrom(1, 16, 17, 38, 40), fc.uint8Array({ maxLength: 110 }), (family, bytes) => {
        expect(sockaddrText(Uint8Array.of(family, 0, ...bytes)).address).toBeTypeOf('string')
      }),
    )
  })
})

describe('the protocol', () => {
  it.each([
    [2, 1, 6, Protocol.PROTOCOL_TCP],
    [10, 1, 262, Protocol.PROTOCOL_TCP],
    [2, 1, 0, Protocol.PROTOCOL_TCP],
    [2, 2, 0, Protocol.PROTOCOL_UDP],
    [2, 2, 136, Protocol.PROTOCOL_UDP],
    [2, 2, 1, Protocol.PROTOCOL_ICMP],
    [10, 3, 58, Protocol.PROTOCOL_RAW],
    [2, 3, 6, Protocol.PROTOCOL_RAW],
    [2, 5, 132, Protocol.PROTOCOL_SCTP],
    [1, 2, 0, Protocol.PROTOCOL_UNIX],
    [17, 3, 768, Protocol.PROTOCOL_PACKET],
    [31, 3, 6, Protocol.PROTOCOL_OTHER],
    [2, 1, 255, Protocol.PROTOCOL_OTHER],
    // Its socket was gone when it was asked.
    [0, 0, 17, Protocol.PROTOCOL_UDP],
  ])('of family %i, type %i and number %i', (family, type, number, expected) => {
    expect(protocolOf(family, type, number)).toBe(expected)
  })
})

describe('a call on a socket', () => {
  const addr = Buffer.from('00000000000000000000ffff7f000001', 'hex')

  it('has a path from where it starts', () => {
    const facts = { family: 1, type: 1, via: 1, base: Buffer.from('/w/d'), sockaddr: unix('../s\0') }
    expect(connectOf(facts, 'boot', TIME)).toMatchObject({ address: '/w/s', port: 0, resolved: false })
  })

  it('has the path that the kernel found, which is not its own if it was cut', () => {
    const facts = { family: 1, type: 1, flags: 1, base: Buffer.from('/w/s') }
    expect(listenOf(facts, 'boot')).toMatchObject({ address: '/w/s', resolved: true })
    expect(listenOf({ ...facts, baseFlags: 1 }, 'boot')).toMatchObject({ resolved: false })
  })

  it('has no address where the socket was only made, or has no name', () => {
    expect(connectOf({ family: 2, type: 1, via: 3, addr }, 'boot', TIME)).toMatchObject({ address: '', port: 0 })
    expect(listenOf({ family: 40, type: 1, addr }, 'boot')).toMatchObject({ address: '', port: 0 })
    expect(listenOf({ family: 2, type: 1, addr, port: 80 }, 'boot')).toMatchObject({ address: '127.0.0.1', port: 80 })
  })

  it('by a packet socket goes past what the other hooks see, and says so', () => {
    const sockaddr = Buffer.from('110088b503000000010000060000000000010000', 'hex')
    const facts = { family: 17, type: 3, sockaddr }
    expect(connectOf({ ...facts, via: 2 }, 'boot', TIME).via).toBe(Via.VIA_PACKET)
    expect(connectOf({ ...facts, via: 3 }, 'boot', TIME).via).toBe(Via.VIA_SOCKET)
  })
})
