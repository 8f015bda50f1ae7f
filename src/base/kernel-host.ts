/**
 * What a kernel and the process on it must have, and how to read what they do have. Guards that what can't be read is null, never a
 * guess. Judging is left to who asks: the sensor refuses and explains, `doctor` reports.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { release } from 'node:os'
import { errnoCode, SluiceError } from './error.js'

export const KERNEL_MIN = [5, 15] as const
export const NODE_MIN = [20, 19] as const
export const BTF_PATH = '/sys/kernel/btf/vmlinux'
export const ENABLE_BTF = 'use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as those of distributions are since 2021'
/** First bytes of BTF, by the byte order of the machine. */
const BTF_MAGIC = [0xeb9f, 0x9feb]

/** Numbers of capability.h. */
const CAPABILITIES = {
  CAP_KILL: 5n,
  CAP_SETGID: 6n,
  CAP_SETUID: 7n,
  CAP_NET_ADMIN: 12n,
  CAP_SYS_ADMIN: 21n,
  CAP_PERFMON: 38n,
  CAP_BPF: 39n,
} as const
export type Capability = keyof typeof CAPABILITIES

export interface KernelHost {
  readonly release: string
  readonly effectiveCapabilities: bigint | null
  /** Null: there, and looks like BTF; else what is wrong with it, to be put behind its path. */
  readonly btfProblem: string | null
  /** `none`, `integrity` or `confidentiality`; null where the kernel has none or does not say. */
  readonly lockdown: string | null
  readonly lsms: readonly string[] | null
  /** Whether a seccomp filter is on this process; null: unknown. */
  readonly filtered: boolean | null
}

export function readKernelHost(): KernelHost {
  const status = readText('/proc/self/status')
  const lsms = readText('/sys/kernel/security/lsm')
  const lockdown = readText('/sys/kernel/security/lockdown')
  const seccomp = status === null ? null : /^Seccomp:\s*(\d)$/m.exec(status)?.[1]
  return {
    release: release(),
    effectiveCapabilities: status === null ? null : parseCapabilities(status),
    btfProblem: btfProblem(),
    lockdown: lockdown === null ? null : (/\[(\w+)\]/.exec(lockdown)?.[1] ?? null),
    lsms: lsms === null ? null : lsms.trim().split(',').filter(Boolean),
    filtered: seccomp === null || seccomp === undefined ? null : seccomp !== '0',
  }
}

/** Whether `version` (`6.1.0-13-amd64`, `20.20.2`) is at least major.minor; false for what is not a version. */
export function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const match = /^(\d+)\.(\d+)/.exec(version)
  if (match === null) return false
  const [foundMajor, foundMinor] = [Number(match[1]), Number(match[2])]
  return foundMajor > major || (foundMajor === major && foundMinor >= minor)
}

/** CapEff of proc_pid_status(5). */
export function parseCapabilities(status: string): bigint | null {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1]
  return hex === undefined ? null : BigInt(`0x${hex}`)
}

export function hasCapability(effective: bigint, name: Capability): boolean {
  return (effective & (1n << CAPABILITIES[name])) !== 0n
}

/** The line for an operator where a kernel is too old; null where it is not. */
export function tooOld(kernelRelease: string): string | null {
  if (isAtLeast(kernelRelease, KERNEL_MIN)) return null
  return `Linux ${kernelRelease} is too old: ${KERNEL_MIN.join('.')} or newer is needed`
}

/**
 * The sentence of an error whose other lines are libbpf's; where the verifier refused a program, its last word, which comes before
 * the count of what it looked at.
 */
export function essenceOfRefusal(message: string): string {
  const [first = '', ...rest] = message.split('\n')
  const counted = rest.findIndex((line) => line.startsWith('processed '))
  const word = counted > 0 ? rest[counted - 1] : rest.find((line) => /^libbpf: prog '/.test(line))
  return word === undefined ? first : `${first} (${word.replace(/^libbpf: /, '')})`
}

/** @throws SluiceError UNSUPPORTED on a kernel below the floor. */
export function refuseOldKernel(kernelRelease: string = release()): void {
  const old = tooOld(kernelRelease)
  if (old !== null) throw new SluiceError('UNSUPPORTED', old, { hint: 'boot a newer kernel' })
}

function btfProblem(): string | null {
  const magic = Buffer.alloc(2)
  try {
    const fd = openSync(BTF_PATH, 'r')
    try {
      readSync(fd, magic)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    return errnoCode(error) === 'ENOENT' ? 'is missing' : `can't be read (${errnoCode(error)})`
  }
  return BTF_MAGIC.includes(magic.readUInt16LE()) ? null : 'holds no BTF'
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
