/**
 * A batch as messages of NATS: one subject a session, gzip, no longer than the server takes. Guards that the same batch is always the same messages, whatever
 * became of them before: the server knows one that comes again by its id. Not here: how they travel.
 */
import { createHash } from 'node:crypto'
import type { EventKind } from '../../proto/event-json.js'
import type { SinkSchema } from '../../schema/sink-settings.js'
import { batchUid } from '../batch-uid.js'
import type { Item } from '../transport.js'

/** As all who read them must know: changing it is changing every consumer. */
export const PARTITIONS = 16
export const STREAM_SUBJECTS = ['sluice.ev.>', 'sluice.al.>'] as const
/** The usual `max_payload` of a server. More at once is no gain, and the same with every server makes the same messages. */
const MESSAGE_BYTES_MAX = 1024 * 1024
/** Headers count as payload: ours have some 250. */
const HEADER_BYTES = 1_024
/** Of gzip where nothing can be made smaller: five bytes for each 16 KiB (RFC 1951 §3.2.4), and its frame. */
const GZIP_BYTES = 1_024
const ALERTS: readonly EventKind[] = ['detection', 'response', 'quarantine']
/** Of an event of the node. */
const NO_SESSION = '-'

/** Of one session: they go one after the other. */
export interface Lane {
  readonly subject: string
  readonly messages: readonly Message[]
  readonly items: readonly Item[]
}

export interface Message {
  readonly id: string
  readonly items: readonly Item[]
}

export interface LaneOptions {
  readonly cluster: string
  readonly schema: SinkSchema
  /** Of the server, in bytes. */
  readonly maxPayload: number
}

/** In the order of the batch. */
export function lanesOf(items: readonly Item[], { cluster, schema, maxPayload }: LaneOptions): Lane[] {
  const lanes = new Map<string, Item[]>()
  for (const item of items) {
    const subject = subjectOf(item, cluster)
    const lane = lanes.get(subject)
    if (lane === undefined) lanes.set(subject, [item])
    else lane.push(item)
  }
  return [...lanes].map(([subject, own]) => ({
    subject,
    items: own,
    messages: parts(own, roomIn(maxPayload)).map((part) => message(part, schema)),
  }))
}

export function message(items: readonly Item[], schema: SinkSchema): Message {
  return { id: batchUid(items, schema), items }
}

/** What may be in a message besides its headers, in bytes. */
export function payloadRoom(maxPayload: number): number {
  return maxPayload - HEADER_BYTES
}

/** `sluice.ev.PARTITION.CLUSTER.NODE.SESSION`, or `sluice.al.` for what somebody may be woken up for. */
export function subjectOf({ event, kind }: Pick<Item, 'event' | 'kind'>, cluster: string): string {
  const { node, sessionId } = event
  const lane = ALERTS.includes(kind) ? 'al' : 'ev'
  const session = sessionId === '' ? NO_SESSION : token(sessionId)
  return ['sluice', lane, partitionOf(sessionId), cluster, token(node.name), session].join('.')
}

/** The last four bits of the first byte of the session's SHA-256: any language has that. */
export function partitionOf(sessionId: string): number {
  return (createHash('sha256').update(sessionId).digest()[0] ?? 0) % PARTITIONS
}

export function lines(items: readonly Item[]): string {
  return items.map(({ text }) => `${text}\n`).join('')
}

/** Dots would make two of it, and stars and blanks are not allowed: those are percent and hexadecimal, byte by byte. */
function token(text: string): string {
  const written = text.replace(/[^A-Za-z0-9_-]/gu, (char) =>
    [...Buffer.from(char)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  )
  return written === '' ? NO_SESSION : written
}

function roomIn(maxPayload: number): number {
  return Math.min(MESSAGE_BYTES_MAX, payloadRoom(maxPayload)) - GZIP_BYTES
}

/** From the front, each as long as it may be before it is packed; what is longer is alone, as it may be short enough once it is. */
function parts(items: readonly Item[], room: number): Item[][] {
  const found: Item[][] = []
  let part: Item[] = []
  let bytes = 0
  for (const item of items) {
    const size = Buffer.byteLength(item.text) + 1
    if (part.length > 0 && bytes + size > room) {
      found.push(part)
      part = []
      bytes = 0
    }
    part.push(item)
    bytes += size
  }
  if (part.length > 0) found.push(part)
  return found
}
