/**
 * Looks at what limits refused, and does what the kernel can't do by itself: tells it, folded; lets processes go on that were stopped at their
 * exec, for what they did, or until their turn, when their time has come and their sandbox is not frozen; ends sandboxes whose time is over. It
 * looks when the kernel side counted something and told of it, ten times a second while somebody is throttled, and once a second. Guards that
 * nothing counted is told twice or not at all, that a storm is an event a second and no more, and that nobody waits for ever for having executed a
 * program, or connected, too soon.
 */
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import type { BpfObject } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import { toBigInt } from '../proto/codec.js'
import type { ControllerCounts } from './controllers.js'
import type { LimitReached } from './limit-facts.js'
import { KERNEL_LIMITS, type KernelLimit, type Usage } from './limit-values.js'
import { taskSandbox } from './map-values.js'
import type { HeldLimits, LimitedSandbox, SandboxLimits } from './sandbox-limits.js'

const LOOK_MS = 1_000
/** Looks at every limited sandbox, while there is always something new. */
const SCAN_MS = 100
/** Of one limit of one sandbox, behind the first. */
const WINDOW_NS = 1_000_000_000n
/** Whoever has no CPU left is told so all the time. */
const CPU_WINDOW_NS = 30_000_000_000n
const NS_PER_MS = 1_000_000n
const KERNEL_NAMES = Object.keys(KERNEL_LIMITS) as KernelLimit[]

export interface LimitWatchOptions {
  readonly limits: SandboxLimits
  readonly object: Pick<BpfObject, 'lookupTask'>
  /** CLOCK_BOOTTIME now. */
  bootTimeNs(): bigint
  /** CLOCK_MONOTONIC now. */
  monotonicNs(): bigint
  tell(reached: LimitReached): void
  /** Kills everything that runs in it. */
  kill(sandbox: bigint): Promise<void>
  readonly log: Log
}

/** What is remembered of one sandbox. */
interface Seen {
  /** When it was looked at last and there was nothing new, by limit. */
  readonly quietNs: Map<string, bigint>
  readonly toldNs: Map<string, bigint>
  controllers: ControllerCounts | null
  /** Limits of a policy that only looks on, which it is over just now. */
  readonly over: Set<string>
  isOver: boolean
}

interface Hit {
  readonly what: string
  readonly refused: bigint
  readonly enforced: boolean
  readonly throttled: boolean
  readonly outcome: string
}

export class LimitWatch {
  readonly #options: LimitWatchOptions
  readonly #seen = new Map<bigint, Seen>()
  #hits = -1n
  #scannedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | null = null
  #throttledTimer: NodeJS.Timeout | null = null
  #scan: NodeJS.Timeout | null = null
  #release: NodeJS.Timeout | null = null

  constructor(options: LimitWatchOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = setInterval(() => this.#lookAtAll(), LOOK_MS)
    this.#throttledTimer = setInterval(() => this.#lookAtThrottled(), SCAN_MS)
  }

  /** The rings told of something: what was refused is counted before that. */
  readonly look = (): void => {
    const { limits } = this.#options
    if (limits.maps.sandboxes.size === 0) return
    const hits = limits.maps.hits()
    if (hits === this.#hits) return
    this.#hits = hits
    this.#letGoOn()
    this.#scanSoon()
  }

  /** The sandbox is about to be forgotten: all of it is told now. */
  over(sandbox: bigint): void {
    const { limits } = this.#options
    const found = limits.of(sandbox)
    if (found !== null) {
      this.#tellKernel(sandbox, found.held, { all: true })
      this.#tellControllers(sandbox, found, { all: true })
    }
    this.#seen.delete(sandbox)
    for (const { key, held } of limits.maps.held()) if (held.sandbox === sandbox) this.#goOn(key, held)
  }

  /** A sandbox goes on: so does who was stopped in it, when its time has come. */
  thawed(): void {
    this.#letGoOn()
  }

  /** @param letGo nobody looks after them any more: what waits goes on */
  stop({ letGo }: { letGo: boolean }): void {
    for (const timer of [this.#timer, this.#throttledTimer, this.#scan, this.#release])
      if (timer !== null) clearTimeout(timer)
    if (letGo) for (const { key, held } of this.#options.limits.maps.held()) this.#goOn(key, held)
  }

  #scanSoon(): void {
    const wait = this.#scannedAt + SCAN_MS - performance.now()
    if (wait <= 0) this.#tellAll()
    else {
      this.#scan ??= setTimeout(() => {
        this.#scan = null
        this.#tellAll()
      }, wait)
    }
  }

  #tellAll(): void {
    const { limits } = this.#options
    this.#scannedAt = performance.now()
    for (const sandbox of limits.maps.sandboxes) {
      const found = limits.of(sandbox)
      if (found !== null) this.#tellKernel(sandbox, found.held, { all: false })
    }
  }

  #lookAtThrottled(): void {
    const { limits, log } = this.#options
    try {
      if (limits.isAnyThrottled) this.look()
    } catch (error) {
      log.error({ error: messageOf(error) }, 'whoever is throttled could not be looked at')
    }
  }

