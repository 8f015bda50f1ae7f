/**
 * Sandboxes in network namespaces of their own: loopback is not the gateway's there, so the sensor listens in them and hands the
 * sockets to the gateway. Guards that a door is opened in the very namespace that the kernel side named, that there are so many for a
 * sandbox, and that an unused one is closed: an open socket keeps a namespace alive. A namespace without a door is refused its
 * names by the kernel side. Not here: the maps (redirects.ts), and what is answered.
 */
import { closeSync, openSync, readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import type { Addon, BpfObject, Doors } from '../native/addon.js'
import { redirectOf, wantedBy } from './redirect-values.js'
import type { Redirects } from './redirects.js'
import type { WalkedTask } from './task-walk.js'

/** How the gateway is reached. */
export interface GatewayMailbox {
  readonly path: string
  /** Says that it is us. */
  readonly token: string
}

const EAGAIN = constants.errno.EAGAIN
/** How often doors are looked through for those that nobody uses. */
const SWEEP_MS = 5_000
/** One that could not be opened is tried again after so long. */
const RETRY_MS = 1_000
/** Of each look at what is wanted: more wait for the next one. */
const OPENED_AT_ONCE_MAX = 8
/** After so many, or where the gateway has not read what it was handed. */
const AGAIN_MS = 10

type Opened = 'yes' | 'no' | 'later'

export interface NamespaceDoorsOptions {
  readonly addon: Addon
  readonly object: BpfObject
  readonly redirects: Redirects
  /** Tasks of a sandbox. */
  tasks(sandbox: bigint): readonly WalkedTask[]
  /** Null: no gateway takes any, and what is in another namespace is refused. */
  readonly mailbox: GatewayMailbox | null
  readonly log: Log
}

interface Served {
  readonly id: string
  /** Of the gateway: another one has none of our doors. */
  readonly gateway: string
  /** Of /proc/PID/ns/net, by cookie. */
  readonly links: Map<bigint, string>
}

export class NamespaceDoors {
  readonly #options: NamespaceDoorsOptions
  readonly #served = new Map<bigint, Served>()
  readonly #home = readlinkSync('/proc/self/ns/net')
  readonly #sweep: NodeJS.Timeout
  /** Keys of what was wanted and could not be had. */
  readonly #refused = new Set<string>()
  /** Sandboxes with a thread that asked and was gone when we came: others may be where it was. */
  readonly #missed = new Set<bigint>()
  #retry: NodeJS.Timeout | null = null
  #again: NodeJS.Timeout | null = null
  /** What the gateway is still to be told, in order: one that does not know of a closed door has no room for another. One a door at most. */
  #untold: { readonly id: string; readonly close: string }[] = []

  constructor(options: NamespaceDoorsOptions) {
    this.#options = options
    this.#sweep = setInterval(() => this.sweep(), SWEEP_MS)
    this.#sweep.unref()
  }

  stop(): void {
    clearInterval(this.#sweep)
    for (const timer of [this.#retry, this.#again]) if (timer !== null) clearTimeout(timer)
  }

  /** The sandbox is redirected from now on: to this gateway, in every namespace that its tasks are in. */
  serve(sandbox: bigint, { id, gateway }: { id: string; gateway: string }): void {
    const before = this.#served.get(sandbox)
    if (before?.id === id && before.gateway === gateway) return
    this.#served.set(sandbox, { id, gateway, links: new Map() })
    // Whoever served it has closed them, or will never be asked again.
    for (const netns of this.#options.redirects.namespacesOf(sandbox)) this.#options.redirects.close(sandbox, netns)
    this.#tell(id, 'all')
    this.#openWhereTasksAre(sandbox)
    this.look()
  }

  forget(sandbox: bigint): void {
    this.#served.delete(sandbox)
  }

  /** What the kernel side asked for since the last look. Cheap where that is nothing. */
  look(): void {
    const { object } = this.#options
    if (this.#again !== null) return
    if (!this.#sayUntold()) {
      this.#lookAgain()
      return
    }
    if (this.#served.size === 0) return
    let tried = 0
    for (const key of object.keys('sl_doors_wanted')) {
      if (this.#refused.has(key.toString('hex'))) continue
      const opened = ++tried > OPENED_AT_ONCE_MAX ? 'later' : this.#openWanted(key)
      if (opened === 'later') {
        this.#lookAgain()
        return
      }
      // It stays wanted for a while, so that nobody asks for it again at once.
      if (opened === 'no') this.#refuse(key)
      else object.delete('sl_doors_wanted', key)
    }
  }

  #lookAgain(): void {
    this.#again ??= setTimeout(() => {
      this.#again = null
      this.look()
    }, AGAIN_MS)
  }

  /** Closes what no task of the sandbox could use. */
  sweep(): void {
    for (const [sandbox, { id, links }] of this.#served) {
      if (links.size === 0) continue
      const used = this.#linksOf(sandbox)
      for (const [netns, link] of links) {
        if (used.has(link)) continue
        links.delete(netns)
        this.#options.redirects.close(sandbox, netns)
        this.#tell(id, String(netns))
      }
    }
  }

  #openWanted(key: Buffer): Opened {
    const value = this.#options.object.lookup('sl_doors_wanted', key)
    const { sandbox, netns } = redirectOf(key)
    if (value === null || !this.#served.has(sandbox)) return 'yes'
    return this.#open(sandbox, { tid: wantedBy(value), netns })
  }

  #refuse(key: Buffer): void {
    this.#refused.add(key.toString('hex'))
    this.#retry ??= setTimeout(() => {
      this.#retry = null
      for (const each of this.#refused) this.#options.object.delete('sl_doors_wanted', Buffer.from(each, 'hex'))
      this.#refused.clear()
      for (const sandbox of this.#missed) this.#openWhereTasksAre(sandbox)
      this.#missed.clear()
    }, RETRY_MS)
  }

  #openWhereTasksAre(sandbox: bigint): void {
    const open = new Set(this.#served.get(sandbox)?.links.values())
    for (const [link, tid] of this.#linksOf(sandbox)) {
      if (link !== this.#home && !open.has(link)) this.#open(sandbox, { tid, netns: null })
    }
  }

  /** By where /proc's link leads: a thread that is there. */
  #linksOf(sandbox: bigint): Map<string, number> {
    const found = new Map<string, number>()
    for (const { tid } of this.#options.tasks(sandbox)) {
      try {
        found.set(readlinkSync(namespaceOf(tid)), tid)
      } catch {
        // It is gone.
      }
    }
    return found
  }

  /** `netns` null: whichever the thread is in. */
  #open(sandbox: bigint, { tid, netns }: { tid: number; netns: bigint | null }): Opened {
    const served = this.#served.get(sandbox)
    const { redirects, log } = this.#options
    if (served === undefined) return 'no'
    if (!this.#sayUntold()) return 'later'
    let netnsFd: number | null = null
    try {
      netnsFd = openSync(namespaceOf(tid), 'r')
      const link = readlinkSync(`/proc/self/fd/${netnsFd}`)
      const doors = this.#options.addon.openDoors(netnsFd)
      try {
        // A thread's number can be another's by now.
        if (netns !== null && doors.netns !== netns) return 'no'
        if (served.links.has(doors.netns)) return 'yes'
        redirects.open(sandbox, doors.netns, { port4: doors.ip4.port, port6: doors.ip6?.port ?? 0 })
        this.#hand(sandbox, served, doors)
        served.links.set(doors.netns, link)
        return 'yes'
      } finally {
        closeAll(doors)
      }
    } catch (error) {
      if (isFull(error)) return 'later'
      if (isGone(error)) this.#missed.add(sandbox)
      else log.warn({ sandbox: served.id, why: messageOf(error) }, 'names are refused in a network namespace')
      return 'no'
    } finally {
      if (netnsFd !== null) closeSync(netnsFd)
    }
  }

  #hand(sandbox: bigint, { id }: Served, { netns, ip4, ip6 }: Doors): void {
    const { addon, mailbox, redirects } = this.#options
    const fds = [ip4.udp, ip4.tcp, ...(ip6 === null ? [] : [ip6.udp, ip6.tcp])]
    try {
      if (mailbox === null) throw new Error('no gateway takes sockets')
      addon.sendFds(mailbox.path, JSON.stringify({ token: mailbox.token, sandbox: id, open: String(netns) }), fds)
    } catch (error) {
      redirects.close(sandbox, netns)
      throw error
    }
  }

  #tell(id: string, close: string): void {
    if (this.#options.mailbox === null) return
    this.#untold.push({ id, close })
    if (!this.#sayUntold()) this.#lookAgain()
  }

  /** False: the gateway has not read what it was told before. One that is not there has closed them all. */
  #sayUntold(): boolean {
    const { addon, mailbox } = this.#options
    while (mailbox !== null && this.#untold[0] !== undefined) {
      const { id, close } = this.#untold[0]
      try {
        addon.sendFds(mailbox.path, JSON.stringify({ token: mailbox.token, sandbox: id, close }), [])
      } catch (error) {
        if (isFull(error)) return false
      }
      this.#untold.shift()
    }
    return true
  }
}

/** The gateway has not read what was sent before. */
function isFull(error: unknown): boolean {
  return error instanceof Error && 'errno' in error && error.errno === EAGAIN
}

/** The thread has ended. */
function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')
}

function namespaceOf(tid: number): string {
  return `/proc/${tid}/ns/net`
}

function closeAll({ ip4, ip6 }: Doors): void {
  for (const fd of [ip4.udp, ip4.tcp, ip6?.udp, ip6?.tcp]) if (fd !== undefined) closeSync(fd)
}
