/**
 * Where sandboxes' queries for names go (bpf/redirect_abi.h): written for the kernel side, and taken back with the sandbox. It guards the
 * order: a port is closed to all sandboxes before anything is sent there, and no sandbox is left that is sent to a port which is nobody's.
 * Not here: the gateway, and how it comes to listen in other network namespaces (namespace-doors.ts).
 */
import { SluiceError } from '../base/error.js'
import type { BpfObject } from '../native/addon.js'
import { sandboxKey } from './map-values.js'
import {
  decodeRedirect,
  encodeGateway,
  encodeRedirect,
  GATEWAY_KEY,
  portKey,
  type RedirectPorts,
  redirectKey,
  redirectOf,
} from './redirect-values.js'

export interface RedirectRule extends RedirectPorts {
  /** Where the gateway is not there it is asked who was to be asked. */
  readonly observes: boolean
}

/** Of one sandbox, besides the gateway's own. */
export const NAMESPACES_MAX = 16
const PORT_MAX = 65_535
/** In a key: the sandbox as such. */
const NO_NETNS = 0n

type PortsByNetns = Map<bigint, RedirectPorts>

export class Redirects {
  readonly #object: BpfObject
  readonly #bootTimeNs: () => bigint
  /** Cookie of the network namespace that the gateway is in. */
  readonly #home: bigint
  /** By sandbox; those of an earlier sensor too. */
  readonly #ports = new Map<bigint, PortsByNetns>()
  #aliveNs: bigint

  constructor(options: { object: BpfObject; bootTimeNs(): bigint; netns: bigint }) {
    this.#object = options.object
    this.#bootTimeNs = options.bootTimeNs
    this.#home = options.netns
    for (const key of this.#object.keys('sl_redirects')) {
      const value = this.#object.lookup('sl_redirects', key)
      const { sandbox, netns } = redirectOf(key)
      if (value !== null) this.#portsOf(sandbox).set(netns, decodeRedirect(value))
    }
    const gateway = this.#object.lookup('sl_gateway', GATEWAY_KEY)
    this.#aliveNs = gateway?.readBigUInt64LE() ?? 0n
  }

  /** Throws USAGE for ports that are none. Both 0: nothing is redirected any more. */
  set(sandbox: bigint, { port4, port6, observes }: RedirectRule): void {
    if ([port4, port6].some((port) => port > PORT_MAX)) throw new SluiceError('USAGE', 'that is no port')
    if (port4 === 0 && port6 === 0) {
      this.remove(sandbox)
      return
    }
    this.#put(sandbox, this.#home, { port4, port6 })
    const rule = { port4: 0, port6: 0 }
    this.#object.update('sl_redirects', redirectKey(sandbox, NO_NETNS), encodeRedirect(rule, { observes }))
    this.#portsOf(sandbox).set(NO_NETNS, rule)
    this.#writeGateway()
  }

  /** The gateway listens for a redirected sandbox in another network namespace, too. Throws LIMIT and USAGE. */
  open(sandbox: bigint, netns: bigint, ports: RedirectPorts): void {
    if (!this.#ports.get(sandbox)?.has(NO_NETNS)) throw new SluiceError('USAGE', 'its names do not go to the gateway')
    if (this.namespacesOf(sandbox).length >= NAMESPACES_MAX) {
      throw new SluiceError('LIMIT', `names are answered in ${NAMESPACES_MAX} network namespaces of a sandbox`)
    }
    this.#put(sandbox, netns, ports)
  }

  /** No more. Of a namespace that it has not, nothing happens. */
  close(sandbox: bigint, netns: bigint): void {
    const ports = this.#ports.get(sandbox)?.get(netns)
    if (ports === undefined) return
    this.#ports.get(sandbox)?.delete(netns)
    this.#object.delete('sl_redirects', redirectKey(sandbox, netns))
    this.#free({ sandbox, netns }, doorsOf(ports))
  }

  isRedirected(sandbox: bigint): boolean {
    return this.#ports.get(sandbox)?.has(NO_NETNS) ?? false
  }

  /** Other than the gateway's own. */
  namespacesOf(sandbox: bigint): bigint[] {
    const all = this.#ports.get(sandbox)?.keys() ?? []
    return [...all].filter((netns) => netns !== NO_NETNS && netns !== this.#home)
  }

  /** Of all sandboxes together, other than the gateway's own. */
  get sandboxes(): bigint[] {
    return [...this.#ports.keys()]
  }

  /** Of a sandbox that has none, nothing happens. */
  remove(sandbox: bigint): void {
    const all = this.#ports.get(sandbox)
    if (all === undefined) return
    // Without this one the others are not looked at.
    for (const netns of [NO_NETNS, ...all.keys()]) this.close(sandbox, netns)
    this.#ports.delete(sandbox)
    this.#writeGateway()
  }

  /** The sandboxes that an earlier sensor left and that are gone. */
  forgetAllBut(held: ReadonlySet<bigint>): void {
    for (const sandbox of [...this.#ports.keys()]) if (!held.has(sandbox)) this.remove(sandbox)
  }

  /** The gateway answers. */
  alive(): void {
    this.#aliveNs = this.#bootTimeNs()
    this.#writeGateway()
  }

  #put(sandbox: bigint, netns: bigint, ports: RedirectPorts): void {
    const before = this.#portsOf(sandbox).get(netns)
    for (const port of doorsOf(ports))
      this.#object.update('sl_gateway_ports', portKey(netns, port), sandboxKey(sandbox))
    this.#object.update('sl_redirects', redirectKey(sandbox, netns), encodeRedirect(ports))
    this.#portsOf(sandbox).set(netns, ports)
    if (before === undefined) return
    const kept = doorsOf(ports)
    this.#free(
      { sandbox, netns },
      doorsOf(before).filter((port) => !kept.includes(port)),
    )
  }

  #portsOf(sandbox: bigint): PortsByNetns {
    const ports = this.#ports.get(sandbox) ?? new Map()
    this.#ports.set(sandbox, ports)
    return ports
  }

  /** Another sandbox may have been given the port meanwhile. */
  #free({ sandbox, netns }: { sandbox: bigint; netns: bigint }, ports: readonly number[]): void {
    for (const port of ports) {
      const key = portKey(netns, port)
      const owner = this.#object.lookup('sl_gateway_ports', key)
      if (owner?.readBigUInt64LE() === sandbox) this.#object.delete('sl_gateway_ports', key)
    }
  }

  #writeGateway(): void {
    const value = encodeGateway({ aliveNs: this.#aliveNs, redirecting: this.#ports.size > 0 })
    this.#object.update('sl_gateway', GATEWAY_KEY, value)
  }
}

function doorsOf({ port4, port6 }: RedirectPorts): number[] {
  return [...new Set([port4, port6])].filter((port) => port !== 0)
}
