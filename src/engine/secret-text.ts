/**
 * One text that is searched for secrets, and what was found in it. Guards that no scan is slow: they move forward and look at
 * a character a bounded number of times, which `steps` counts. The text is latin1: one character is one byte. Not here: what
 * a secret looks like.
 */

/** Start and end of what is to be replaced. */
export type Span = readonly [start: number, end: number]

/** Of a value, looked at to tell whether it is one. */
const VALUE_LOOK = 512
const BLANKS_MAX = 32
/** `$TOKEN` in a script names a secret and does not tell it. */
const REFERENCE = /^\\?["']?\\?\$(?:\w+|\{[^}]*\}|\([^)]*\)?)\\?["']?$/
const WORDS_FOR_NOTHING =
  /^(?:true|false|yes|no|on|off|null|none|undefined|redacted|\[redacted:[0-9a-f]{8}\]|\*+|\.{3})$/i
/** What stands for a secret that was left out. */
const PLACEHOLDER = /^X+$/
/** What a pattern has where it doesn't care: `.*`, `(.+)`, `\S+`, `[^&]*`. */
const PATTERN = /^(?:\\?\()?(?:\.|\\[SwW]|\[\^?[^\]]{1,16}\])[*+]\??(?:\\?\))?\$?$/

export class SecretText {
  readonly text: string
  /** The text has blanks: it is a script or a sentence, in which references and several words can be told apart. */
  readonly script: boolean
  /** The text is known to be a command (`sh -c`), so that an assignment at its start is not all of it. */
  readonly commandString: boolean
  /** Where the value of `--flag=value` starts, 0 if the text is not of that form. */
  readonly valueStart: number
  readonly spans: Span[] = []
  /** Characters looked at, the scans by built-in search not counted. */
  steps = 0

  constructor(text: string, options: { commandString: boolean }) {
    this.text = text
    this.script = /\s/.test(text)
    this.commandString = options.commandString
    this.valueStart = /^--?[\w-]{1,64}=/.exec(text.slice(0, 67))?.[0].length ?? 0
  }

  /** What has the looks of a secret, wherever it stands. */
  addAlways(start: number, end: number): void {
    this.spans.push([start, end])
  }

  /** The value of something secret, unless it is only a word for nothing or a reference to a variable. */
  addValue(start: number, end: number): void {
    const value = this.text.slice(start, Math.min(end, start + VALUE_LOOK))
    if (end <= start || isHarmless(value) || (this.script && REFERENCE.test(value))) return
    this.spans.push([start, end])
  }

  /** The first position from `from` on that is not a character of `set`. */
  skip(from: number, set: RegExp): number {
    let i = from
    while (i < this.text.length && set.test(this.text.charAt(i))) i++
    this.steps += i - from + 1
    return i
  }

  /** The first position from `from` on that is no blank; looks at a few characters only. */
  skipBlanks(from: number): number {
    let i = from
    while (i < from + BLANKS_MAX && (this.text[i] === ' ' || this.text[i] === '\t')) i++
    return i
  }

  /** Position of the quote that closes, or the end of the text. A backslash hides the next character, but not in single quotes. */
  closingQuote(from: number, quote: string): number {
    const { text } = this
    let i = from
    while (i < text.length && text[i] !== quote) i += quote === '"' && text[i] === '\\' ? 2 : 1
    this.steps += i - from + 1
    return Math.min(i, text.length)
  }

  /** Only blanks stand between the start of a line and `at`. */
  indented(at: number): boolean {
    let i = at
    while (i > 0 && at - i < BLANKS_MAX && (this.text[i - 1] === ' ' || this.text[i - 1] === '\t')) i--
    return i < at && this.text[i - 1] === '\n'
  }
}

export function isHarmless(value: string): boolean {
  return WORDS_FOR_NOTHING.test(value) || PLACEHOLDER.test(value) || PATTERN.test(value)
}

export function isQuote(char: string | undefined): char is '"' | "'" {
  return char === '"' || char === "'"
}

/** An argument after a flag that is a flag itself, or `-` for stdin. */
export function looksLikeFlag(argument: string): boolean {
  return /^-(?:$|[A-Za-z](?:\s|$)|-[A-Za-z])/.test(argument)
}
