/**
 * How many queries of each sandbox this gateway has taken, in a file that outlives it: one that is killed can't say any more what it had not
 * told, and the gateway after it says by this file how much that was. Guards that what an earlier one left is there until it was told, and
 * that a query counts before anything comes of it. Not here: what was told (told-queries.ts).
 */
import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'

const MODE = 0o600
const FORM = 'sluice-queries-1'
/** The form, and the instance behind it. */
const HEAD_BYTES = 128
/** The count, the id's length, the id. */
const SLOT_BYTES = 256
const COUNT_BYTES = 8
const ID_AT = COUNT_BYTES + 2
const ID_BYTES_MAX = SLOT_BYTES - ID_AT

export interface EarlierCounts {
  readonly instance: string
  readonly taken: ReadonlyMap<string, number>
}

interface Slot {
  readonly index: number
  taken: number
}

export class QueryCounts {
  /** Of a gateway that did not end in order; null: there was none. */
  readonly earlier: EarlierCounts | null
  readonly #fd: number
  readonly #count = Buffer.alloc(COUNT_BYTES)
  readonly #slots = new Map<string, Slot>()
  readonly #free: number[] = []
  #length = 0
  #hasBegun = false

  /** Throws what the file system says. */
  constructor(path: string) {
    this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, MODE)
    this.earlier = read(readFileSync(this.#fd))
  }

  /** From here on the file is this gateway's. */
  begin(instance: string): void {
    ftruncateSync(this.#fd, 0)
    const head = Buffer.alloc(HEAD_BYTES)
    head.write(FORM)
    head.write(instance.slice(0, HEAD_BYTES - FORM.length - 1), FORM.length)
    writeSync(this.#fd, head, 0, HEAD_BYTES, 0)
    this.#hasBegun = true
    for (const [id, slot] of this.#slots) this.#write(id, slot)
  }

  /** One more. */
  add(sandboxId: string): void {
    const slot = this.#slots.get(sandboxId) ?? this.#open(sandboxId)
    slot.taken += 1
    if (!this.#hasBegun) return
    this.#count.writeDoubleLE(slot.taken)
    writeSync(this.#fd, this.#count, 0, COUNT_BYTES, placeOf(slot))
  }

  /** All of it was told. */
  close(sandboxId: string): void {
    const slot = this.#slots.get(sandboxId)
    if (slot === undefined) return
    this.#slots.delete(sandboxId)
    this.#free.push(slot.index)
    if (this.#hasBegun) writeSync(this.#fd, Buffer.alloc(SLOT_BYTES), 0, SLOT_BYTES, placeOf(slot))
  }

  /** @param isTold all of all sandboxes: nobody has to ask about it */
  end(isTold: boolean): void {
    if (isTold) ftruncateSync(this.#fd, 0)
    closeSync(this.#fd)
  }

  #open(sandboxId: string): Slot {
    const slot = { index: this.#free.pop() ?? this.#length++, taken: 0 }
    this.#slots.set(sandboxId, slot)
    if (this.#hasBegun) this.#write(sandboxId, slot)
    return slot
  }

  #write(sandboxId: string, slot: Slot): void {
    const bytes = Buffer.alloc(SLOT_BYTES)
    const id = Buffer.from(sandboxId).subarray(0, ID_BYTES_MAX)
    bytes.writeDoubleLE(slot.taken)
    bytes.writeUInt16LE(id.length, COUNT_BYTES)
    id.copy(bytes, ID_AT)
    writeSync(this.#fd, bytes, 0, SLOT_BYTES, placeOf(slot))
  }
}

function placeOf({ index }: Slot): number {
  return HEAD_BYTES + index * SLOT_BYTES
}

function read(bytes: Buffer): EarlierCounts | null {
  if (bytes.length < HEAD_BYTES || bytes.toString('latin1', 0, FORM.length) !== FORM) return null
  const instance = bytes.toString('utf8', FORM.length, HEAD_BYTES).replace(/\0+$/, '')
  const taken = new Map<string, number>()
  for (let at = HEAD_BYTES; at + SLOT_BYTES <= bytes.length; at += SLOT_BYTES) {
    const idBytes = Math.min(bytes.readUInt16LE(at + COUNT_BYTES), ID_BYTES_MAX)
    const id = bytes.toString('utf8', at + ID_AT, at + ID_AT + idBytes)
    const count = bytes.readDoubleLE(at)
    if (idBytes > 0 && Number.isSafeInteger(count)) taken.set(id, count)
  }
  return { instance, taken }
}
