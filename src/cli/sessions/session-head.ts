/**
 * What a list of sessions shows of one: its first event, and how far its last checkpoint says it came. Guards that a long journal is not read
 * for it: what is shown is what the files say, and nothing of it is proved.
 */
import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Event, type IEvent, toBigInt } from '../../proto/codec.js'
import type { SandboxJson } from '../../proto/event-json.js'
import { eventToJson } from '../../proto/event-json.js'
import { decodeSigned } from '../../proto/journal/checkpoint.js'
import { REVIEW_FILE } from '../../proto/journal/journal-folder.js'
import { blockContent, chainStart, recordsOf } from '../../proto/journal/journal-format.js'
import { SegmentReader, segmentsOf } from '../../proto/journal/segment-files.js'

const NS_PER_MS = 1_000_000n

export interface SessionHead {
  readonly sessionId: string
  readonly sandbox: SandboxJson | null
  readonly startUnixNs: bigint
  /** When its files were written last. */
  readonly lastUnixNs: bigint
  readonly bytes: number
  /** By its last checkpoint; 0: it has none. */
  readonly events: bigint
  readonly lost: bigint
  readonly isSealed: boolean
}

/** Throws IO. */
export function readSessionHead(folder: string, sessionId: string): SessionHead {
  const first = firstEvent(folder, sessionId)
  const said = lastCheckpoint(folder)
  const files = readdirSync(folder)
    .filter((name) => name !== REVIEW_FILE)
    .map((name) => lstatSync(join(folder, name)))
  const lastMs = Math.floor(Math.max(0, ...files.map(({ mtimeMs }) => mtimeMs)))
  return {
    ...{ sessionId, ...said, sandbox: first === null ? null : eventToJson(first).sandbox },
    startUnixNs: toBigInt(first?.timeUnixNs),
    lastUnixNs: BigInt(lastMs) * NS_PER_MS,
    bytes: files.reduce((sum, { size }) => sum + size, 0),
  }
}

function firstEvent(folder: string, sessionId: string): IEvent | null {
  const [segment] = segmentsOf(folder)
  if (segment === undefined) return null
  const reader = new SegmentReader(folder, segment)
  try {
    for (const part of reader.parts('everything')) {
      if (part.kind !== 'block' || part.head.kind !== 'records' || part.stored === null) continue
      const [record] = recordsOf(blockContent(part.head, part.stored), chainStart(sessionId))
      return record === undefined ? null : Event.decode(record.content)
    }
    return null
  } catch {
    // `verify` says what it is.
    return null
  } finally {
    reader.close()
  }
}

function lastCheckpoint(folder: string): Pick<SessionHead, 'events' | 'lost' | 'isSealed'> {
  for (const segment of segmentsOf(folder).reverse()) {
    const body = lastBody(folder, segment)
    const said = body === null ? null : saidIn(body)
    if (said !== null) return said
  }
  return { events: 0n, lost: 0n, isSealed: false }
}

function lastBody(folder: string, segment: number): Buffer | null {
  const reader = new SegmentReader(folder, segment)
  try {
    let body: Buffer | null = null
    for (const part of reader.parts('checkpoints')) {
      if (part.kind !== 'block' || part.head.kind !== 'checkpoint' || part.stored === null) continue
      body = decodeSigned(blockContent(part.head, part.stored))?.body ?? body
    }
    return body
  } catch {
    return null
  } finally {
    reader.close()
  }
}

function saidIn(body: Buffer): Pick<SessionHead, 'events' | 'lost' | 'isSealed'> | null {
  try {
    const said = JSON.parse(body.toString()) as Record<string, unknown>
    const number = (name: string) => BigInt(/^\d{1,20}$/.exec(String(said[name]))?.[0] ?? '0')
    return { events: number('lastSeq'), lost: number('lost'), isSealed: said.isSeal === true }
  } catch {
    return null
  }
}
