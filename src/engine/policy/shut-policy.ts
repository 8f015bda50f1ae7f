/** A policy by which nothing gets out for now, in the place of the one that a sandbox is held to: everything else that this one says stays. */
import { DnsMode, type ICompiledPolicy, Listeners, Mode, Wire } from '../../proto/codec.js'
import { policyDigest } from '../../proto/policy-digest.js'

export const SHUT_NAME = 'egress-shut'

/** @param real null: the sandbox has none. Of one that only monitors, what it would refuse is not refused now either, but for what gets out. */
export function shutPolicy(real: ICompiledPolicy | null): ICompiledPolicy {
  const stays = real?.mode === Mode.MODE_ENFORCE ? real : { respond: real?.respond ?? [], detect: real?.detect ?? [] }
  const { digest: _, ...kept }: ICompiledPolicy = stays
  const body: ICompiledPolicy = {
    ...kept,
    ...{ name: SHUT_NAME, mode: Mode.MODE_ENFORCE, wire: Wire.WIRE_OFF, dns: DnsMode.DNS_MODE_OFF },
    ...{ listeners: Listeners.LISTENERS_OWN, nets: [], hosts: [], denyHosts: [], unix: [], unjudged: [] },
    // To shut most of it is better than to shut nothing.
    ...{ allowBrokers: false, allowPrivileged: true },
    rules: [
      { path: 'default', policy: SHUT_NAME, reason: 'for now nothing gets out: a response to what was detected' },
    ],
  }
  return { ...body, digest: policyDigest(body) }
}
