/** Journals of made-up events, written by the real writer with a clock of our own, and read by the real verifier. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLog } from '../../../../src/base/log.js'
import { derivedUuid } from '../../../../src/base/uuid.js'
import { Journal } from '../../../../src/engine/journal/journal.js'
import type { JournalKey } from '../../../../src/engine/journal/journal-keys.js'
import { NodeIndex } from '../../../../src/engine/journal/node-index.js'
import { fromBigInt, type IEvent } from '../../../../src/proto/codec.js'
import { keyIdOf, type SignedCheckpoint } from '../../../../src/proto/journal/checkpoint.js'
import { type IndexReport, readIndex } from '../../../../src/proto/journal/node-index.js'
import type { Keys } from '../../../../src/proto/journal/signed-text.js'
import { type JournalReport, verifyJournal } from '../../../../src/proto/journal/verify-journal.js'

const START_NS = 1_800_000_000_000_000_000n

export function newKey(): JournalKey & { readonly keys: Keys } {
  const { privateKey } = generateKeyPairSync('ed25519')
  const publicKey = createPublicKey(privateKey)
  const keyId = keyIdOf(publicKey)
  return { privateKey, keyId, keys: new Map([[keyId, publicKey]]) }
}

export function sessionId(name: string): string {
  return derivedUuid({ unixMs: START_NS / 1_000_000n, parts: [name] })
}

/** Event `seq` of a session; `text` makes it as long as wanted. */
export function eventOf(session: string, seq: number, text = `file ${seq}`): IEvent {
  return {
    ...{ schema: 1, source: 'test', node: { name: 'n1', bootId: 'b1' }, sandbox: { id: 'sb-1', name: 'sb' } },
    ...{ uid: derivedUuid({ unixMs: 1n, parts: [session, String(seq)] }), sessionId: session, toolCallId: '' },
    ...{ timeUnixNs: fromBigInt(START_NS + BigInt(seq)), seq: fromBigInt(BigInt(seq)) },
    fileOpen: { path: Buffer.from(`/tmp/${text}`), userPath: Buffer.from(text), resolved: true },
  }
}

export function endOf(session: string, seq: number): IEvent {
  const { fileOpen: _, ...common } = eventOf(session, seq)
  return { ...common, sandboxEnded: { summary: {} } }
}

export class JournalRig {
  readonly dir = mkdtempSync(join(tmpdir(), 'sluice-journal-'))
  readonly folder = join(this.dir, 'sessions')
  readonly key = newKey()
  readonly checkpoints: SignedCheckpoint[] = []
  nowMs = 0

  constructor() {
    mkdirSync(this.folder)
  }

  open(more: { isResumable?: boolean; segmentBytes?: number; index?: NodeIndex } = {}): Journal {
    return new Journal({
      ...{
        folder: this.folder,
        key: this.key,
        log: createLog({ role: 'test', level: 'silent' }),
        isResumable: false,
        ...more,
      },
      nowUnixNs: () => START_NS + BigInt(this.nowMs) * 1_000_000n,
      nowMs: () => this.nowMs,
      onCheckpoint: (signed) => void this.checkpoints.push(signed),
    })
  }

  newIndex(): NodeIndex {
    return new NodeIndex({
      ...{ folder: join(this.dir, 'index'), key: this.key, log: createLog({ role: 'test', level: 'silent' }) },
      nowUnixNs: () => START_NS + BigInt(this.nowMs) * 1_000_000n,
    })
  }

  index(): IndexReport {
    return readIndex(this.dir, this.key.keys)
  }

  folderOf(session: string): string {
    return join(this.folder, session)
  }

  verify(session: string, more: { keys?: Keys; witness?: readonly SignedCheckpoint[] } = {}): JournalReport {
    return verifyJournal({ folder: this.folderOf(session), sessionId: session, keys: this.key.keys, ...more })
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}
