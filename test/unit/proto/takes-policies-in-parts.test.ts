/** Policies in parts: whole and what they are called, or nobody's. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { CompiledPolicy, encodeBuffer } from '../../../src/proto/codec.js'
import { PolicyParts } from '../../../src/proto/policy-parts.js'
import { POLICY_BYTES_MAX } from '../../../src/proto/policy-size.js'

const bytes = encodeBuffer(CompiledPolicy, { name: 'big', unjudged: ['x'.repeat(100)] })
const name = createHash('sha256').update(bytes).digest('base64')
const total = bytes.length
const [one, two] = [bytes.subarray(0, 40), bytes.subarray(40)]

describe('a policy in parts', () => {
  it('can be had once, when all of them are there', () => {
    const parts = new PolicyParts()
    parts.add(name, { offset: 0, part: one, total })
    expect(parts.take(name)).toBeNull()
    parts.add(name, { offset: 40, part: two, total })
    expect(parts.take(name)).toMatchObject({ name: 'big' })
    expect(parts.take(name)).toBeNull()
  })

  it('is refused where a part is missing, comes twice or is too much', () => {
    const parts = new PolicyParts()
    expect(() => parts.add(name, { offset: 40, part: two, total })).toThrowError(/does not follow/)
    parts.add(name, { offset: 0, part: one, total })
    expect(() => parts.add(name, { offset: 0 + 41, part: two, total })).toThrowError(/does not follow/)
    expect(() => parts.add(name, { offset: 40, part: bytes, total })).toThrowError(/more bytes than it said/)
    const most = POLICY_BYTES_MAX + 1
    expect(() => parts.add(name, { offset: 0, part: Buffer.alloc(most), total: most })).toThrowError(/more bytes/)
  })

  it('is nobody’s under the name of another', () => {
    const parts = new PolicyParts()
    parts.add('another', { offset: 0, part: bytes, total })
    expect(() => parts.take('another')).toThrowError(/not the policy that was named/)
  })

  it('takes a bounded room where it is begun and never ended', () => {
    const parts = new PolicyParts()
    for (const each of ['a', 'b', name]) parts.add(each, { offset: 0, part: one, total })
    expect(() => parts.add('a', { offset: 40, part: two, total })).toThrowError(/does not follow/)
    parts.add(name, { offset: 40, part: two, total })
    expect(parts.take(name)).not.toBeNull()
  })
})
