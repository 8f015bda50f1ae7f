/**
 * The files of one session's journal: a folder named by the session, segments in it by number. Guards that reading one never follows a
 * link, waits for a pipe or takes more memory than a block may have. Not here: what is in the blocks.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, reasonOf, SluiceError } from '../../base/error.js'
import { BLOCK_HEAD_BYTES, type BlockHead, decodeBlockHead, SEGMENT_HEAD_BYTES } from './journal-format.js'

const SEGMENT_NAME = /^(\d{6})\.journal$/
export const SEGMENTS_MAX = 999_999

export function segmentName(segment: number): string {
  return `${String(segment).padStart(6, '0')}.journal`
}

/** Numbers of a folder's segments, in order. Throws IO. */
export function segmentsOf(folder: string): number[] {
  try {
    const numbers = readdirSync(folder).flatMap((name) => {
      const number = SEGMENT_NAME.exec(name)?.[1]
      return number === undefined ? [] : [Number(number)]
    })
    return numbers.sort((a, b) => a - b)
  } catch (error) {
    const hint = errnoCode(error) === 'EACCES' ? { hint: 'root may read the journal' } : {}
    throw new SluiceError('IO', `${folder} can't be read: ${reasonOf(error)}`, { ...hint, cause: error })
  }
}

export type SegmentPart =
  /** Null: it is none. */
  | { readonly kind: 'head'; readonly bytes: Buffer }
  | { readonly kind: 'block'; readonly offset: number; readonly head: BlockHead; readonly stored: Buffer | null }
  /** A whole head that no writer wrote. */
  | { readonly kind: 'broken'; readonly offset: number }
  /** It ends within this. */
  | { readonly kind: 'torn'; readonly offset: number; readonly bytes: number }

/** What of blocks is read beside their heads. */
export type Wants = 'everything' | 'checkpoints'

export class SegmentReader {
  private readonly fd: number
  readonly bytes: number

  /** Throws IO for what is no file that can be read. */
  constructor(folder: string, segment: number) {
    const path = join(folder, segmentName(segment))
    try {
      this.fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    } catch (error) {
      throw new SluiceError('IO', `${path} can't be read: ${reasonOf(error)}`, { cause: error })
    }
    const found = fstatSync(this.fd)
    this.bytes = found.size
    if (found.isFile()) return
    this.close()
    throw new SluiceError('IO', `${path} is no file`)
  }

  close(): void {
    closeSync(this.fd)
  }

  /** In order; ends behind what is broken or torn. */
  *parts(wants: Wants): Generator<SegmentPart> {
    const head = this.read(0, SEGMENT_HEAD_BYTES)
    if (head.length < SEGMENT_HEAD_BYTES) {
      yield { kind: 'torn', offset: 0, bytes: head.length }
      return
    }
    yield { kind: 'head', bytes: head }
    let offset = SEGMENT_HEAD_BYTES
    while (offset < this.bytes) {
      const bytes = this.read(offset, BLOCK_HEAD_BYTES)
      const block = decodeBlockHead(bytes)
      if (bytes.length === BLOCK_HEAD_BYTES && block === null) {
        yield { kind: 'broken', offset }
        return
      }
      const end = offset + BLOCK_HEAD_BYTES + (block?.storedBytes ?? 0)
      if (block === null || end > this.bytes) {
        yield { kind: 'torn', offset, bytes: this.bytes - offset }
        return
      }
      const isWanted = wants === 'everything' || block.kind === 'checkpoint'
      const stored = isWanted ? this.read(offset + BLOCK_HEAD_BYTES, block.storedBytes) : null
      yield { kind: 'block', offset, head: block, stored }
      offset = end
    }
  }

  /** Fewer bytes where the file ends. */
  private read(offset: number, length: number): Buffer {
    const buffer = Buffer.alloc(length)
    let have = 0
    while (have < length) {
      const got = readSync(this.fd, buffer, have, length - have, offset + have)
      if (got === 0) break
      have += got
    }
    return buffer.subarray(0, have)
  }
}
