/** A spool in a folder of its own, with made-up events, and read as a sink reads it. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLog } from '../../../../src/base/log.js'
import { SqliteFile } from '../../../../src/base/sqlite-file.js'
import { derivedUuid } from '../../../../src/base/uuid.js'
import { Spool, type SpoolOptions } from '../../../../src/engine/spool/spool.js'
import { fromBigInt, type IEvent } from '../../../../src/proto/codec.js'
import type { EventJson } from '../../../../src/proto/event-json.js'
import { CURSORS_FILE, CURSORS_FORM } from '../../../../src/proto/spool/spool-form.js'
import { type Place, SpoolReader } from '../../../../src/sinks/spool-reader.js'

const MIB = 1024 * 1024
const START_NS = 1_800_000_000_000_000_000n

export function opened(session: string, seq: number, bytes = 20): IEvent {
  return {
    ...{
      schema: 1,
      source: 'test',
      node: { name: 'n1', bootId: 'b1' },
      sandbox: { id: `sb-${session}`, name: session },
    },
    ...{ uid: derivedUuid({ unixMs: 1n, parts: [session, String(seq)] }), sessionId: session, toolCallId: '' },
    ...{ timeUnixNs: fromBigInt(START_NS + BigInt(seq)), seq: fromBigInt(BigInt(seq)) },
    fileOpen: { path: Buffer.alloc(bytes, 'x'), userPath: Buffer.from(`f${seq}`), resolved: true },
  }
}

export function detected(session: string, seq: number): IEvent {
  const { fileOpen: _, ...common } = opened(session, seq)
  return { ...common, detection: { detector: 'loop', severity: 3, title: 't', reason: 'r' } }
}

export class SpoolRig {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-spool-'))
  readonly problems: string[] = []
  private readonly spools: Spool[] = []

  open(more: Partial<SpoolOptions> = {}): Spool {
    const log = createLog({ role: 'test', level: 'silent' })
    const spool = new Spool({ folder: this.folder, bytesMax: MIB, ageMaxMs: 3_600_000, log, ...more })
    this.spools.push(spool)
    return spool
  }

  /** All behind a place, and where that ends. */
  read(from: Place | null = null): { events: EventJson[]; place: Place | null } {
    const events: EventJson[] = []
    let place = from
    const reader = new SpoolReader(this.folder, (problem) => void this.problems.push(problem ?? 'well'))
    for (;;) {
      const read = reader.read(place)
      if (read === null) break
      events.push(...read.events.map(({ json }) => json))
      place = read.next
    }
    reader.close()
    return { events, place }
  }

  /** As a sink that has everything up to there. */
  acknowledge({ spoolId, position }: Place): void {
    const file = SqliteFile.open(join(this.folder, CURSORS_FILE), CURSORS_FORM, () => {})
    file.sql('INSERT OR REPLACE INTO cursor (sink, spool, position) VALUES (?, ?, ?)').run('s', spoolId, position)
    file.close()
  }

  /** The folder is there again. */
  remake(): void {
    mkdirSync(this.folder)
  }

  stop(): void {
    for (const spool of this.spools.splice(0)) spool.stop()
  }

  remove(): void {
    this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export function seqs(events: readonly EventJson[]): string[] {
  return events.map((event) => ('gap' in event ? `gap ${event.gap.count}` : event.seq))
}

/** Events that are there, and that gaps count. */
export function total(events: readonly EventJson[]): number {
  return events.reduce((sum, event) => sum + ('gap' in event ? Number(event.gap.count) : 1), 0)
}
