/**
 * What was written can't be changed unnoticed: whatever is done to the files of a journal, `verify` says BAD and names the first record that is
 * not the one that was written, or, where somebody made the chain anew, the first that no signature vouches for.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Event, fromBigInt } from '../../../../src/proto/codec.js'
import {
  decodeSigned,
  encodeSigned,
  openCheckpoint,
  type SignedCheckpoint,
  signCheckpoint,
} from '../../../../src/proto/journal/checkpoint.js'
import {
  blockContent,
  chainOn,
  chainStart,
  decodeSegmentHead,
  encodeBlock,
  encodeSegmentHead,
  frameRecord,
  HASH_BYTES,
  LINK_BYTES,
  RECORD_HEAD_BYTES,
} from '../../../../src/proto/journal/journal-format.js'
import { SegmentReader, segmentName, segmentsOf } from '../../../../src/proto/journal/segment-files.js'
import { endOf, eventOf, JournalRig, newKey, sessionId } from './journal-rig.js'

const EVENTS = 60
const PER_BLOCK = 6
const A = sessionId('a')
const B = sessionId('b')

/** A record as a block has it, with its link. */
type Raw = Buffer
interface Block {
  kind: 'records' | 'checkpoint'
  records: Raw[]
  content: Buffer
}
interface Segment {
  blocks: Block[]
}

const rig = new JournalRig()
const original = new Map<string, Map<string, Buffer>>()

beforeAll(() => {
  for (const session of [A, B]) {
    const journal = rig.open({ segmentBytes: 700 })
    for (let seq = 1; seq <= EVENTS; seq++) {
      journal.append(
        seq === EVENTS ? endOf(session, seq) : eventOf(session, seq, `${session} ${'x'.repeat(seq)} ${seq}`),
      )
      if (seq % PER_BLOCK !== 0) continue
      // Every second block is vouched for as soon as it is there.
      rig.nowMs += seq % (2 * PER_BLOCK) === 0 ? 10_000 : 1
      journal.flush()
    }
    journal.stop()
    original.set(session, filesOf(session))
  }
})

afterAll(() => rig.remove())

function filesOf(session: string): Map<string, Buffer> {
  const folder = rig.folderOf(session)
  return new Map(segmentsOf(folder).map((n) => [segmentName(n), readFileSync(join(folder, segmentName(n)))]))
}

/** Puts back what was written, then does this to it. */
function tampered(tamper: (folder: string) => void): ReturnType<JournalRig['verify']> {
  const folder = rig.folderOf(A)
  for (const name of filesOf(A).keys()) rmSync(join(folder, name))
  for (const [name, bytes] of original.get(A) ?? []) writeFileSync(join(folder, name), bytes)
  tamper(folder)
  return rig.verify(A)
}

function parsed(session: string): Segment[] {
  const folder = rig.folderOf(session)
  return segmentsOf(folder).map((segment) => {
    const reader = new SegmentReader(folder, segment)
    const blocks: Block[] = []
    for (const part of reader.parts('everything')) {
      if (part.kind !== 'block') continue
      const content = blockContent(part.head, part.stored ?? Buffer.alloc(0))
      blocks.push({ kind: part.head.kind, content, records: part.head.kind === 'records' ? rawRecords(content) : [] })
    }
    reader.close()
    return { blocks }
  })
}

function rawRecords(content: Buffer): Raw[] {
  const records: Raw[] = []
  for (let at = 0; at < content.length; ) {
    const end = at + RECORD_HEAD_BYTES + content.readUInt32LE(at) + LINK_BYTES
    records.push(Buffer.from(content.subarray(at, end)))
    at = end
  }
  return records
}

