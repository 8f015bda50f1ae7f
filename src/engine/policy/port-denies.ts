/**
 * Denies of some ports of a host. Kernel and gateway know a name by the rule that allows it, and its ports by that rule. So such a deny takes
 * its ports out of every rule that it holds whole; it guards that one which only holds a part of a rule's names is found, as it could not
 * be kept. A deny of a host as a whole is none of these: its name is not answered.
 */
import { HostIndex } from '../../proto/host-index.js'
import type { HostPattern } from '../../proto/host-pattern.js'
import { holdsHost, meetHosts } from './meet-hosts.js'
import { type AllowHost, type Deny, isRange, type Origin, type PortSpan, portsMeet, type Rules } from './rules.js'

interface PortDeny {
  readonly host: HostPattern
  readonly deny: Deny
}

export class PortDenies {
  readonly #denies: readonly PortDeny[]
  readonly #index: HostIndex<PortDeny>

  constructor(denies: readonly Deny[]) {
    this.#denies = denies.flatMap((deny) =>
      isRange(deny.target) || deny.ports.length === 0 ? [] : [{ host: deny.target, deny }],
    )
    this.#index = new HostIndex(this.#denies)
  }

  /** The rule with the ports that are left, or null if none is. */
  without(allow: AllowHost): AllowHost | null {
    const denied = this.#index.endingIn(allow.host.base).filter(({ host }) => holdsHost(host, allow.host))
    const ports = denied.reduce<readonly PortSpan[]>((left, { deny }) => subtract(left, deny.ports), allow.ports)
    return ports.length === 0 ? null : { ...allow, ports }
  }

  /** Denies that hold only some names of a rule, with ports of it. */
  conflicts({ allows }: Pick<Rules, 'allows'>): { readonly deny: Deny; readonly allow: AllowHost }[] {
    if (this.#denies.length === 0) return []
    const hosts = allows.filter((allow): allow is AllowHost => allow.kind === 'host')
    const index = new HostIndex(hosts)
    // Patterns meet only where the base of one is an end of the other's.
    const pairs = [
      ...this.#denies.flatMap((each) => index.endingIn(each.host.base).map((allow) => ({ ...each, allow }))),
      ...hosts.flatMap((allow) => this.#index.endingIn(allow.host.base).map((each) => ({ ...each, allow }))),
    ]
    const found = pairs.filter(({ host, deny, allow }) => {
      return meetHosts(host, allow.host) !== null && !holdsHost(host, allow.host) && portsMeet(deny.ports, allow.ports)
    })
    return found.filter(
      ({ deny, allow }, at) => found.findIndex((each) => each.deny === deny && each.allow === allow) === at,
    )
  }
}

export function conflictText({ deny, allow }: { readonly deny: Deny; readonly allow: AllowHost }): string {
  const label = ({ policy, path }: Origin) => (deny.origin.policy === allow.origin.policy ? path : `${policy} ${path}`)
  return (
    `${label(deny.origin)}: some ports of some names of ${label(allow.origin)} can't be denied; ` +
    'deny those names with all ports, or allow them by a rule of their own'
  )
}

/** A deny is for every protocol. */
function subtract(spans: readonly PortSpan[], denied: readonly PortSpan[]): readonly PortSpan[] {
  return denied.reduce<readonly PortSpan[]>(
    (left, { first, last }) =>
      left.flatMap((span) => {
        if (last < span.first || span.last < first) return [span]
        return [
          { ...span, last: first - 1 },
          { ...span, first: last + 1 },
        ].filter((rest) => rest.first <= rest.last && rest.first >= span.first && rest.last <= span.last)
      }),
    spans,
  )
}
