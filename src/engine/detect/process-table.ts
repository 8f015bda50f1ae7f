/**
 * The processes of a session: which call each belongs to, and what is known of where it comes from. As wide as a fixed number of them, however
 * many come: of too many in one row those that exited go first, then the oldest, a harness never before another one. What goes
 * while it runs is counted.
 */
import { processEnd } from './fact.js'
import { hash32 } from './hash.js'

const ROWS = 128
const PER_ROW = 8
/** Of the packed word. */
const FLAG_BITS = 8
const CALLS = 2 ** 24

export const PROCESSES_MAX = ROWS * PER_ROW

/** It drives the model: what it starts are calls. */
export const HARNESS = 1
/** Its call ends with it. */
export const FIRST = 2
export const EXITED = 4
/** It is an installer, or was started by one. */
export const INSTALLS = 8
/** It was told something on its standard input. */
export const TOLD = 16
/** The shells with a command that it is below of, one in the other: a number of up to 7. */
const SHELLS_SHIFT = 5
const SHELLS_MAX = 7

/** 0 where a process is none. */
export type Key = number

export function keyOf(execId: string): Key {
  return execId === '' ? 0 : hash32(execId, processEnd(execId)) || 1
}

export function shellsOf(flags: number): number {
  return flags >>> SHELLS_SHIFT
}

export function withShells(flags: number, shells: number): number {
  return (flags & ((1 << SHELLS_SHIFT) - 1)) | (Math.min(shells, SHELLS_MAX) << SHELLS_SHIFT)
}

/** Of the places that are taken: most sessions have some, and an engine saves those of all its sessions again and again. */
export interface ProcessTableState {
  /** Absent in what an earlier version saved, which has every place. */
  readonly places?: Uint16Array
  readonly keys: Int32Array
  readonly values: Uint32Array
  readonly isEmpty: boolean
}

export class ProcessTable {
  /** Newest first in each row. */
  private readonly keys: Int32Array
  private readonly values: Uint32Array
  /** While they ran. */
  forgotten = 0
  isEmpty: boolean

  constructor(goOn: ProcessTableState | null = null) {
    this.keys = new Int32Array(PROCESSES_MAX)
    this.values = new Uint32Array(PROCESSES_MAX)
    this.isEmpty = goOn?.isEmpty ?? true
    goOn?.keys.forEach((key, index) => {
      const place = goOn.places === undefined ? index : (goOn.places[index] ?? 0)
      this.keys[place] = key
      this.values[place] = goOn.values[index] ?? 0
    })
  }

  get state(): ProcessTableState {
    const places = Uint16Array.from(takenIn(this.keys))
    const keys = Int32Array.from(places, (place) => this.keys[place] ?? 0)
    const values = Uint32Array.from(places, (place) => this.values[place] ?? 0)
    return { places, keys, values, isEmpty: this.isEmpty }
  }

  /** -1: not known. Holds until the next `put`. */
  find(key: Key): number {
    if (key === 0) return -1
    const first = rowOf(key)
    for (let at = first; at < first + PER_ROW; at += 1) if (this.keys[at] === key) return at
    return -1
  }

  key(at: number): Key {
    return this.keys[at] ?? 0
  }

  flags(at: number): number {
    return (this.values[at] ?? 0) & ((1 << FLAG_BITS) - 1)
  }

  /** 0: none. */
  call(at: number): number {
    return (this.values[at] ?? 0) >>> FLAG_BITS
  }

  set(at: number, call: number, flags: number): void {
    this.values[at] = (((call % CALLS) << FLAG_BITS) | flags) >>> 0
  }

  put(key: Key, call: number, flags: number): number {
    this.isEmpty = false
    const first = rowOf(key)
    const last = this.roomIn(first)
    this.keys.copyWithin(first + 1, first, last)
    this.values.copyWithin(first + 1, first, last)
    this.keys[first] = key
    this.set(first, call, flags)
    return first
  }

  /** The place in the row that is given up. */
  private roomIn(first: number): number {
    let oldest = -1
    for (let at = first + PER_ROW - 1; at >= first; at -= 1) {
      if (this.keys[at] === 0) return at
      const flags = this.flags(at)
      if ((flags & EXITED) !== 0) return at
      if (oldest === -1 && (flags & HARNESS) === 0) oldest = at
    }
    this.forgotten += 1
    return oldest === -1 ? first + PER_ROW - 1 : oldest
  }
}

function rowOf(key: Key): number {
  return (key & (ROWS - 1)) * PER_ROW
}

function takenIn(keys: Int32Array): number[] {
  const taken: number[] = []
  for (let at = 0; at < keys.length; at += 1) if (keys[at] !== 0) taken.push(at)
  return taken
}
