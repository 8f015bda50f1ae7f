/**
 * Who is who in the watched sandboxes: which exec of which process did something, who forked it, and what it was started with. Fed
 * by fork, exec and exit facts in time order. Bounded in processes and in bytes: those that have exited go first, then the ones
 * not heard of for longest; a process that is not there (any more) still gets its exact execId, only without exe and args.
 * Not here: redaction (args arrive redacted) and anything about other processes of the host.
 */
import { createHash } from 'node:crypto'

/** Processes of one sensor that are remembered, exited ones included. */
export const PROCESSES_MAX = 65_536
/** Exited processes that are kept for facts that come late. */
export const EXITED_MAX = 4_096
/** Bytes of exe, cwd and args of all remembered programs together. */
export const IMAGE_BYTES_MAX = 64 * 1024 * 1024

/** What one exec put into a process. Shared by the children it forks; frozen. */
export interface Image {
  readonly exe: Uint8Array
  readonly cwd: Uint8Array
  readonly args: readonly Uint8Array[]
  readonly argsBytes: number
  readonly argsTruncated: boolean
}

/** The header fields by which every fact names its process. */
export interface ProcessRef {
  readonly pid: number
  /** CLOCK_BOOTTIME */
  readonly startTimeNs: bigint
  readonly execCount: number
  readonly sandbox: bigint
}

export interface ProcessView {
  readonly execId: string
  /** Empty: its fork was never seen. */
  readonly parentExecId: string
  /** The exec that the parent came of by forks alone; empty: the parent exec'd itself, or nobody knows. */
  readonly spawnerExecId: string
  /** Null: its exec was never seen. */
  readonly image: Image | null
}

interface Held {
  readonly image: Image
  readonly bytes: number
  users: number
}

/** What is said of a process that was not seen to begin, or to exec. */
interface Said {
  readonly ref: ProcessRef
  readonly image: Image
  readonly parent: { pid: number; startTimeNs: bigint } | null
}

interface Entry {
  readonly key: string
  readonly sandbox: bigint
  readonly parentExecId: string
  readonly spawnerExecId: string
  execCount: number
  /** Of `execCount`: made once, asked for with every event. */
  execId: string
  current: Held | null
  /** Of the exec before the current one, for facts that come late. */
  previous: Held | null
}

export class ProcessTree {
  /** 8 hex digits that tell boots apart. */
  readonly bootTag: string
  private readonly processesMax: number
  private readonly exitedMax: number
  private readonly imageBytesMax: number
  /** Least recently heard of first. */
  private readonly live = new Map<string, Entry>()
  private readonly exited = new Map<string, Entry>()
  /** That are said to run and did nothing yet that was told. Looked at where nothing better is known. */
  private readonly said = new Map<string, Said>()
  private saidBytes = 0
  private imageBytes = 0
  /** Grows with everything that may change what `look` says of a process. */
  version = 0
  /** Processes that were forgotten while they lived, because a bound was hit. */
  evictedLive = 0
  /** Exited processes that were forgotten. */
  evictedExited = 0

  constructor(bootId: string, limits: { processesMax?: number; exitedMax?: number; imageBytesMax?: number } = {}) {
    this.bootTag = createHash('sha256').update(bootId).digest('hex').slice(0, 8)
    this.processesMax = limits.processesMax ?? PROCESSES_MAX
    this.exitedMax = limits.exitedMax ?? EXITED_MAX
    this.imageBytesMax = limits.imageBytesMax ?? IMAGE_BYTES_MAX
  }

  get size(): number {
    return this.live.size + this.exited.size
  }

  /** `<8 hex of the boot>-<pid>-<start time, base 36>-<exec count>` */
  execId(ref: ProcessRef): string {
    return `${this.bootTag}-${ref.pid}-${ref.startTimeNs.toString(36)}-${ref.execCount}`
  }

  /** `parent` forked: the child has its image until it execs. */
  forked(parent: ProcessRef, child: { pid: number; startTimeNs: bigint }): void {
    const key = keyOf(child.pid, child.startTimeNs)
    if (this.live.has(key) || this.exited.has(key)) return
    this.version++
    this.believe(parent)
    const forker = this.live.get(keyOf(parent.pid, parent.startTimeNs))
    const image = this.heldBy(forker, parent.execCount)
    const { sandbox } = parent
    const entry: Entry = {
      key,
      sandbox,
      parentExecId: this.execId(parent),
      spawnerExecId: parent.execCount === 0 ? ((forker?.spawnerExecId || forker?.parentExecId) ?? '') : '',
      execCount: 0,
      execId: this.execId({ ...child, sandbox, execCount: 0 }),
      current: null,
      previous: null,
    }
    entry.current = this.hold(image)
    this.live.set(key, entry)
    this.makeRoom()
  }

  /** It ran before its sandbox was watched; `parent` null: the parent is not of the sandbox. Nothing for one that is known already. */
  adopted(ref: ProcessRef, image: Image, parent: { pid: number; startTimeNs: bigint } | null): void {
    const key = keyOf(ref.pid, ref.startTimeNs)
    if (this.live.has(key) || this.exited.has(key)) return
    this.version++
    const { sandbox, execCount } = ref
    const parentExecId = parent === null ? '' : this.execIdNow(parent)
    const entry: Entry = {
      key,
      sandbox,
      parentExecId,
      spawnerExecId: '',
      execCount,
      execId: this.execId(ref),
      current: null,
      previous: null,
    }
    entry.current = this.hold({ image: Object.freeze(image), bytes: bytesOf(image), users: 0 })
    this.live.set(key, entry)
    this.makeRoom()
  }

