/**
 * The sandboxes whose names this gateway answers: each with its policy, its ports and its own resolver. It guards their number, that a
 * sandbox keeps its ports when its policy changes, that one policy of many sandboxes is held once, and that what the engine took back is
 * closed, in every network namespace. Not here: talking to the engine, and how sockets of other namespaces come here (socket-desk.ts).
 */
import { SluiceError } from '../base/error.js'
import type { ICompiledPolicy } from '../proto/codec.js'
import { KnownPolicies } from '../proto/known-policies.js'
import { PolicyParts } from '../proto/policy-parts.js'
import { type DnsPorts, DnsServer, type DoorFds } from './dns-server.js'
import { HostTable } from './host-table.js'
import { kernelDrops } from './kernel-drops.js'
import { type JudgedBy, SandboxDns, type SandboxDnsParts } from './sandbox-dns.js'

/** Four sockets each. */
export const SANDBOXES_MAX = 4_096
/** Network namespaces of one sandbox, besides our own. */
export const NAMESPACES_MAX = 16

const UNSEEN = 'more names were asked for at once than the kernel had room for at the gateway'

interface Served {
  readonly dns: SandboxDns
  readonly opening: Promise<DnsServer>
  /** By network namespace. */
  readonly elsewhere: Map<string, DnsServer>
}

/** A policy, and the name under which other sandboxes can have it too. Without one: by name. */
export interface NamedPolicy {
  readonly policy: ICompiledPolicy | null
  /** Empty: none. */
  readonly name: string
}

export class Sandboxes {
  /** Big policies, on their way here. */
  readonly policyParts = new PolicyParts()
  readonly #known = new KnownPolicies<string, JudgedBy>()
  readonly #parts: Omit<SandboxDnsParts, 'sandboxId'>
  readonly #served = new Map<string, Served>()

  constructor(parts: Omit<SandboxDnsParts, 'sandboxId'>) {
    this.#parts = parts
  }

  get ids(): string[] {
    return [...this.#served.keys()]
  }

  serves(sandboxId: string): boolean {
    return this.#served.has(sandboxId)
  }

  /** Null: no policy of that name is here. Throws USAGE where what came by it is another one. */
  find({ policy, name }: NamedPolicy): JudgedBy | null {
    const known = name === '' ? null : this.#known.find(name)
    if (known !== null) return known
    const found = policy ?? this.policyParts.take(name)
    return found === null ? null : { policy: found, hosts: new HostTable(found) }
  }

  /** Resolves when names are answered by this policy. Throws LIMIT and IO. */
  async serve(sandboxId: string, judgedBy: JudgedBy, name = ''): Promise<DnsPorts> {
    const served = this.#served.get(sandboxId) ?? this.#open(sandboxId)
    this.#known.set(sandboxId, name, judgedBy)
    served.dns.setPolicy(judgedBy)
    const { ports } = await served.opening
    return ports
  }

  /** Resolves when its ports are closed, and all that was asked there is told or lost. */
  async drop(sandboxId: string): Promise<void> {
    const served = this.#served.get(sandboxId)
    if (served === undefined) return
    this.#served.delete(sandboxId)
    this.#known.forget(sandboxId)
    await served.dns.quiet()
    served.dns.close()
    const server = await served.opening.catch(() => null)
    const unseen = server === null ? 0 : kernelDrops(server.ports)
    if (unseen > 0) this.#parts.lose(sandboxId, unseen, UNSEEN)
    server?.close()
    for (const other of served.elsewhere.values()) other.close()
  }

  /** Names are answered by these sockets, too, which are in another network namespace. Throws USAGE and LIMIT: then they are the caller's. */
  async adopt(sandboxId: string, netns: string, fds: { ip4: DoorFds; ip6: DoorFds | null }): Promise<void> {
    const served = this.#served.get(sandboxId)
    if (served === undefined) throw new SluiceError('USAGE', 'the names of this sandbox are not answered here')
    if (served.elsewhere.size >= NAMESPACES_MAX) throw new SluiceError('LIMIT', `it has ${NAMESPACES_MAX} namespaces`)
    const server = await DnsServer.adopt(served.dns, fds)
    this.leave(sandboxId, netns)
    if (this.#served.get(sandboxId) === served) served.elsewhere.set(netns, server)
    else server.close()
  }

  /** Besides our own. */
  namespacesOf(sandboxId: string): string[] {
    return [...(this.#served.get(sandboxId)?.elsewhere.keys() ?? [])]
  }

  /** Not in this namespace any more; null: in none but our own. */
  leave(sandboxId: string, netns: string | null): void {
    const { elsewhere } = this.#served.get(sandboxId) ?? {}
    for (const [each, server] of elsewhere ?? []) {
      if (netns !== null && each !== netns) continue
      elsewhere?.delete(each)
      server.close()
    }
  }

  /** All that are not in `kept`. */
  async dropAllBut(kept: ReadonlySet<string>): Promise<void> {
    await Promise.all(this.ids.filter((id) => !kept.has(id)).map((id) => this.drop(id)))
  }

  /** What became of the leases is not known: every name is asked and leased anew. */
  forget(): void {
    for (const { dns } of this.#served.values()) dns.forget()
  }

  #open(sandboxId: string): Served {
    if (this.#served.size >= SANDBOXES_MAX)
      throw new SluiceError('LIMIT', `the gateway serves ${SANDBOXES_MAX} sandboxes`)
    const dns = new SandboxDns({ ...this.#parts, sandboxId })
    const served = { dns, opening: DnsServer.open(dns), elsewhere: new Map() }
    this.#served.set(sandboxId, served)
    served.opening.catch(() => {
      if (this.#served.get(sandboxId) === served) this.#served.delete(sandboxId)
    })
    return served
  }
}
