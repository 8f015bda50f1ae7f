/**
 * Splits a script into commands and words as far as finding secrets needs it, and looks for them in each command. Guards that a text
 * which is no shell's costs no more than one that is. Not here: what the words mean (secret-commands.ts), expansion, and all
 * that makes a shell exact: it is enough to know where a word starts and ends.
 */
import { scanCommand } from './secret-commands.js'
import { isQuote, type SecretText, type Span } from './secret-text.js'

/** `sh -c "ssh host 'sh -c …'"`: how deep a quoted word is looked into as a script of its own. */
const DEPTH_MAX = 3
/** Commands within commands: $( … ), ( … ). Deeper ones are read as further commands of the innermost. */
const NESTED_MAX = 8

/** @param range of the text that is a script */
export function scanShell(scan: SecretText, range: Span = [0, scan.text.length], depth = 0): void {
  for (const [start, end] of new ShellWords(scan, range).run()) {
    if (depth < DEPTH_MAX) scanShell(scan, [start, end], depth + 1)
  }
}

class ShellWords {
  private readonly scan: SecretText
  private readonly end: number
  private at: number
  private words: Span[] = []
  private readonly outer: Span[][] = []
  private wordStart = -1
  /** The word is the name of a file that the shell opens. */
  private redirected = false
  /** Quoted words with blanks in them: scripts in the script. */
  private readonly quoted: Span[] = []
  /** Quotes that are not closed any more from here on. */
  private readonly unclosed = new Set<string>()

  constructor(scan: SecretText, range: Span) {
    this.scan = scan
    this.at = range[0]
    this.end = range[1]
  }

  run(): Span[] {
    while (this.at < this.end) this.step()
    this.endWord()
    do this.endCommand()
    while (this.close())
    return this.quoted
  }

  private step(): void {
    const { text } = this.scan
    const char = text.charAt(this.at)
    this.scan.steps++
    if (char === '\\') {
      if (text[this.at + 1] === '\n') this.endWord()
      else this.startWord()
      this.at++
    } else if (isQuote(char)) {
      this.startWord()
      this.at = this.closing(char)
    } else if (char === ' ' || char === '\t' || char === '\r' || char === '`') {
      this.endWord()
    } else if (char === '<' || char === '>') {
      this.endWord()
      this.redirected = true
    } else if (char === '\n' || char === ';' || char === '|' || char === '&') {
      this.endWord()
      this.endCommand()
    } else if (char === '(') {
      this.endWord()
      if (this.outer.length < NESTED_MAX) {
        this.outer.push(this.words)
        this.words = []
      } else {
        this.endCommand()
      }
    } else if (char === ')') {
      this.endWord()
      this.endCommand()
      this.close()
    } else {
      this.startWord()
    }
    this.at++
  }

  private startWord(): void {
    if (this.wordStart < 0) this.wordStart = this.at
  }

  private endWord(): void {
    const { text } = this.scan
    let start = this.wordStart
    let end = Math.min(this.at, this.end)
    if (start < 0) return
    this.wordStart = -1
    const quote = text.charAt(start)
    if (isQuote(quote) && end - start > 1 && text[end - 1] === quote && text.indexOf(quote, start + 1) === end - 1) {
      start++
      end--
      if (/\s/.test(text.slice(start, end))) this.quoted.push([start, end])
    }
    if (!this.redirected) this.words.push([start, end])
    this.redirected = false
  }

  private endCommand(): void {
    const { words, scan } = this
    this.words = []
    this.redirected = false
    if (words.length < 2) return
    const texts = words.map(([start, end]) => scan.text.slice(start, end))
    scanCommand(texts, (word, [start, end]) => {
      const from = words[word]?.[0] ?? 0
      scan.addValue(from + start, from + end)
    })
  }

  /** Back to the command around the one that has ended. */
  private close(): boolean {
    const outer = this.outer.pop()
    if (outer === undefined) return false
    this.words = outer
    return true
  }

  /** Position of the quote that closes, or of this one if none does: then it is a character like others. */
  private closing(quote: string): number {
    if (this.unclosed.has(quote)) return this.at
    const end = this.scan.closingQuote(this.at + 1, quote)
    if (end < this.end) return end
    this.unclosed.add(quote)
    return this.at
  }
}
