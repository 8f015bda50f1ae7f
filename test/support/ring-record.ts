/**
 * Ring records as the BPF programs would write them, from named values, by the generated layout. The opposite of the addon's encoder,
 * for tests of it; it checks nothing, so that lying records can be made as well.
 */
import { ABI } from '../../src/native/generated/abi.js'

export type Kind =
  | 'exec'
  | 'fork'
  | 'exit'
  | 'file_open'
  | 'connect'
  | 'exec_failed'
  | 'file_change'
  | 'closed'
  | 'listen'
  | 'socket'
  | 'cgroup'
  | 'stdin'
  | 'quarantine'
export type Values = Readonly<Record<string, bigint | Uint8Array>>

export const KIND_NUMBERS: Readonly<Record<Kind, number>> = {
  exec: ABI.enums.SL_KIND_EXEC,
  fork: ABI.enums.SL_KIND_FORK,
  exit: ABI.enums.SL_KIND_EXIT,
  file_open: ABI.enums.SL_KIND_FILE_OPEN,
  connect: ABI.enums.SL_KIND_CONNECT,
  exec_failed: ABI.enums.SL_KIND_EXEC_FAILED,
  file_change: ABI.enums.SL_KIND_FILE_CHANGE,
  closed: ABI.enums.SL_KIND_CONNECTION_CLOSED,
  listen: ABI.enums.SL_KIND_LISTEN,
  socket: ABI.enums.SL_KIND_SOCKET,
  cgroup: ABI.enums.SL_KIND_CGROUP,
  stdin: ABI.enums.SL_KIND_STDIN,
  quarantine: ABI.enums.SL_KIND_QUARANTINE,
}

interface Layout {
  readonly size: number
  readonly fields: Readonly<Record<string, number>>
}

export interface RecordParts {
  readonly kind: Kind
  /** Fields of sl_event_hdr; `kind` and `size` are filled in unless given. */
  readonly header: Values
  /** Fields of the kind's own struct; lengths of strings included. */
  readonly own: Values
  /** `data`, in the order of the struct's comment. */
  readonly strings: readonly Uint8Array[]
}

export function layoutOf(kind: Kind): Layout {
  return ABI.structs[`sl_${kind === 'listen' || kind === 'socket' ? 'connect' : kind}`]
}

/** Bits of an integer field: no shared struct has a hole, so a field ends where the next begins. */
export function bitsOf(layout: Layout, field: string): number {
  const at = layout.fields[field]
  if (at === undefined) throw new Error(`there is no field ${field}`)
  const later = Object.values(layout.fields).filter((offset) => offset > at)
  return (Math.min(layout.size, ...later) - at) * 8
}

export function buildRecord(parts: RecordParts): Buffer {
  const layout = layoutOf(parts.kind)
  const record = Buffer.concat([Buffer.alloc(layout.size), ...parts.strings])
  const header = { kind: BigInt(KIND_NUMBERS[parts.kind]), size: BigInt(record.length), ...parts.header }
  writeValues(record, ABI.structs.sl_event_hdr, header)
  writeValues(record, layout, parts.own)
  return record
}

function writeValues(record: Buffer, layout: Layout, values: Values): void {
  for (const [field, value] of Object.entries(values)) {
    const at = layout.fields[field]
    if (at === undefined) throw new Error(`there is no field ${field}`)
    if (typeof value !== 'bigint') record.set(value, at)
    else writeInteger(record, at, value, bitsOf(layout, field))
  }
}

function writeInteger(record: Buffer, at: number, value: bigint, bits: number): void {
  for (let byte = 0; byte < bits / 8; byte += 1) record[at + byte] = Number((value >> BigInt(byte * 8)) & 0xffn)
}
