/**
 * `shell_smuggling`: what is to be run is hidden from who reads the command: decoded or fetched and run at once, a shell in a shell in a shell,
 * or a great deal of encoded text as an argument. Looks at each call's command as bash reads it, and at what shells further down are
 * given. Not seen: what a program other than a shell decodes inside of itself.
 */
import { clipped, Met } from './bounded.js'
import { isShell, shellRuns } from './classify.js'
import type { Command, Commands } from './command.js'
import type { Fact, ProcessFact } from './fact.js'
import { type CallInput, type Detector, type Finding, NONE } from './finding.js'
import type { ToolCall } from './tool-call.js'
import type { Lineage } from './tool-calls.js'

export interface ShellSmugglingThresholds {
  /** Shells with a command, one started by the other. */
  readonly depth: number
  /** Characters of encoded text in one command line. */
  readonly encoded: number
}

export const SHELL_SMUGGLING_DEFAULTS: ShellSmugglingThresholds = Object.freeze({ depth: 4, encoded: 8 * 1024 })
const TOLD_MAX = 32
const SAID_CHARS_MAX = 80
/** Texts that are so short hide nothing. */
const TEXT_CHARS_MIN = 8

/** Characters of an encoding, so many that no word is as long. */
const ENCODED = /[A-Za-z0-9+/_=-]{200,}|(?:\\x[0-9a-fA-F]{2}){50,}/g
/** A name repeated or a line of dashes is no code. */
const SYMBOLS_MIN = 12

export class ShellSmugglingDetector implements Detector {
  private readonly limits: ShellSmugglingThresholds
  private readonly commands: Pick<Commands, 'of'>
  private readonly told = new Met(TOLD_MAX)

  constructor(commands: Pick<Commands, 'of'>, limits: Partial<ShellSmugglingThresholds> = {}) {
    this.limits = { ...SHELL_SMUGGLING_DEFAULTS, ...limits }
    this.commands = commands
  }

  shed(): number {
    return this.told.forgotten
  }

  began({ call, command }: CallInput): readonly Finding[] {
    return call.class === 'shell' ? this.inText(command, call.uid, call.command) : NONE
  }

  fact(fact: Fact, call: ToolCall | null, { shells }: Lineage): readonly Finding[] {
    if (fact.kind !== 'exec' || fact.process === null) return NONE
    const text = isShell(fact.process) ? shellRuns(fact.process.args) : null
    // What the call itself was given is looked at when it begins.
    const isOther = text !== null && text !== call?.command && text.length >= TEXT_CHARS_MIN
    const inText = isOther ? this.inText(this.commands.of({ command: text }), fact.uid, text) : NONE
    if (inText.length > 0) return inText
    const nested = text === null ? NONE : this.nested(fact, shells)
    return nested.length > 0 ? nested : this.encoded(fact.uid, fact.process)
  }

  private inText({ way, said }: Command, uid: string, text: string): readonly Finding[] {
    if (way === null || !this.told.add(`${way} ${text}`)) return NONE
    const title = way === 'decode' ? 'Decoded and run at once' : 'Fetched and run at once'
    return [finding({ title, reason: `"${said}" runs what it ${way === 'decode' ? 'decodes' : 'fetches'}`, uid })]
  }

  private nested({ uid }: Fact, measured: number): readonly Finding[] {
    const threshold = this.limits.depth
    if (measured !== threshold) return NONE
    const reason = `${measured} shells with a command were started one by the other`
    return [finding({ title: 'A shell in a shell', reason, uid, measured, threshold })]
  }

  private encoded(uid: string, { args }: ProcessFact): readonly Finding[] {
    const threshold = this.limits.encoded
    if (args.every(({ length }) => length < 200)) return NONE
    const measured = args.reduce((sum, argument) => sum + encodedIn(argument), 0)
    if (measured <= threshold || !this.told.add(`encoded ${args.join(' ')}`)) return NONE
    const reason = `"${clipped(args[0] ?? '', SAID_CHARS_MAX)}" was given ${measured} characters of encoded text`
    return [finding({ title: 'Much encoded text in a command', reason, uid, measured, threshold })]
  }
}

function finding(of: { title: string; reason: string; uid: string; measured?: number; threshold?: number }): Finding {
  const { title, reason, uid, measured = 1, threshold = 1 } = of
  return {
    ...{ detector: 'shell_smuggling', severity: 'medium', title, reason, evidence: [uid] },
    ...{ measured, threshold, baseline: null },
  }
}

function encodedIn(argument: string): number {
  const runs = argument.match(ENCODED) ?? []
  return runs.reduce((sum, run) => (new Set(run.slice(0, 1_000)).size < SYMBOLS_MIN ? sum : sum + run.length), 0)
}
