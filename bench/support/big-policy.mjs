/** Policies of a size, as files and as what the kernel takes. Addresses are documentation's and private ones: nothing is sent to them. */
import { compilePolicies, loadPolicy } from '../../build/js/engine/policy/load-policy.js'
import { policyBytes } from '../../build/js/proto/policy-bytes.js'

const US_PER_MS = 1_000

/** As somebody would write them: a rule a line. @param size.changed so many ranges in the middle have another port */
export function policyText({ names, ranges, port = 443, name = 'big', udp = false, changed = 0 }) {
  const isChanged = (index) => index >= ranges / 2 && index < ranges / 2 + changed
  const hosts = Array.from({ length: names }, (_, index) => `  - host: h${index}.zone${index % 97}.example.com`)
  const cidrs = Array.from(
    { length: ranges },
    (_, index) =>
      `  - cidr: ${range(index)}\n    ports: [${isChanged(index) ? 8443 : port}]${udp ? '\n    protocol: udp' : ''}`,
  )
  return `version: 1\nname: ${name}\nmode: enforce\negress:\n${[...hosts, ...cidrs].join('\n')}\n`
}

/** Apart from each other, of 256 addresses each. */
function range(index) {
  return `10.${index >> 8}.${index & 0xff}.0/24`
}

/** Compiled as `sluice policy` and a run do it. @returns {{ policy: object, ms: number, cpuMs: number, bytes: number }} */
export function compiled(text) {
  const start = performance.now()
  const cpu = process.cpuUsage()
  const loaded = loadPolicy({ name: 'bench.yaml', text }, () => ({}))
  const { policy } = compilePolicies([loaded])
  const ms = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  return { policy, ms, cpuMs: (user + system) / US_PER_MS, bytes: policyBytes(policy).length }
}
