/**
 * Why the kernel won't have our programs, in one line with the next step: what can be known before trying, and what a refusal means.
 * Guards that an operator never has to read libbpf's messages to learn which setting it is. Changes nothing.
 */
import { messageOf, SluiceError } from '../base/error.js'
import {
  BTF_PATH,
  type Capability,
  ENABLE_BTF,
  essenceOfRefusal,
  hasCapability,
  type KernelHost,
  refuseOldKernel,
} from '../base/kernel-host.js'

const EPERM = 1
const ASK_DOCTOR = 'run `sluice doctor` to see what this kernel can do'
const REFUSED = 'the kernel refused our programs'

/** @throws SluiceError UNSUPPORTED where it can't work at all. */
export function refuseUnfitKernel(host: KernelHost): void {
  refuseOldKernel(host.release)
  if (host.btfProblem !== null) {
    throw new SluiceError('UNSUPPORTED', `${BTF_PATH} ${host.btfProblem}, so programs can't be fitted to this kernel`, {
      hint: `${ENABLE_BTF}; in a container, give it the host's /sys`,
    })
  }
}

/** What to tell of an error of loading, attaching or proving. */
export function explainRefusal(error: unknown, host: KernelHost): SluiceError {
  if (error instanceof SluiceError) return error
  const cause = { cause: error }
  if (host.lockdown === 'confidentiality') {
    return new SluiceError('UNSUPPORTED', `${REFUSED}: lockdown=confidentiality forbids them to read kernel memory`, {
      hint: 'boot without lockdown=confidentiality (integrity is fine)',
      ...cause,
    })
  }
  if (!(error instanceof Error && 'errno' in error && error.errno === EPERM)) {
    return new SluiceError('KERNEL', `${REFUSED}: ${essenceOfRefusal(messageOf(error))}`, {
      hint: ASK_DOCTOR,
      ...cause,
    })
  }
  const missing = missingForBpf(host.effectiveCapabilities)
  if (missing.length > 0) {
    const names = missing.join(' and ')
    return new SluiceError('PRIVILEGE', `${REFUSED}: this root lacks ${names}`, {
      hint: `grant ${names} (in a container: --privileged, or --cap-add for each)`,
      ...cause,
    })
  }
  if (host.filtered === true) {
    return new SluiceError('PRIVILEGE', `${REFUSED}: a seccomp filter on this process forbids bpf(2), it seems`, {
      hint: 'start it without that filter (in a container: --security-opt seccomp=unconfined)',
      ...cause,
    })
  }
  return new SluiceError(
    'PRIVILEGE',
    `${REFUSED}: ${essenceOfRefusal(messageOf(error))}, though we have the capabilities`,
    {
      hint: `look for what a security module (${host.lsms?.join(', ') ?? 'unknown'}) says in \`dmesg\``,
      ...cause,
    },
  )
}

/** SYS_ADMIN stands for the other two. */
function missingForBpf(effective: bigint | null): Capability[] {
  if (effective === null || hasCapability(effective, 'CAP_SYS_ADMIN')) return []
  return (['CAP_BPF', 'CAP_PERFMON'] as const).filter((name) => !hasCapability(effective, name))
}
