/**
 * Finds secrets in the words of one command by what its program takes them for (secret-programs.ts), and after names that a
 * command sets (`npm config set NAME VALUE`). Guards that the same flag of another program stays: `ssh -p 22`. Not here: how
 * a script is split into words (secret-shell.ts).
 */
import { isSecretName } from './secret-names.js'
import {
  LAUNCHERS,
  NAMING_FLAGS,
  PROGRAM_RULES,
  type ProgramRule,
  SETTERS,
  type SecretOption,
  type SecretPart,
} from './secret-programs.js'
import { isQuote, looksLikeFlag, type Span } from './secret-text.js'

/** Bare words after the program that are remembered: the first and the last ones. */
const SEEN_MAX = 4
const ASSIGNMENT = /^\w{1,128}\+?=/
/** Short flags in one argument before the one with the secret. */
const SWITCHES_MAX = 16
/** A header's name and the blanks after it. */
const HEADER = /^([\w-]{1,64}):\s{0,8}/
const WITH_SCHEME = /^[\w-]{1,64}:\s{0,8}[A-Za-z][\w-]{0,31}\s{1,8}/
/** docker's, which no program takes for a password. */
const PORTS = /^(?:[\d.]{1,15}:)?\d{1,5}:\d{1,5}(?:\/\w{1,4})?$/
const NO_RULES: readonly ProgramRule[] = Object.freeze([])

const RULES: ReadonlyMap<string, readonly ProgramRule[]> = rulesByProgram()

/** For tests of whole scripts: without a match no program of the table is named, and nothing is set. */
export const PROGRAM_SOURCE = `\\b(?:${[...RULES.keys(), ...SETTERS].join('|')})\\b`

/** Hands over the secrets: the number of the word, and where in it. */
export function scanCommand(words: readonly string[], found: (word: number, span: Span) => void): void {
  const state = new CommandState(found)
  for (let i = 0; i < words.length; i++) state.next(words[i] ?? '', i)
}

class CommandState {
  private readonly found: (word: number, span: Span) => void
  /** Of the program, as far as it is known. */
  private rules = NO_RULES
  /** `launched`: another program may be named among the arguments. */
  private phase: 'first' | 'launched' | 'inside' = 'first'
  /** Bare words after the program. */
  private seen: string[] = []
  /** The option before this word has its value in it. */
  private pending: SecretPart | null = null
  private previous = ''

  constructor(found: (word: number, span: Span) => void) {
    this.found = found
  }

  next(word: string, at: number): void {
    const { previous, pending } = this
    this.previous = word
    this.pending = null
    if (pending !== null && !looksLikeFlag(word)) this.value(pending, word, at, 0)
    else if (word.length > 1 && word.startsWith('-')) this.option(word, at)
    else if (word.startsWith('/') && this.option(word, at)) return
    else if (NAMING_FLAGS.has(previous) || !this.program(word)) this.bare(word, at, previous)
  }

  /** True if the word names a program that is known, or stands before one. */
  private program(word: string): boolean {
    if (this.phase === 'inside') return false
    if (this.phase === 'first' && ASSIGNMENT.test(word)) return true
    const name = word.slice(word.lastIndexOf('/') + 1)
    const rules = RULES.get(name)
    const launches = LAUNCHERS.has(name)
    if (rules === undefined && !launches) {
      const isProgram = this.phase === 'first'
      if (isProgram) this.phase = 'inside'
      return isProgram
    }
    this.rules = rules ?? NO_RULES
    this.phase = launches ? 'launched' : 'inside'
    this.seen = []
    return true
  }

  private bare(word: string, at: number, previous: string): void {
    const argument = this.rules.some((rule) => rule.argument === true && this.isAfter(rule, true))
    if ((argument && !word.includes('=') && word !== '-') || this.isSetting(previous)) this.value('all', word, at, 0)
    this.seen.push(word)
    if (this.seen.length > SEEN_MAX) this.seen.splice(1, 1)
  }

  /** The word after `name` is its value. */
  private isSetting(name: string): boolean {
    if (name === '' || name !== this.seen.at(-1) || !isSecretName(name)) return false
    const setter = this.seen.at(-2) ?? ''
    return setter === 'set' || (SETTERS.has(setter) && /[_:.A-Z-]/.test(name))
  }

  /** @param last whether the words must be the last ones before this */
  private isAfter(rule: ProgramRule, last: boolean): boolean {
    if (rule.after === undefined) return !last
    const seen = ` ${this.seen.join(' ')} `
    return last ? seen.endsWith(` ${rule.after} `) : seen.includes(` ${rule.after} `)
  }

  /** Whether it is an option that the rules name. */
  private option(word: string, at: number): boolean {
    for (const rule of this.rules) {
      if (!this.isAfter(rule, false)) continue
      for (const option of rule.options ?? []) {
        for (const flag of option.flags.split(' ')) {
          const from = valueStart(rule, option, flag, word)
          if (from === null) continue
          if (from < word.length) this.value(option.part, word, at, from)
          else if (option.attached !== true) this.pending = option.part
          return true
        }
      }
    }
    return false
  }

  private value(part: SecretPart, word: string, at: number, from: number): void {
    let start = from
    let end = word.length
    // In a script the quotes are a part of the word: -H'x: y'.
    if (word[start] === '\\' && isQuote(word[start + 1])) start++
    if (isQuote(word[start])) {
      if (end > start + 1 && word[end - 1] === word[start]) end -= word[end - 2] === '\\' ? 2 : 1
      start++
    }
    const secret = secretStart(part, word.slice(start, end))
    if (secret !== null && start + secret < end) this.found(at, [start + secret, end])
  }
}

/** Where the value of `flag` starts in `word`; the word's length if it is in the next one; null if this is not the flag. */
function valueStart(rule: ProgramRule, option: SecretOption, flag: string, word: string): number | null {
  if (flag.startsWith('--') || rule.apart === true) {
    if (word === flag) return word.length
    return word.startsWith(`${flag}=`) ? flag.length + 1 : null
  }
  if (flag.length > 2) return word.startsWith(flag) ? flag.length : null
  if (word.startsWith('--')) return null
  let i = 1
  while (i < SWITCHES_MAX && i < word.length && (rule.switches ?? '').includes(word.charAt(i))) i++
  if (word[i] !== flag[1]) return null
  return option.attached !== true && word[i + 1] === '=' ? i + 2 : i + 1
}

/** Where in an option's value the secret starts, null if there is none. */
function secretStart(part: SecretPart, value: string): number | null {
  switch (part) {
    case 'all':
      return PORTS.test(value) ? null : 0
    case 'pass:':
      return value.startsWith(part) ? part.length : null
    case 'cookie':
      return value.includes('=') ? 0 : null
    case 'header':
      return headerStart(value)
    default: {
      const at = value.indexOf(part)
      return at < 0 ? null : at + 1
    }
  }
}

function headerStart(header: string): number | null {
  const [begin, name = ''] = HEADER.exec(header) ?? []
  if (begin === undefined) return null
  if (/^(?:proxy-)?authorization$/i.test(name)) return (WITH_SCHEME.exec(header) ?? [begin])[0].length
  return isSecretName(name) || /^cookie$/i.test(name) ? begin.length : null
}

function rulesByProgram(): ReadonlyMap<string, readonly ProgramRule[]> {
  const rules = new Map<string, ProgramRule[]>()
  for (const rule of PROGRAM_RULES) {
    for (const program of rule.programs.split(' ')) rules.set(program, [...(rules.get(program) ?? []), rule])
  }
  return rules
}
