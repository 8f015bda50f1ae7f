/**
 * The sandboxes that this engine has a session for, and who owns them. Guards the number, that a name which several bear is not taken for
 * one of them, and that a caller is told of no sandbox that isn't its to see. Not here: making and ending them.
 */
import { notOne } from '../base/name-lookup.js'
import { fromBigInt, type ISandbox, type ISandboxStatus } from '../proto/codec.js'
import type { Session } from './session.js'

export const SANDBOXES_MAX = 4_096

export interface BookedSandbox {
  readonly id: string
  readonly sandbox: ISandbox
  readonly cgroupId: bigint
  readonly session: Session
  readonly ownerUid: number
  /** The cgroup is somebody else's. */
  readonly adopted: boolean
  readonly degraded: readonly string[]
  frozen: boolean
  /** The last event, if a caller ends it before its run or its cgroup does. */
  end(killed: number): void
}

export class SandboxBook {
  private readonly byId = new Map<string, BookedSandbox>()

  /** False if there is no room. */
  add(booked: BookedSandbox): boolean {
    if (this.byId.size >= SANDBOXES_MAX) return false
    this.byId.set(booked.id, booked)
    return true
  }

  remove(booked: BookedSandbox): void {
    if (this.byId.get(booked.id) === booked) this.byId.delete(booked.id)
  }

  /** Of that id; null: there is none. */
  byIdOf(id: string): BookedSandbox | null {
    return this.byId.get(id) ?? null
  }

  /** In the order in which they came. */
  all(): BookedSandbox[] {
    return [...this.byId.values()]
  }

  /** By id or by name, of those that `sees` lets through. Throws USAGE for one that is not there, or that several bear. */
  find(wanted: string, sees: (booked: BookedSandbox) => boolean): BookedSandbox {
    const seen = this.all().filter(sees)
    const found = seen.find(({ id }) => id === wanted)
    if (found !== undefined) return found
    const named = seen.filter(({ sandbox }) => sandbox.name === wanted)
    const [only] = named
    if (only !== undefined && named.length === 1) return only
    throw notOne(wanted, {
      named: named.map(({ id }) => id),
      known: seen.flatMap(({ id, sandbox }) => [sandbox.name ?? '', id]),
    })
  }
}

export function statusOf(booked: BookedSandbox): ISandboxStatus {
  const { events, lost, processes } = booked.session.counts
  return {
    sandbox: booked.sandbox,
    sessionId: booked.session.id,
    adopted: booked.adopted,
    frozen: booked.frozen,
    startedUnixNs: fromBigInt(booked.session.startUnixNs),
    ownerUid: booked.ownerUid,
    events: fromBigInt(BigInt(events)),
    lost: fromBigInt(lost),
    processes,
    degraded: [...booked.degraded],
  }
}
