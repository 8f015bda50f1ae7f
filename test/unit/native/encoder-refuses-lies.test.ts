import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { loadAddon } from '../../../src/native/addon.js'
import { ABI } from '../../../src/native/generated/abi.js'
import { EventBatch } from '../../../src/proto/codec.js'
import { buildRecord, KIND_NUMBERS, type Kind, type Values } from '../../support/ring-record.js'

const addon = loadAddon()
const { SL_PATH_MAX, SL_ARGS_MAX } = ABI.limits
const HEADER_BYTES = ABI.structs.sl_event_hdr.size
const text = Buffer.from('/usr/bin/true')

function exec(own: Values, header: Values = {}): Buffer {
  const lengths = { exe_len: BigInt(text.length), cwd_len: 0n, args_len: 0n }
  return buildRecord({ kind: 'exec', header, own: { ...lengths, ...own }, strings: [text] })
}

describe('the encoder', () => {
  it('takes the record that the lies below start from', () => {
    expect(addon.encodeRecord(exec({}))).not.toBeNull()
  })

  it.each([
    ['exe_len beyond the record', { exe_len: 14n }],
    ['exe_len short of the record', { exe_len: 12n }],
    ['cwd_len beyond the record', { cwd_len: 1n }],
    ['args_len beyond the record', { args_len: 1n }],
    ['the largest lengths', { exe_len: 0xffffn, cwd_len: 0xffffn, args_len: 0xffffffffn }],
    ['lengths that add up to zero in 32 bits', { exe_len: 1n, cwd_len: 0n, args_len: 2n ** 32n - 1n }],
  ])('refuses an exec with %s', (_, own) => {
    expect(addon.encodeRecord(exec(own))).toBeNull()
  })

  it.each([0n, 1n, 71n, 72n, 111n, 124n, 126n, 0xffffffffn])(
    'refuses an exec of 125 bytes that states a size of %s',
    (size) => {
      expect(addon.encodeRecord(exec({}, { size }))).toBeNull()
    },
  )

  it.each([0n, BigInt(ABI.enums.SL_KIND_END), 0xffffn])('refuses kind %s', (kind) => {
    expect(addon.encodeRecord(exec({}, { kind }))).toBeNull()
  })

  it.each([
    ['exec', 'exe_len', SL_PATH_MAX],
    ['exec', 'cwd_len', SL_PATH_MAX],
    ['exec', 'args_len', SL_ARGS_MAX],
    ['file_open', 'path_len', SL_PATH_MAX],
    ['file_open', 'user_path_len', SL_PATH_MAX],
  ] as const)('takes a %s with the longest %s and refuses one byte more', (kind: Kind, field, max) => {
    const record = (length: number) =>
      buildRecord({ kind, header: {}, own: { [field]: BigInt(length) }, strings: [Buffer.alloc(length, 97)] })
    expect(addon.encodeRecord(record(max))).not.toBeNull()
    expect(addon.encodeRecord(record(max + 1))).toBeNull()
  })

  it('refuses every record that was cut', () => {
    const whole = exec({})
    for (let length = 0; length < whole.length; length += 1) {
      expect(addon.encodeRecord(whole.subarray(0, length))).toBeNull()
    }
  })

  it('answers any bytes with null or one decodable event, and never reads beyond them', () => {
    const kind = fc.oneof(fc.nat(6), fc.nat(0xffff))
    const body = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ minLength: 40, maxLength: 44 }))
    fc.assert(
      fc.property(
        kind,
        fc.uint8Array({ minLength: HEADER_BYTES, maxLength: HEADER_BYTES }),
        body,
        fc.boolean(),
        (k, header, rest, honest) => {
          const record = Buffer.concat([header, rest])
          record.writeUInt16LE(k, ABI.structs.sl_event_hdr.fields.kind)
          if (honest) record.writeUInt32LE(record.length, ABI.structs.sl_event_hdr.fields.size)
          const bytes = addon.encodeRecord(record)
          if (bytes === null) return
          const batch = EventBatch.decode(bytes)
          expect(batch.events).toHaveLength(1)
          expect(batch.events[0]?.kind).toBe(k)
          expect(Object.values(KIND_NUMBERS)).toContain(k)
        },
      ),
      { numRuns: 3_000 },
    )
  })
})
