/** What is known of an identity from its earlier sessions, and what a session adds to that. Where it is kept is not said here (engine/baselines.ts). */

/** Who a session's agent is: what its launcher says, never what the sandbox says. */
export interface Identity {
  readonly agent: string
  /** Whoever may run as this user can teach it, and nobody else. */
  readonly ownerUid: number
}

export const ITEM_KINDS = ['host', 'binary', 'path'] as const
export type ItemKind = (typeof ITEM_KINDS)[number]

export interface Item {
  readonly kind: ItemKind
  readonly name: string
}

/** Counts in a window. */
export const COUNTED = ['calls', 'execs', 'connects', 'names', 'bytes'] as const
export type Counted = (typeof COUNTED)[number]

/** In one window; below that nothing is odd. */
export const LEAST: Readonly<Record<Counted, number>> = {
  ...{ calls: 10, execs: 500, connects: 50, names: 50, bytes: 64 * 1024 * 1024 },
}

export interface Usual {
  readonly mean: number
  /** Mean absolute one. */
  readonly deviation: number
  /** That it was learnt from. */
  readonly windows: number
}

export type UsualVolume = Readonly<Partial<Record<Counted, Usual>>>

export interface Learned {
  readonly items: readonly Item[]
  /** What so many sessions have not used is new. */
  readonly lookBack: number
  /** Sessions before anything is. */
  readonly settling: number
  readonly volume: UsualVolume
  /** That `volume` was counted in; 0: there is none. */
  readonly windowMs: number
}

export interface History {
  /** That were learnt from. */
  readonly sessions: number
  /** In windows of this length. */
  usual(windowMs: number): UsualVolume
  /** What was new in sessions since the last list was given out, oldest first. */
  readonly drift: readonly Item[]
  /** When that was, or the first session; null: never, and there was none. */
  readonly driftSinceMs: number | null
  /** Of these, what the identity has not used in its last so many sessions. */
  news(items: readonly Item[], sessions: number): readonly Item[]
}

/** Null: nobody said who it is, and nothing is kept of it. */
export function identityOf(agent: string | null | undefined, ownerUid: number): Identity | null {
  return agent ? { agent, ownerUid } : null
}
