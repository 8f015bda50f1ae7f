/**
 * The shape of the native addon, and the one place that loads it. The addon is thin and mechanical: it checks types and bounds so
 * that no caller can crash it, and everything else (defaults, names, order, retries) is TypeScript's.
 *
 * Every failure is a thrown `NativeError`: `code` says which kind of thing failed, `errno` is the positive errno or 0, `argument`
 * the argument or object that it was about. Nothing here blocks for longer than a system call.
 */

import { createRequire } from 'node:module'
import { join } from 'node:path'
import { NATIVE_DIR } from '../base/installation.js'

export type NativeErrorCode = 'EINVAL_ARGUMENT' | 'ECLOSED' | 'ESYSCALL' | 'EBPF'

/** What the addon throws: a plain `Error` with these three added. */
export interface NativeError extends Error {
  code: NativeErrorCode
  errno: number
  argument: string
}

/** One embedded BPF object (`core`, …), opened, then loaded, then attached program by program. Closing detaches everything. */
export interface BpfObject {
  /** Names of its programs, in the order of the object. Allowed before `load`. */
  programs(): string[]
  /** Those of its programs whose hook this kernel does not have: they are left out unless `setAutoload` asks for them. */
  missing(): string[]
  /** Before `load`: whether a program is loaded at all. */
  setAutoload(program: string, autoload: boolean): void
  /** Before `load`: max_entries of a map; for a ring buffer its size in bytes, a power of two and a multiple of the page size. */
  setMapSize(map: string, maxEntries: number): void
  /** Loads into the kernel. The error's message ends with the verifier's last lines. */
  load(): void
  /** Attaches a tp_btf program to its tracepoint. */
  attach(program: string): void
  /** Attaches a cgroup program with a link, to the cgroup directory at `path`. */
  attachCgroup(program: string, path: string): void
  /** Detaches one program from everything it was attached to by this object. */
  detach(program: string): void
  /** Whole value of `key`, or null if there is none. A per-CPU map gives the values of all possible CPUs end to end. */
  lookup(map: string, key: Uint8Array): Buffer | null
  update(map: string, key: Uint8Array, value: Uint8Array): void
  /** True if there was an entry. */
  delete(map: string, key: Uint8Array): boolean
  /** All of `keys`, end to end; one that has no entry is passed over. A map of maps makes the kernel wait once for all of them. */
  deleteMany(map: string, keys: Uint8Array): void
  /** Task storage of the thread group leader `pid`, by pidfd. ESRCH if there is no such process. */
  lookupTask(map: string, pid: number): Buffer | null
  updateTask(map: string, pid: number, value: Uint8Array): void
  /** Keys of a map, as many as it has entries; one that comes or goes meanwhile may be missing or be there. */
  keys(map: string): Buffer[]
  /**
   * Makes maps for the map of maps `map`: for each the key that it is put in at, and the keys and values of its entries end to end; at most
   * 1,024. The kernel waits for programs that run once for all of them (since 6.8). Where it fails none of them is in.
   */
  putInner(map: string, ...tables: Uint8Array[]): void
  /**
   * Changes the map that is at `key` of the map of maps `map`: takes out the keys `gone` and puts in the others, all end to end. Not at once: it
   * is for a map that nobody looks at. Where it fails some of it may be done. Takes CAP_SYS_ADMIN.
   */
  changeInner(map: string, key: Uint8Array, gone: Uint8Array, keys: Uint8Array, values: Uint8Array): void
  /** Names of its maps, constants left out. Allowed before `load`. */
  maps(): string[]
  /** Before `load`: value of a `const volatile __u32`. */
  setConstant(name: string, value: number): void
  /** Before `load`: takes the maps of the same names from an object that is loaded. */
  shareMaps(from: BpfObject): void
  /** Before `load`: takes the map that is pinned at `path`. False if none is; EBPF, EINVAL if it is not of this map's shape. */
  adoptMap(map: string, path: string): boolean
  /** It lives on at `path`, in a BPF file system, after this object is closed; names there have no dots. */
  pinMap(map: string, path: string): void
  /** The same for what a program is attached by, which must be one link: it stays attached. */
  pinLink(program: string, path: string): void
  /** The cgroup link pinned at `path` runs this program from now on, without a gap. False if there is no such pin. */
  replaceLink(program: string, path: string): boolean
  /** Times the kernel skipped the program of the tracing link pinned at `path` because it was running already on that CPU. */
  pinnedMisses(path: string): number
  /** Runs an iterator program over everything it iterates over. All that it wrote. */
  iterate(program: string): Buffer
  /** The kernel's id of a map, for a second process to open it by (bench, debugging). */
  mapId(map: string): number
  /** max_entries of a map as it is, which of an adopted ring need not be what was set; for a ring buffer its size in bytes. */
  mapSize(map: string): number
  programInfo(program: string): ProgramInfo
  close(): void
}