  /** It runs: said by somebody who looked, and believed only where its exec, or its fork, is not known here. */
  runs(ref: ProcessRef, image: Image, parent: Said['parent']): void {
    const key = keyOf(ref.pid, ref.startTimeNs)
    this.unsay(key)
    const bytes = bytesOf(image)
    if (this.said.size >= this.processesMax || this.saidBytes + bytes > this.imageBytesMax) return
    this.saidBytes += bytes
    this.said.set(key, { ref, image, parent })
    this.version++
  }

  private unsay(key: string): void {
    const said = this.said.get(key)
    if (said === undefined) return
    this.said.delete(key)
    this.saidBytes -= bytesOf(said.image)
  }

  /** `ref.execCount` is the count with this exec. */
  execed(ref: ProcessRef, image: Image): void {
    const entry = this.entryOf(ref)
    if (ref.execCount < entry.execCount) return
    this.version++
    this.letGo(entry.previous)
    entry.previous = entry.current
    entry.execCount = ref.execCount
    entry.execId = this.execId(ref)
    entry.current = this.hold({ image: Object.freeze(image), bytes: bytesOf(image), users: 0 })
    this.makeRoom()
  }

  /** Kept for a while: the other ring may still hold what it did. */
  exitedAt(ref: ProcessRef): void {
    const key = keyOf(ref.pid, ref.startTimeNs)
    const entry = this.live.get(key)
    if (entry === undefined) return
    this.live.delete(key)
    this.exited.set(key, entry)
    if (this.exited.size > this.exitedMax) this.evictExited()
  }

  /** What is known of the process at the exec that `ref` names. */
  look(ref: ProcessRef): ProcessView {
    this.believe(ref)
    const key = keyOf(ref.pid, ref.startTimeNs)
    const entry = this.live.get(key)
    if (entry !== undefined) {
      this.live.delete(key)
      this.live.set(key, entry)
    }
    const known = entry ?? this.exited.get(key)
    return {
      execId: known?.execCount === ref.execCount ? known.execId : this.execId(ref),
      parentExecId: known?.parentExecId ?? '',
      spawnerExecId: known?.spawnerExecId ?? '',
      image: this.heldBy(known, ref.execCount)?.image ?? null,
    }
  }

  /** A sandbox has ended: nothing of it will come. */
  forget(sandbox: bigint): void {
    for (const [key, { ref }] of this.said) if (ref.sandbox === sandbox) this.unsay(key)
    for (const map of [this.live, this.exited]) {
      for (const entry of map.values()) if (entry.sandbox === sandbox) this.drop(map, entry)
    }
  }

  /** Takes what is said of the process for true, if it is of that very exec and nothing was seen of it. */
  private believe(ref: ProcessRef): void {
    if (this.said.size === 0) return
    const key = keyOf(ref.pid, ref.startTimeNs)
    const said = this.said.get(key)
    if (said === undefined || said.ref.execCount > ref.execCount) return
    this.unsay(key)
    const known = this.live.get(key) ?? this.exited.get(key)
    if (said.ref.execCount < ref.execCount || this.heldBy(known, ref.execCount) !== null) return
    if (known === undefined) this.adopted(said.ref, said.image, said.parent)
    else this.execed(said.ref, said.image)
  }

  private heldBy(entry: Entry | undefined, execCount: number): Held | null {
    if (entry === undefined) return null
    if (execCount === entry.execCount) return entry.current
    // An exec was missed: what came before it is not what runs now.
    if (execCount > entry.execCount) return null
    return execCount === entry.execCount - 1 ? entry.previous : null
  }

  private execIdNow({ pid, startTimeNs }: { pid: number; startTimeNs: bigint }): string {
    const key = keyOf(pid, startTimeNs)
    const said = this.said.get(key)
    return this.live.get(key)?.execId ?? (said === undefined ? '' : this.execId(said.ref))
  }

  private entryOf(ref: ProcessRef): Entry {
    const key = keyOf(ref.pid, ref.startTimeNs)
    const known = this.live.get(key) ?? this.exited.get(key)
    if (known !== undefined) return known
    const { sandbox } = ref
    const execId = this.execId({ ...ref, execCount: 0 })
    const unseen = { parentExecId: '', spawnerExecId: '', execCount: 0 }
    const entry: Entry = { key, sandbox, ...unseen, execId, current: null, previous: null }
    this.live.set(key, entry)
    return entry
  }

  private hold(held: Held | null): Held | null {
    if (held === null) return null
    if (held.users === 0) this.imageBytes += held.bytes
    held.users++
    return held
  }

  private letGo(held: Held | null): void {
    if (held === null) return
    held.users--
    if (held.users === 0) this.imageBytes -= held.bytes
  }

  private makeRoom(): void {
    while ((this.size > this.processesMax || this.imageBytes > this.imageBytesMax) && this.size > 1) {
      if (this.exited.size > 0) {
        this.evictExited()
        continue
      }
      const [oldest] = this.live.values()
      if (oldest === undefined) return
      this.drop(this.live, oldest)
      this.evictedLive++
    }
  }

  private evictExited(): void {
    const [oldest] = this.exited.values()
    if (oldest === undefined) return
    this.drop(this.exited, oldest)
    this.evictedExited++
  }

  private drop(map: Map<string, Entry>, entry: Entry): void {
    this.version++
    map.delete(entry.key)
    this.letGo(entry.current)
    this.letGo(entry.previous)
  }
}

function keyOf(pid: number, startTimeNs: bigint): string {
  return `${pid}-${startTimeNs}`
}

function bytesOf(image: Image): number {
  return image.args.reduce((sum, arg) => sum + arg.length, image.exe.length + image.cwd.length)
}