/** Writes blocks back with sums that are right. The heads of files stay as they were, or follow the chain that there is now. */
function write(folder: string, segments: readonly Segment[], how: 'kept' | 'anew'): void {
  let records = 0n
  let head: Buffer = chainStart(A)
  for (const [index, { blocks }] of segments.entries()) {
    const name = segmentName(index + 1)
    const old = readFileSync(join(folder, name))
    const parts: Buffer[] =
      how === 'kept' ? [old.subarray(0, 72)] : [encodeSegmentHead({ sessionId: A, segment: index + 1, records, head })]
    for (const block of blocks) {
      if (block.kind === 'checkpoint') {
        parts.push(encodeBlock('checkpoint', block.content, 0))
        continue
      }
      for (const record of block.records) {
        const framed = frameRecord(record.readUInt8(4), record.subarray(RECORD_HEAD_BYTES, record.length - LINK_BYTES))
        head = chainOn(head, framed)
        if (how === 'anew') head.copy(record, record.length - LINK_BYTES, 0, LINK_BYTES)
      }
      records += BigInt(block.records.length)
      if (block.records.length > 0)
        parts.push(encodeBlock('records', Buffer.concat(block.records), block.records.length))
    }
    writeFileSync(join(folder, name), Buffer.concat(parts))
  }
  expect(head).toHaveLength(HASH_BYTES)
}

function changed(record: Raw): Raw {
  const event = Event.decode(record.subarray(RECORD_HEAD_BYTES, record.length - LINK_BYTES))
  const content = Event.encode({ ...event, timeUnixNs: fromBigInt(1n) }).finish()
  return Buffer.concat([frameRecord(1, content).subarray(HASH_BYTES), record.subarray(record.length - LINK_BYTES)])
}

/** Blocks of records in order, and which records are in each. */
function blocksWithRecords(segments: readonly Segment[]): { block: Block; first: number }[] {
  let first = 1
  return segments.flatMap(({ blocks }) =>
    blocks.flatMap((block) => {
      if (block.kind === 'checkpoint') return []
      const found = { block, first }
      first += block.records.length
      return [found]
    }),
  )
}

/** What is done to the record with this number, in its block; gives the number of the first that doesn't fit then. */
const EDITS: Readonly<Record<string, (block: Block, at: number) => number>> = {
  change(block, at) {
    block.records[at] = changed(block.records[at] ?? Buffer.alloc(0))
    return at
  },
  drop(block, at) {
    block.records.splice(at, 1)
    return at
  },
  duplicate(block, at) {
    block.records.splice(at, 0, Buffer.from(block.records[at] ?? Buffer.alloc(0)))
    return at + 1
  },
  reorder(block, at) {
    const [one, two] = [block.records[at], block.records[(at + 1) % block.records.length]]
    if (one !== undefined && two !== undefined) {
      block.records[at] = two
      block.records[(at + 1) % block.records.length] = one
    }
    return at + 1 === block.records.length ? 0 : at
  },
}

describe('a journal as it was written', () => {
  it('is sealed, and all of it is vouched for', () => {
    const report = tampered(() => {})
    expect(report).toMatchObject({ state: 'SEALED', problem: null, proved: 60n, provedSeq: 60n, records: 60n })
    expect(report.checkpoints).toBe(5)
    expect(filesOf(A).size).toBeGreaterThan(4)
  })
})