export interface ProgramInfo {
  /** The kernel's id of the program. */
  id: number
  /** Times the kernel skipped it because it was already running on that CPU. */
  recursionMisses: number
  /** Instructions the verifier went through; 0 where the kernel does not say (before 5.16). */
  verifiedInstructions: number
}

/** What one call of `drain` wrote. */
export interface Drained {
  /** Bytes written at the start of the buffer: whole `events` fields of an EventBatch (proto/sluice/v1/sensor.proto). */
  bytes: number
  /** Events among them. */
  events: number
  /** Records that the encoder did not understand and left out (counted, never silent). */
  malformed: number
  /** The ring still held a record when the buffer or `maxEvents` was full, or one that a CPU is still writing. */
  more: boolean
  /** CLOCK_BOOTTIME in ns of the newest event written, 0n if none. */
  lastTimeNs: bigint
}

/** The consumer of one ring buffer; one per ring. */
export interface RingReader {
  /** Encodes waiting records into `buffer` (at least MAX_ENCODED_EVENT bytes long) until it, `maxEvents` or the ring ends. */
  drain(buffer: Uint8Array, maxEvents: number): Drained
  /**
   * By kind, those that are not understood as kind 0: what is told of by the records that `drain` of this reader has taken out of the
   * ring. One can tell of more than one call.
   */
  taken(): number[]
  /** By kind, as `taken`: what waits in the ring, and stays there; only before the first `drain`. Null while a record is being written. */
  waiting(): number[] | null
  /** Calls `ready` once, on the main loop, when the ring has something to read; at once if it has already. One-shot. */
  arm(ready: () => void): void
  disarm(): void
  close(): void
}

/** A cgroup v2 directory held by a file descriptor, so that a renamed path can't redirect an operation. */
export interface Cgroup {
  /** What the kernel's BPF helpers report for it. */
  readonly id: bigint
  /** Moves a whole process in. */
  addProcess(pid: number): void
  /** Pids of the processes directly in it. */
  processes(): number[]
  /** Whether a process runs in it or below it. */
  populated(): boolean
  /** Asks for it; `frozen` tells when it is so. */
  freeze(frozen: boolean): void
  /** Whether everything in it and below it stands still. */
  frozen(): boolean
  /** SIGKILL to everything in it and below it, by cgroup.kill where the kernel has it (5.14+), else process by process. */
  kill(): void
  close(): void
}

/** Who is at the other end of a unix socket, as the kernel recorded it at connect. */
export interface Peer {
  pid: number
  uid: number
  gid: number
  /** Supplementary. */
  groups: number[]
  /** Whether that process still lives; null where the kernel can't tell (before 6.5). Asked anew with every call. */
  alive: boolean | null
}

/** Sockets of one network namespace's loopback, at one port: descriptors that the caller closes. */
export interface Door {
  port: number
  udp: number
  /** Listens. */
  tcp: number
}

export interface Doors {
  /** The kernel's cookie of the namespace that they are in. */
  netns: bigint
  ip4: Door
  /** Null: the namespace has no IPv6. */
  ip6: Door | null
}

/** Where descriptors from another process of ours arrive. */
export interface Mailbox {
  /** Calls `ready` once, on the main loop, when something is there. One-shot. */
  arm(ready: () => void): void
  /** The next text with its descriptors, which are the caller's to close; null: there is nothing now. */
  receive(): { text: string; fds: number[] } | null
  close(): void
}