  #lookAtAll(): void {
    const { limits, log, monotonicNs } = this.#options
    try {
      limits.stopAgain(monotonicNs())
      this.#letGoOn()
      this.#tellAll()
      for (const sandbox of [...limits.sandboxes.keys()]) {
        const found = limits.of(sandbox)
        if (found === null) continue
        if (found.place.adopted) limits.gather(sandbox)
        this.#tellControllers(sandbox, found, { all: false })
        this.#lookAtClock(sandbox, found)
      }
    } catch (error) {
      log.error({ error: messageOf(error) }, 'limits could not all be looked at')
    }
  }

  #tellKernel(sandbox: bigint, held: HeldLimits, { all }: { all: boolean }): void {
    const { limits } = this.#options
    const now = limits.maps.usageOf(sandbox)
    const rules = limits.maps.of(sandbox)?.rules
    if (now === null || rules === undefined) return
    const before = limits.maps.toldOf(sandbox)
    const fresh = KERNEL_NAMES.filter((name) => now.refused[name] > (before?.refused[name] ?? 0n))
    this.#isQuiet(sandbox, KERNEL_NAMES, fresh)
    if (fresh.length === 0 || !(all || fresh.some((name) => this.#isDue(sandbox, name, WINDOW_NS)))) return
    // All of them at once: what was told is kept as a whole.
    const told = limits.maps.tell(sandbox) ?? now
    for (const name of KERNEL_NAMES) {
      const refused = told.refused[name] - (before?.refused[name] ?? 0n)
      const flags = rules[name]?.flags ?? 0
      const throttled = (flags & ABI.enums.SL_LIMIT_THROTTLED) !== 0
      const enforced = (flags & ABI.enums.SL_LIMIT_ENFORCED) !== 0
      const hit = { what: name, refused, outcome: outcomeOf(name, { before, told, throttled }), enforced, throttled }
      if (refused > 0n) this.#tell(sandbox, held, hit)
    }
  }

  #tellControllers(
    sandbox: bigint,
    { held, place }: { held: HeldLimits; place: LimitedSandbox },
    { all }: { all: boolean },
  ): void {
    const { limits } = this.#options
    const seen = this.#seenOf(sandbox)
    const wants = held.policy?.limits ?? {}
    const lower = held.throttle ?? {}
    if (!wants.processes && !toBigInt(wants.memory) && !wants.cpus && !lower.processes && !lower.memory && !lower.cpus)
      return
    const now = limits.controllers.counts(place)
    const before = seen.controllers ?? { processes: 0n, memory: 0n, cpu: 0n }
    const told: ControllerCounts = { ...before }
    for (const name of ['processes', 'memory', 'cpu'] as const) {
      const refused = now[name] - before[name]
      this.#isQuiet(sandbox, [name], refused > 0n ? [name] : [])
      const windowNs = name === 'cpu' ? CPU_WINDOW_NS : WINDOW_NS
      if (refused <= 0n || !(all || this.#isDue(sandbox, name, windowNs))) continue
      Object.assign(told, { [name]: now[name] })
      const key = name === 'cpu' ? 'cpus' : name
      const throttled =
        Boolean(lower[key]) && (!held.policy?.enforced || !wants[key] || Number(lower[key]) < Number(wants[key]))
      this.#tell(sandbox, held, { what: name, refused, enforced: true, throttled, outcome: OUTCOMES[name] })
    }
    seen.controllers = told
    if (held.policy?.enforced === false) this.#wouldRefuse(sandbox, held, place)
  }

  /** Of a policy that only looks on: whether it has more than it should, told when it begins. */
  #wouldRefuse(sandbox: bigint, held: HeldLimits, place: LimitedSandbox): void {
    const usage = this.#options.limits.controllers.usage(place)
    const { over } = this.#seenOf(sandbox)
    const wants = held.policy?.limits ?? {}
    const most = { processes: BigInt(wants.processes ?? 0), memory: toBigInt(wants.memory) }
    for (const name of ['processes', 'memory'] as const) {
      const beyond = most[name] === 0n ? 0n : usage[name] - most[name]
      if (beyond <= 0n) over.delete(name)
      else if (!over.has(name)) {
        over.add(name)
        this.#tell(sandbox, held, { what: name, refused: beyond, enforced: false, throttled: false, outcome: '' })
      }
    }
  }

  #lookAtClock(sandbox: bigint, { held, place }: { held: HeldLimits; place: LimitedSandbox }): void {
    const { bootTimeNs, kill, log } = this.#options
    const mostNs = toBigInt(held.policy?.limits.wallClockMs) * NS_PER_MS
    if (mostNs === 0n || bootTimeNs() - place.sinceNs < mostNs) return
    const seen = this.#seenOf(sandbox)
    const enforced = held.policy?.enforced ?? false
    if (!seen.isOver) {
      seen.isOver = true
      const outcome = enforced ? 'everything that ran in it was killed' : ''
      this.#tell(sandbox, held, { what: 'wall_clock', refused: 1n, enforced, throttled: false, outcome })
    }
    if (!enforced) return
    kill(sandbox).catch((error: unknown) => {
      log.error({ sandbox: place.id, error: messageOf(error) }, 'a sandbox whose time is over could not be ended')
    })
  }

  /** Those whose time has come; then waits for the next. */
  #letGoOn(): void {
    const { limits, monotonicNs } = this.#options
    if (this.#release !== null) clearTimeout(this.#release)
    this.#release = null
    const now = monotonicNs()
    let next: bigint | null = null
    for (const { key, held } of limits.maps.held()) {
      // It goes on when its sandbox is thawed.
      if (limits.isFrozen(held.sandbox)) continue
      if (held.dueNs <= now) this.#goOn(key, held)
      else if (next === null || held.dueNs < next) next = held.dueNs
    }
    if (next === null) return
    const waitMs = Number((next - now) / NS_PER_MS) + 1
    this.#release = setTimeout(() => this.#letGoOn(), Math.min(waitMs, LOOK_MS))
  }

  /** Nobody minds it from here on, then it goes on: the other way round it could be taken for one that did too soon. */
  #goOn(key: Buffer, { pid, sandbox }: { pid: number; sandbox: bigint }): void {
    const { limits, object } = this.#options
    limits.maps.letGo(key)
    try {
      const task = object.lookupTask('sl_tasks', pid)
      if (task !== null && taskSandbox(task) === sandbox) process.kill(pid, 'SIGCONT')
    } catch {
      // It is gone.
    }
  }

  #tell(sandbox: bigint, held: HeldLimits, hit: Hit): void {
    const { tell, bootTimeNs } = this.#options
    const seen = this.#seenOf(sandbox)
    const toNs = bootTimeNs()
    const fromNs = seen.quietNs.get(hit.what) ?? seen.toldNs.get(hit.what) ?? toNs
    seen.toldNs.set(hit.what, toNs)
    seen.quietNs.set(hit.what, toNs)
    tell({ sandbox, ...hit, fromNs, toNs, generation: held.policy?.generation ?? 0 })
  }

  #isDue(sandbox: bigint, what: string, windowNs: bigint): boolean {
    const told = this.#seenOf(sandbox).toldNs.get(what)
    return told === undefined || this.#options.bootTimeNs() - told >= windowNs
  }

  #isQuiet(sandbox: bigint, all: readonly string[], fresh: readonly string[]): void {
    const { quietNs } = this.#seenOf(sandbox)
    const now = this.#options.bootTimeNs()
    for (const name of all) if (!fresh.includes(name)) quietNs.set(name, now)
  }

  #seenOf(sandbox: bigint): Seen {
    const known = this.#seen.get(sandbox)
    if (known !== undefined) return known
    const seen = { quietNs: new Map(), toldNs: new Map(), controllers: null, over: new Set<string>(), isOver: false }
    this.#seen.set(sandbox, seen)
    return seen
  }
}

const OUTCOMES = {
  processes: 'processes and threads could not be made',
  memory: 'processes were ended by the kernel, as there was no memory left for them',
  cpu: 'it had to wait for its next share of CPU time',
} as const

function outcomeOf(
  name: KernelLimit,
  { before, told, throttled }: { before: Usage | null; told: Usage; throttled: boolean },
): string {
  if (name === 'connects' && throttled) return 'those that connected were stopped until their turn'
  if (name !== 'execs') return ''
  const held = told.held - (before?.held ?? 0n)
  const killed = told.killed - (before?.killed ?? 0n)
  return [
    ...(held > 0n ? [`${held} were stopped until their turn`] : []),
    ...(killed > 0n ? [`${killed} were killed, as too many waited`] : []),
  ].join(', ')
}