describe('a journal that was changed', () => {
  it('is bad whichever byte is flipped, from the record on that was hit', () => {
    const files = [...(original.get(A) ?? [])]
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 }), (file, byte, bits) => {
        const [name = '', bytes = Buffer.alloc(0)] = files[file % files.length] ?? []
        const at = byte % bytes.length
        const report = tampered((folder) => {
          const copy = Buffer.from(bytes)
          copy[at] = (copy[at] ?? 0) ^ bits
          writeFileSync(join(folder, name), copy)
        })
        const before = decodeSegmentHead(bytes)?.records ?? 0n
        expect(report.state).toBe('BAD')
        expect(report.problem?.file).toBe(name)
        expect(report.problem?.record).toBeGreaterThan(before)
        // Nothing behind what is bad is called proved.
        expect(report.proved).toBeLessThan(report.problem?.record ?? 0n)
      }),
      { numRuns: 60 },
    )
  })

  it('is bad from the very record on that was changed, dropped, doubled or moved', () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(EDITS)), fc.nat(), fc.nat(), (edit, blockAt, recordAt) => {
        const segments = parsedOriginal()
        const found = blocksWithRecords(segments)
        const { block, first } = found[blockAt % found.length] ?? { block: null, first: 0 }
        if (block === null) throw new Error('no block')
        // What is dropped at the end of all is a truncation: another test's.
        const isLast = first + block.records.length > EVENTS
        const at = recordAt % (block.records.length - (isLast ? 1 : 0))
        const bad = first + (EDITS[edit]?.(block, at) ?? 0)
        const report = tampered((folder) => write(folder, segments, 'kept'))
        expect({ edit, state: report.state, record: report.problem?.record }).toEqual({
          ...{ edit, state: 'BAD', record: BigInt(bad) },
        })
      }),
      { numRuns: 60 },
    )
  })

  it('is bad from the first record on that no signature vouches for, if the chain was made anew', () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(EDITS)), fc.nat(), (edit, blockAt) => {
        const segments = parsedOriginal()
        const found = blocksWithRecords(segments)
        const { block, first } = found[blockAt % found.length] ?? { block: null, first: 0 }
        if (block === null) throw new Error('no block')
        EDITS[edit]?.(block, 1)
        const report = tampered((folder) => write(folder, segments, 'anew'))
        expect(report.state).toBe('BAD')
        const unproved = BigInt(Math.floor((first - 1) / (2 * PER_BLOCK)) * 2 * PER_BLOCK)
        expect(report.proved).toBe(unproved)
        // A number that is missing or comes twice is seen before the signature is.
        expect(report.problem?.record).toBeGreaterThanOrEqual(unproved + 1n)
        expect(report.problem?.record).toBeLessThanOrEqual(BigInt(first + PER_BLOCK))
      }),
      { numRuns: 60 },
    )
  })
})

function parsedOriginal(): Segment[] {
  tampered(() => {})
  return parsed(A)
}

describe('files of a journal', () => {
  it.each([1, 2, 3])('that are missing are named, with the record that they began with: %s', (segment) => {
    const begin = decodeSegmentHead(original.get(A)?.get(segmentName(segment)) ?? Buffer.alloc(0))?.records ?? 0n
    const report = tampered((folder) => rmSync(join(folder, segmentName(segment))))
    expect(report).toMatchObject({ state: 'BAD', problem: { record: begin + 1n, file: segmentName(segment) } })
  })

  it('can not change places', () => {
    const report = tampered((folder) => {
      renameSync(join(folder, segmentName(1)), join(folder, 'x'))
      renameSync(join(folder, segmentName(2)), join(folder, segmentName(1)))
      renameSync(join(folder, 'x'), join(folder, segmentName(2)))
    })
    expect(report).toMatchObject({ state: 'BAD', problem: { record: 1n } })
  })

  it.each([1, 2, 3])('of another session have no place in it: %s', (segment) => {
    const begin = decodeSegmentHead(original.get(A)?.get(segmentName(segment)) ?? Buffer.alloc(0))?.records ?? 0n
    const foreign = original.get(B)?.get(segmentName(segment)) ?? Buffer.alloc(0)
    const report = tampered((folder) => writeFileSync(join(folder, segmentName(segment)), foreign))
    expect(report).toMatchObject({ state: 'BAD', problem: { record: begin + 1n } })
    expect(report.problem?.reason).toContain(B)
  })

  it('may have nothing behind the seal', () => {
    const last = [...(original.get(A) ?? [])].at(-1)
    const report = tampered((folder) => {
      const more = encodeBlock('records', rawTail(), 1)
      writeFileSync(join(folder, last?.[0] ?? ''), Buffer.concat([last?.[1] ?? Buffer.alloc(0), more]))
    })
    expect(report).toMatchObject({ state: 'BAD', problem: { record: 61n } })
  })
})

