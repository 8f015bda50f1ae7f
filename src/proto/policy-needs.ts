/** What a compiled policy takes to hold, beside the kernel. */
import { DnsMode, type ICompiledPolicy, Mode, Wire } from './codec.js'
import { netsForPrograms } from './policy-bytes.js'

/** Whether names have to be answered by the gateway: only what it answers is leased, and without a rule for names
 * nothing would be. Where it only observes, everything is answered. */
export function needsGateway({ mode, wire, dns, hosts }: ICompiledPolicy): boolean {
  if (dns !== DnsMode.DNS_MODE_RESTRICT && dns !== DnsMode.DNS_MODE_OBSERVE) return false
  return wire === Wire.WIRE_OBSERVE || (mode === Mode.MODE_ENFORCE && (hosts?.length ?? 0) > 0)
}

/** Whether some of its rules are for certain programs only. */
export function namesPrograms(policy: ICompiledPolicy): boolean {
  const names = ({ binaries }: { binaries?: readonly unknown[] | null }) => (binaries?.length ?? 0) > 0
  return (policy.hosts ?? []).some(names) || netsForPrograms(policy).some(({ ports }) => (ports ?? []).some(names))
}
