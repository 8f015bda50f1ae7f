/**
 * Whether a privileged test can run here. On a person's machine one that can't is skipped and says why; with CI=true nothing is
 * skipped, so that a lane which lost its privileges fails instead of turning green.
 */
import { existsSync, readFileSync } from 'node:fs'

export type Need = 'root' | 'bpf'

const CAP_PERFMON = 38n
const CAP_BPF = 39n
const CAP_SYS_ADMIN = 21n

/** For `describe.skipIf(p.skip)` with `p.reason` in the title. `root`: uid 0. `bpf`: root that may load BPF programs, and BTF. */
export function privileged(need: Need): { skip: boolean; reason: string } {
  const reason = missing(need)
  return { skip: reason !== '' && process.env.CI !== 'true', reason }
}

function missing(need: Need): string {
  if (process.geteuid?.() !== 0) return 'needs root'
  if (need === 'root') return ''
  const effective = effectiveCapabilities()
  const has = (capability: bigint) => (effective & (1n << capability)) !== 0n
  if (!has(CAP_SYS_ADMIN) && !(has(CAP_BPF) && has(CAP_PERFMON))) return 'needs CAP_BPF and CAP_PERFMON'
  return existsSync('/sys/kernel/btf/vmlinux') ? '' : 'needs a kernel with BTF (/sys/kernel/btf/vmlinux)'
}

function effectiveCapabilities(): bigint {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return BigInt(`0x${line?.[1] ?? '0'}`)
}
