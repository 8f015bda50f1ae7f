/** What became of a query, for whoever makes an event of it. */
import type { Decision } from '../proto/codec.js'

export interface DnsAnswer {
  /** 16 bytes; null: it is another kind of record, which `text` names. */
  readonly address: Uint8Array | null
  readonly text: string
}

export interface DnsFact {
  /** Unix time. */
  readonly timeMs: number
  readonly sandboxId: string
  readonly name: string
  readonly type: string
  readonly rcode: string
  readonly answers: readonly DnsAnswer[]
  /** Empty: none was asked. */
  readonly resolver: string
  readonly decision: Decision
  readonly rule: string
  readonly policy: string
  readonly reason: string
}

/** Queries that a sandbox's limit refused, together. */
export interface LimitFact {
  readonly sandboxId: string
  readonly policy: string
  readonly refused: number
  /** Unix time of the first of them, and of the end. */
  readonly fromMs: number
  readonly toMs: number
}
