/**
 * `escape_attempt`: something reaches for what lies around the sandbox: a container engine's socket, cgroups, mounts, namespaces, another
 * process's memory, kernel modules, raw devices, the kernel's own switches. Told once a way and target. Not seen: setns, unshare, ptrace and
 * bpf as calls of a program of its own; only programs that are there for it, and the files that they need.
 */
import { brokerOf } from '../../base/broker-sockets.js'
import { clipped, Met } from './bounded.js'
import { programOf } from './classify.js'
import type { Fact, ProcessFact } from './fact.js'
import { type Detector, type Finding, NONE } from './finding.js'
import { isOneOf } from './programs.js'

const TOLD_MAX = 64
const TEXT_CHARS_MAX = 200
const ENGINES: ReadonlySet<string> = new Set(['a container engine', 'systemd', 'sluice'])

/** Programs that are there for it; some only with an option, and none that only tells about itself. */
const PROGRAMS: ReadonlyMap<string, { readonly what: string; readonly option?: RegExp }> = new Map([
  ['nsenter', { what: 'namespaces of others' }],
  ['unshare', { what: 'namespaces of its own' }],
  ['insmod', { what: 'a kernel module' }],
  ['modprobe', { what: 'a kernel module' }],
  ['rmmod', { what: 'a kernel module' }],
  ['kexec', { what: 'another kernel' }],
  ['pivot_root', { what: 'another root' }],
  ['bpftool', { what: 'programs in the kernel' }],
  ['bpftrace', { what: 'programs in the kernel' }],
  ['debugfs', { what: 'a raw device' }],
  ['strace', { what: 'a process that runs', option: /^-p\d*$|^--attach/ }],
  ['ltrace', { what: 'a process that runs', option: /^-p\d*$/ }],
  ['gdb', { what: 'a process that runs', option: /^-p$|^--pid/ }],
])
const TELLS = /^(?:--help|-h|--version|-V)$/

/** Where writing, or trying to, leads out. */
const WRITES: readonly [path: RegExp, what: string][] = [
  [/\/cgroup\.(?:procs|threads|subtree_control)$|\/release_agent$|\/notify_on_release$|\/devices\.allow$/, 'cgroups'],
  [
    /^\/proc\/sys\/(?:kernel\/(?:core_pattern|modprobe|hotplug|unprivileged_bpf|yama|kptr|dmesg)|fs\/binfmt_misc\/|vm\/)/,
    "the kernel's switches",
  ],
  [
    /^\/proc\/(?:sysrq-trigger|kcore|kmem)|^\/sys\/kernel\/(?:uevent_helper|debug\/|security\/)|^\/sys\/(?:fs\/bpf|module)\//,
    "the kernel's switches",
  ],
]
/** Where already reading, or trying to, does. */
const OPENS: readonly [path: RegExp, what: string][] = [
  [
    /^\/dev\/(?:(?:sd|vd|xvd|hd)[a-z]+\d*|nvme\d+(?:n\d+)?(?:p\d+)?|mmcblk\d+(?:p\d+)?|dm-\d+|md\d+|mapper\/(?!control)[^/]+|disk\/.*|mem|kmem|port)$/,
    'a raw device',
  ],
  [/^\/proc\/(?:kcore|kmem)$/, "the kernel's memory"],
]
const OTHERS_ROOT = /^\/proc\/(\d+)\/(?:task\/\d+\/)?(?:root|cwd)\/./
const OTHERS_MEMORY = /^\/proc\/(\d+)\/(?:task\/\d+\/)?mem$/
const DEBUGGERS = ['gdb', 'lldb', 'lldb-server', 'rr', 'dlv', 'strace', 'gdbserver', 'valgrind', 'perf']

export class EscapeAttemptDetector implements Detector {
  private readonly told = new Met(TOLD_MAX)
  private workdir = ''
  private count = 0

  shed(): number {
    return this.told.forgotten
  }

  fact(fact: Fact): readonly Finding[] {
    if (fact.kind === 'started') this.workdir = fact.workdir
    const found = this.wayOf(fact)
    if (found === null || !this.told.add(`${found.what} ${found.target}`)) return NONE
    this.count += 1
    const { process } = fact
    const program = process === null ? 'something' : programOf(process.exe, process.args)
    return [
      {
        ...{ detector: 'escape_attempt', severity: 'high', title: 'Reaching out of the sandbox' },
        reason: `${clipped(program, TEXT_CHARS_MAX)} reached for ${found.what}: ${clipped(found.target, TEXT_CHARS_MAX)}`,
        ...{ evidence: [fact.uid], measured: this.count, threshold: 1, baseline: null },
      },
    ]
  }

  private wayOf(fact: Fact): { what: string; target: string } | null {
    switch (fact.kind) {
      case 'attempt':
        return ofSocket(fact)
      case 'mount':
        return { what: 'mounts', target: fact.path }
      case 'cgroup':
        return fact.op === 'ESCAPE' ? { what: 'another cgroup', target: fact.path } : null
      case 'exec':
        return fact.process === null || fact.adopted ? null : ofProgram(fact.process)
      case 'read':
        return this.ofPath(fact, { write: false })
      case 'special':
        return this.ofPath(fact, { write: true })
      case 'refused':
        return this.ofPath(fact, fact)
      case 'mutation':
        return this.ofPath({ path: fact.paths.at(-1) ?? '', asked: '', process: fact.process }, { write: true })
      default:
        return null
    }
  }

  private ofPath(
    { path, asked, process }: { path: string; asked: string; process: ProcessFact | null },
    { write }: { write: boolean },
  ): { what: string; target: string } | null {
    if (!HINT.test(path) && !asked.startsWith('/proc/')) return null
    const rule =
      OPENS.find(([pattern]) => pattern.test(path)) ?? (write ? WRITES.find(([pattern]) => pattern.test(path)) : null)
    if (rule) return { what: rule[1], target: path }
    const isOther = (pid: string | undefined) => pid !== undefined && Number(pid) !== process?.pid
    if (isOther(OTHERS_ROOT.exec(asked)?.[1])) return { what: "another process's files", target: asked }
    const isMemory = isOther(OTHERS_MEMORY.exec(path)?.[1]) && !asked.startsWith('/proc/self/')
    if (!isMemory || (process !== null && isOneOf(DEBUGGERS, process, this.workdir))) return null
    return { what: "another process's memory", target: path }
  }
}

const HINT = /^\/(?:dev|proc|sys)\//

function ofSocket({ target, rule, isAbsent }: Fact & { kind: 'attempt' }): { what: string; target: string } | null {
  if (!target.startsWith('unix ') || rule !== undefined || isAbsent) return null
  const path = target.slice('unix '.length)
  const what = brokerOf(path)
  return what !== null && ENGINES.has(what) ? { what: `${what}'s socket`, target: path } : null
}

function ofProgram(process: ProcessFact): { what: string; target: string } | null {
  const { exe, args } = process
  const name = programOf(exe, args)
  const known = PROGRAMS.get(name)
  if (known === undefined || args.slice(1).every((argument) => TELLS.test(argument))) return null
  if (known.option !== undefined && !args.some((argument) => known.option?.test(argument))) return null
  return { what: known.what, target: name }
}