/** A record that follows the last one, its chain made as a writer would. */
function rawTail(): Buffer {
  const { head } = lastCheckpoint(A)
  const framed = frameRecord(1, Event.encode(eventOf(A, 61)).finish())
  const link = chainOn(Buffer.from(head, 'hex'), framed)
  return Buffer.concat([framed.subarray(HASH_BYTES), link.subarray(0, LINK_BYTES)])
}

function lastCheckpoint(session: string): { head: string; signed: SignedCheckpoint } {
  const last = rig.checkpoints.findLast(({ body }) => body.includes(session))
  if (last === undefined) throw new Error('no checkpoint')
  const opened = openCheckpoint(last, rig.key.keys)
  if (typeof opened === 'string') throw new Error(opened)
  return { head: opened.head, signed: last }
}

describe('checkpoints', () => {
  it('that another key signed are refused, though all of them fit', () => {
    const thief = newKey()
    const segments = parsedOriginal()
    let previous = ''
    for (const block of segments.flatMap(({ blocks }) => blocks)) {
      if (block.kind !== 'checkpoint') continue
      const signed = decodeSigned(block.content)
      const opened = signed === null ? 'none' : openCheckpoint(signed, rig.key.keys)
      if (typeof opened === 'string') throw new Error(opened)
      const anew = signCheckpoint({ ...opened, previous, keyId: thief.keyId }, thief.privateKey)
      previous = anew.body.toString()
      block.content = encodeSigned(anew)
    }
    const report = tampered((folder) => write(folder, segments, 'kept'))
    expect(report).toMatchObject({ state: 'BAD', proved: 0n, problem: { record: 1n } })
    expect(report.problem?.reason).toContain('a key that is not among yours')
  })

  it('can not be left out between others, nor be those of another session', () => {
    const segments = parsedOriginal()
    const all = segments.flatMap(({ blocks }) => blocks)
    const second = all.filter(({ kind }) => kind === 'checkpoint')[1]
    for (const segment of segments) segment.blocks = segment.blocks.filter((block) => block !== second)
    expect(tampered((folder) => write(folder, segments, 'kept'))).toMatchObject({
      state: 'BAD',
      problem: { record: 13n },
    })
    if (second !== undefined) second.content = encodeSigned(lastCheckpoint(B).signed)
    const swapped = parsedOriginal()
    const place = swapped.flatMap(({ blocks }) => blocks).filter(({ kind }) => kind === 'checkpoint')[1]
    if (place !== undefined && second !== undefined) place.content = second.content
    const report = tampered((folder) => write(folder, swapped, 'kept'))
    expect(report).toMatchObject({ state: 'BAD', problem: { record: 13n } })
    expect(report.problem?.reason).toContain(B)
  })
})

describe('a journal that was cut', () => {
  it('is never SEALED, and never more than what is left is proved; who kept the checkpoints knows better', () => {
    const files = [...(original.get(A) ?? [])]
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (file, byte) => {
        const keep = file % files.length
        const report = tampered((folder) => {
          for (const [name] of files.slice(keep + 1)) rmSync(join(folder, name))
          const [name = '', bytes = Buffer.alloc(0)] = files[keep] ?? []
          writeFileSync(join(folder, name), bytes.subarray(0, byte % bytes.length))
        })
        expect(report.state).toBe('OPEN')
        expect(report.proved).toBeLessThanOrEqual(report.records)
        const witnessed = rig.verify(A, { witness: rig.checkpoints })
        expect(witnessed).toMatchObject({ state: 'BAD', problem: { record: report.records + 1n } })
      }),
      { numRuns: 60 },
    )
  })

  it('fits its witness where nothing was cut', () => {
    tampered(() => {})
    expect(rig.verify(A, { witness: rig.checkpoints })).toMatchObject({ state: 'SEALED', witnessed: 5 })
  })
})