export interface Addon {
  /** SL_ABI_VERSION that the addon was compiled with. */
  readonly abiVersion: number
  /** Upper bound of one encoded event, in bytes. */
  readonly maxEncodedEvent: number
  /** Sizes and offsets of every shared struct as the C++ compiler sees them: {struct: {'': size, field: offset}}. */
  abiLayout(): Record<string, Record<string, number>>
  /** The same read from the BTF of an embedded object: what clang's BPF target made of the headers. */
  btfLayout(object: string): Record<string, Record<string, number>>
  /** Names of the embedded objects. */
  objects(): string[]
  openObject(name: string): BpfObject
  openRing(object: BpfObject, map: string): RingReader
  /** Makes the directory (mode 0755) unless it is there, opens it, refuses what is not cgroup v2. */
  openCgroup(path: string, options: { create: boolean }): Cgroup
  /**
   * From a child process inside `cgroup`, sends an empty datagram to loopback port 9 by an unbound UDP socket of `family` (2 or 10); if it
   * `hears`, one to a socket of its own, where it has to arrive (EPERM otherwise); and then connects it. Returns the positive errno of what
   * failed, EPERM before any other, 0 if both were let through. Proves what a cgroup program does to a foreign task.
   * Waits for the child, at most a second (ETIMEDOUT): it can't answer from a frozen cgroup.
   */
  probeReach(cgroup: Cgroup, family: number, hears?: boolean): number
  /** One ring record as `drain` would encode it; null if it is malformed. For tests and tools. */
  encodeRecord(record: Uint8Array): Buffer | null
  /**
   * Ends TCP connections of the network namespace at `netns` (/proc/PID/ns/net), given as sl_walked_connection end to end: both ends get a
   * reset. Those that are gone by then are passed over. Returns how many could not be ended, with the errno of the last. ESYSCALL where
   * the namespace can't be entered or the kernel has no sock_diag.
   */
  resetConnections(netns: string, connections: Uint8Array): { failed: number; errno: number }
  peer(fd: number): Peer
  /** One datagram to the unix socket at `path`; `@name` is an abstract one. Does not wait: EAGAIN if the receiver's queue is full. */
  sendDatagram(path: string, text: string): void
  /** The kernel's cookie of the network namespace that this process is in (5.14+). */
  netnsCookie(): bigint
  /**
   * Listens on loopback in the network namespace that the descriptor leads to, by a thread that goes there and ends. Works while loopback is
   * not up yet.
   */
  openDoors(netns: number): Doors
  /** One message to the mailbox at `path`, with at most 8 descriptors. Does not wait: EAGAIN if it is full. */
  sendFds(path: string, text: string, fds: readonly number[]): void
  /** Makes a mailbox at `path`, for the owner alone, in place of what is there. */
  openMailbox(path: string): Mailbox
  /** Takes an exclusive flock on a file it creates (0600). Null if another process holds it. The lock ends with the process. */
  lockFile(path: string): { release(): void } | null
  /** The same for a folder that is there, in whatever file system. */
  lockFolder(path: string): { release(): void } | null
  /** Whether `path` is in a BPF file system. */
  isBpfFs(path: string): boolean
  /** Mounts one at `path`, for root alone. */
  mountBpfFs(path: string): void
  /** Returns when every tracepoint program that ran at the call has ended (some ms). ESYSCALL where the kernel can't say. */
  waitForPrograms(): void
  /** PR_SET_DUMPABLE 0: no core, no ptrace by the same uid, /proc entries owned by root. */
  setNonDumpable(): void
  /** CLOCK_BOOTTIME now. */
  bootTimeNs(): bigint
  /** Unix time minus CLOCK_BOOTTIME, read so that the error is below a microsecond or two. */
  bootToUnixNs(): bigint
}

/** Loads the built addon. Throws with the command that builds it if it is not there. */
export function loadAddon(): Addon {
  const path = join(NATIVE_DIR, 'sluice.node')
  try {
    return createRequire(import.meta.url)(path) as Addon
  } catch (error) {
    throw new Error(`the native addon at ${path} does not load; run \`npm run build\``, { cause: error })
  }
}
