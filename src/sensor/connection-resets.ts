/**
 * Ends TCP connections that a policy denies and that were there before it: what they send is dropped already, now both ends are told. Guards
 * that a change for many sandboxes is one look at all sockets, and that a connection which could not be ended is said to be. Whether
 * one is denied is the kernel side's to say (bpf/walk.bpf.c).
 */
import { statSync } from 'node:fs'
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import type { Addon } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import type { TaskWalk } from './task-walk.js'

const OWN_NETNS = '/proc/self/ns/net'
const { size: CONNECTION_BYTES, fields: FIELDS } = ABI.structs.sl_walked_connection

/** Connections of one network namespace, as the kernel side wrote them. */
interface Group {
  readonly pids: Set<number>
  readonly connections: Buffer[]
}

export interface ConnectionResetsOptions {
  readonly addon: Addon
  readonly walk: TaskWalk
  readonly log: Log
}

export class ConnectionResets {
  readonly #options: ConnectionResetsOptions
  #waiting: NodeJS.Immediate | null = null

  constructor(options: ConnectionResetsOptions) {
    this.#options = options
  }

  /** After everything that is asked for in this turn; nobody waits for it, as nothing leaves by those connections meanwhile. */
  soon(): void {
    this.#waiting ??= setImmediate(() => {
      this.#waiting = null
      this.#resetAll()
    })
  }

  #resetAll(): void {
    const { walk, log } = this.#options
    try {
      for (const [netns, group] of byNetns(walk.deniedConnections())) this.#reset(netns, group)
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'denied connections could not be looked for: they stand still')
    }
  }

  #reset(netns: number, { pids, connections }: Group): void {
    const { addon, log } = this.#options
    const path = pathOf(netns, pids)
    const count = connections.length
    if (path === null) {
      log.warn({ count }, 'denied connections are in a network namespace that no process is in: they stand still')
      return
    }
    try {
      const { failed, errno } = addon.resetConnections(path, aligned(connections))
      if (failed > 0)
        log.warn({ count: failed, errno }, 'the kernel did not reset denied connections: they stand still')
      else log.info({ count }, 'reset connections that a policy denies')
    } catch (error) {
      log.warn({ count, error: messageOf(error) }, 'denied connections could not be reset: they stand still')
    }
  }
}

function byNetns(walked: Buffer): Map<number, Group> {
  const groups = new Map<number, Group>()
  for (let at = 0; at + CONNECTION_BYTES <= walked.length; at += CONNECTION_BYTES) {
    const netns = walked.readUInt32LE(at + FIELDS.netns)
    const group = groups.get(netns) ?? { pids: new Set(), connections: [] }
    group.pids.add(walked.readUInt32LE(at + FIELDS.pid))
    group.connections.push(walked.subarray(at, at + CONNECTION_BYTES))
    groups.set(netns, group)
  }
  return groups
}

/** The addon reads them in place. */
function aligned(connections: readonly Buffer[]): Uint8Array {
  const all = new Uint8Array(connections.length * CONNECTION_BYTES)
  for (const [index, connection] of connections.entries()) all.set(connection, index * CONNECTION_BYTES)
  return all
}

/** A socket can be in another namespace than who has it open, and a pid can be another process's by now. */
function pathOf(netns: number, pids: ReadonlySet<number>): string | null {
  const paths = [OWN_NETNS, ...[...pids].map((pid) => `/proc/${pid}/ns/net`)]
  return paths.find((path) => inodeOf(path) === netns) ?? null
}

function inodeOf(path: string): number | null {
  try {
    return statSync(path).ino
  } catch {
    return null
  }
}
