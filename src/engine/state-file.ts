/**
 * The engine's state on disk: one file, opened before privileges go, with two places that are written in turn, so that one of them is
 * always whole. Guards that what is read back is what was last written entirely, and that the file stays bounded. Not here: what the
 * state is. Nothing is synced: it is for an engine that dies, not for a machine that does.
 */
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { deserialize, serialize } from 'node:v8'
import { crc32 } from 'node:zlib'
import { messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'

/** Of one state. */
export const STATE_BYTES_MAX = 32 * 1024 * 1024
const MAGIC = 0x53_4c_45_32
const SEQ_AT = 4
const LENGTH_AT = 12
const CRC_AT = 16
const HEAD_BYTES = 20
const PLACES = [0, HEAD_BYTES + STATE_BYTES_MAX] as const
const MODE = 0o600

export class StateFile {
  private readonly fd: number
  private readonly log: Log
  private seq = 0n
  private complained = false

  /** Throws IO if the file can't be used. */
  constructor(path: string, log: Log) {
    this.log = log
    try {
      this.fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, MODE)
    } catch (error) {
      throw new SluiceError('IO', `the engine's state ${path} can't be opened: ${messageOf(error)}`, { cause: error })
    }
  }

  /** What was saved last; null if there is nothing that can be read. */
  load(): unknown {
    let newest: { seq: bigint; content: Buffer } | null = null
    for (const place of PLACES) {
      const found = this.read(place)
      if (found !== null && (newest === null || found.seq > newest.seq)) newest = found
    }
    if (newest === null) return null
    this.seq = newest.seq
    try {
      return deserialize(newest.content)
    } catch (error) {
      this.log.error({ error: messageOf(error) }, 'the state of an earlier engine can not be understood')
      return null
    }
  }

  /** The bytes of a state, as they are now. */
  static encode(state: unknown): Buffer {
    return serialize(state)
  }

  /** False if it could not be written; what was there before is still there then. */
  save(content: Buffer): boolean {
    try {
      if (content.length > STATE_BYTES_MAX) throw new Error(`it has ${content.length} bytes`)
      this.seq++
      const head = Buffer.alloc(HEAD_BYTES)
      head.writeUInt32LE(MAGIC, 0)
      head.writeBigUInt64LE(this.seq, SEQ_AT)
      head.writeUInt32LE(content.length, LENGTH_AT)
      head.writeUInt32LE(checksum(head, content), CRC_AT)
      const whole = Buffer.concat([head, content])
      const written = writeSync(this.fd, whole, 0, whole.length, PLACES[Number(this.seq % 2n)])
      if (written !== whole.length) throw new Error(`the disk took ${written} of ${whole.length} bytes`)
      this.complained = false
      return true
    } catch (error) {
      if (!this.complained) this.log.error({ error: messageOf(error) }, 'the engine can not save its state')
      this.complained = true
      return false
    }
  }

  close(): void {
    closeSync(this.fd)
  }

  private read(place: number): { seq: bigint; content: Buffer } | null {
    const head = Buffer.alloc(HEAD_BYTES)
    if (readSync(this.fd, head, 0, HEAD_BYTES, place) !== HEAD_BYTES || head.readUInt32LE(0) !== MAGIC) return null
    const length = head.readUInt32LE(LENGTH_AT)
    if (length > STATE_BYTES_MAX || place + HEAD_BYTES + length > fstatSync(this.fd).size) return null
    const content = Buffer.alloc(length)
    readSync(this.fd, content, 0, length, place + HEAD_BYTES)
    return head.readUInt32LE(CRC_AT) === checksum(head, content) ? { seq: head.readBigUInt64LE(SEQ_AT), content } : null
  }
}

function checksum(head: Buffer, content: Buffer): number {
  return crc32(content, crc32(head.subarray(0, CRC_AT)))
}
