/**
 * What the tests of ways past a policy share: a sandbox whose policy allows one of two neighbours, in a network of the test's own, and tries
 * that are made in pairs: the same program once with the allowed address and once with the denied one. What counts is what arrived.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll } from 'vitest'
import type { ICompiledPolicy } from '../../src/proto/codec.js'
import { compileC } from './c-program.js'
import { net, openPolicedSandbox, type PolicedSandbox, type RunOptions, testPolicy } from './policed-sandbox.js'
import { tempDirForAll } from './sluice-run.js'
import { ALLOWED, ARRIVAL_MS, DENIED, INSIDE, openTestNetwork, PORT, type TestNetwork } from './test-network.js'

export const EPERM = 1
/** What the programs end with where the machine does not have what they try: reach.h. */
const NOT_HERE = 1000
const OPEN_MS = 60_000
/** Tries that run side by side: most of their time they wait. */
const AT_ONCE = 4

/** How a try ended, and whether its bytes arrived. */
export interface Outcome {
  /** The last number that the program printed; NaN where it printed none. */
  readonly errno: number
  readonly signal: NodeJS.Signals | null
  readonly arrived: boolean
}

export interface Pair {
  readonly allowed: Outcome
  readonly denied: Outcome
}

/** What a program is to be given to send `text` to `address`. */
export type Way = (address: string, text: string) => readonly string[]

export const THROUGH: Outcome = { errno: 0, signal: null, arrived: true }
export const REFUSED: Outcome = { errno: EPERM, signal: null, arrived: false }
export const KILLED: Outcome = { errno: Number.NaN, signal: 'SIGKILL', arrived: false }
/** As it should be, whatever the way. */
export const HELD: Pair = { allowed: THROUGH, denied: REFUSED }

export interface Attempt {
  readonly way: Way
  readonly options?: RunOptions
  /** By IPv6. */
  readonly v6?: boolean
}

interface Ended {
  readonly address: string
  readonly text: string
  readonly errno: number
  readonly signal: NodeJS.Signals | null
}

export class Bypass {
  readonly #dir: string
  readonly network: TestNetwork
  readonly sandbox: PolicedSandbox
  readonly #programs = new Map<string, string>()
  #texts = 0

  constructor(dir: string, network: TestNetwork, sandbox: PolicedSandbox) {
    this.#dir = dir
    this.network = network
    this.sandbox = sandbox
  }

  /** Path of a folder for the test's files. */
  get dir(): string {
    return this.#dir
  }

  /** A C program of test/support/programs. */
  program(name: string): string {
    const known = this.#programs.get(name) ?? compileC(name, this.#dir)
    this.#programs.set(name, known)
    return known
  }

  /** A text that nothing else sends. */
  text(of: string): string {
    this.#texts += 1
    return `${of.replaceAll(' ', '-')}-${this.#texts}.`
  }

  /**
   * Runs each way with both addresses, some at a time, and then waits for what is still under way. Null: this machine does not have it.
   */
  async pairs(ways: ReadonlyMap<string, Attempt>): Promise<ReadonlyMap<string, Pair | null>> {
    const waiting = [...ways].flatMap(([name, attempt]) =>
      [ALLOWED, DENIED].map((neighbour) => ({ name, attempt, neighbour, isAllowed: neighbour === ALLOWED })),
    )
    const ended = new Map<string, Ended>()
    const worker = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const { name, attempt, neighbour, isAllowed } = next
        const address = attempt.v6 ? neighbour.v6 : neighbour.v4
        ended.set(`${name} ${isAllowed}`, await this.#run(address, this.text(name), attempt))
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await sleep(ARRIVAL_MS)
    // Of what got through, however busy the receiver is.
    for (const name of ways.keys()) {
      const end = ended.get(`${name} true`)
      if (end?.errno === 0) await this.network.arrives(end.address, end.text)
    }
    const outcome = (name: string, isAllowed: boolean): Outcome => {
      const end = ended.get(`${name} ${isAllowed}`)
      if (end === undefined) throw new Error(`${name} was not tried as a pair`)
      return { errno: end.errno, signal: end.signal, arrived: this.network.hasArrived(end.address, end.text) }
    }
    return new Map(
      [...ways.keys()].map((name) => {
        const pair = { allowed: outcome(name, true), denied: outcome(name, false) }
        return [name, pair.allowed.errno === NOT_HERE ? null : pair]
      }),
    )
  }

  async pair(way: Way, options: Omit<Attempt, 'way'> = {}): Promise<Pair | null> {
    return (await this.pairs(new Map([['pair', { way, ...options }]]))).get('pair') ?? null
  }

  async #run(address: string, text: string, { way, options = {} }: Attempt): Promise<Ended> {
    const env = {
      ...{ REACH_FROM: INSIDE.v4, REACH_INTERFACE: this.network.wire, REACH_OUTSIDE: this.network.outside },
      ...{ REACH_ALLOWED: ALLOWED.v4, REACH_ALLOWED6: ALLOWED.v6 },
      ...options.env,
    }
    const { out, signal } = await this.sandbox.run(way(address, text), { ...options, env })
    return { address, text, errno: lastNumber(out), signal }
  }

  /** Texts that arrived at the denied neighbour, at whichever address, port and protocol. */
  deniedTexts(): string[] {
    return [...this.network.arrived].filter((line) =>
      [DENIED.v4, DENIED.v6].some((address) => line.startsWith(`${address} `)),
    )
  }

  /** Until what is under way has arrived. */
  settle(): Promise<void> {
    return sleep(ARRIVAL_MS)
  }

  /** Policies that say the same take each other's place all the while. How many did. */
  async whilePoliciesChange(body: () => Promise<void>): Promise<number> {
    let over = false
    const ended = body().finally(() => {
      over = true
    })
    let changes = 0
    for (; !over; changes += 1) {
      await this.sandbox.apply(testPolicy({ nets: [net(ALLOWED.v4, { rule: (changes % 2) + 1 })] }))
    }
    await ended
    await this.sandbox.apply(testPolicy())
    return changes
  }

  async close(): Promise<void> {
    await this.sandbox.close()
    await this.network.close()
  }
}

/** For all tests of a file: opened before the first, closed after the last. */
export function openForAll(policy: ICompiledPolicy | null = testPolicy()): () => Bypass {
  const dir = tempDirForAll()
  let opened: Bypass | undefined
  beforeAll(async () => {
    const network = await openTestNetwork()
    const sandbox = await openPolicedSandbox(network).catch(async (error: unknown) => {
      await network.close()
      throw error
    })
    opened = new Bypass(dir(), network, sandbox)
    if (policy !== null) await opened.sandbox.apply(policy)
  }, OPEN_MS)
  afterAll(async () => {
    await opened?.close()
  }, OPEN_MS)
  return () => {
    if (opened === undefined) throw new Error('it was not opened')
    return opened
  }
}

/** The way of `reach` and its like: PROGRAM WAY ADDRESS PORT TEXT. */
export function reachBy(program: string, name: string): Way {
  return (address, text) => [program, name, address, String(PORT), text]
}

/** A script of test/support/programs. */
export function script(name: string): string {
  return fileURLToPath(new URL(`programs/${name}`, import.meta.url))
}

export function lastNumber(out: string): number {
  return Number(out.trim().split(/\s/).at(-1) || Number.NaN)
}
