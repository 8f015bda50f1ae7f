/**
 * Finds the values of secret names: NAME=value, "name": "value", Name: value, ['NAME']='value', ?name=value. Guards that the value is
 * taken whole and its surroundings stay; where they can't be told apart it takes more, not less. Not here: which names are
 * secret (secret-names.ts), values after a blank (secret-phrases.ts, secret-commands.ts).
 */
import { isSecretName, isSecretQueryName } from './secret-names.js'
import { type Substitution, substitutionAt, substitutions, unescapedIndexOf } from './secret-sed.js'
import { isQuote, type SecretText } from './secret-text.js'

const NAME_CHARS_MAX = 64
const NAME_CHAR = /[A-Za-z0-9_.-]/
const AUTHORIZATION = /^(?:proxy-)?authorization$/i
const COOKIE = /^(?:set-)?cookie$/i
/** Of the text after `Cookie:`, in which a cookie must begin. */
const COOKIE_LOOK = 128
/** Ends of a bare word in a script. */
const BARE = /[^\s"'`;&|<>()]/
const BARE_IN_QUOTES = /[^\s"'`;&|<>()\\]/

interface Key {
  readonly name: string
  readonly start: number
  readonly quoted: boolean
  /** A space stands before the delimiter. */
  readonly spaced: boolean
  /** It is written as a flag: `--name`, `-name`, or `/name` at the start of a word. */
  readonly flagged: boolean
}

export function scanAssignments(scan: SecretText): void {
  const { text } = scan
  const sed = substitutions(text).reverse()
  let quote = ''
  let i = 0
  while (i < text.length) {
    const char = text.charAt(i)
    scan.steps++
    if (char === '\\') {
      i += 2
      continue
    }
    if (scan.script && isQuote(char)) {
      if (quote === '') quote = char
      else if (quote === char) quote = ''
    } else if (char === '=' || char === ':') {
      const end = assignment(scan, i, quote, substitutionAt(sed, i))
      i = Math.max(i, end)
    }
    i++
  }
}

/** The name that ends before `at`. */
function keyBefore(scan: SecretText, at: number): Key {
  const { text } = scan
  let end = at
  const spaced = text[end - 1] === ' '
  if (spaced) end--
  if (text[end - 1] === ']' && isQuote(text[end - 2])) end--
  const quoted = isQuote(text[end - 1])
  if (quoted) end -= text[end - 2] === '\\' ? 2 : 1
  let start = end
  while (start > 0 && end - start < NAME_CHARS_MAX && NAME_CHAR.test(text.charAt(start - 1))) start--
  scan.steps += end - start + 1
  const name = text.slice(start, end)
  const flagged = name.startsWith('-') || isSlashed(text, start)
  return { name: name.replace(/^-+/, ''), start, quoted, spaced, flagged }
}

/** `/name`, as programs that come from elsewhere have their flags; `a/name` and `/a/name` are paths. */
function isSlashed(text: string, start: number): boolean {
  return text[start - 1] === '/' && (start === 1 || /[\s"']/.test(text.charAt(start - 2)))
}

/** Returns the last position that it used up, -1 if there is nothing secret at the delimiter `at`. */
function assignment(scan: SecretText, at: number, quote: string, sed: Substitution | null): number {
  const { text } = scan
  const key = keyBefore(scan, at)
  if (key.name.length < 2) return -1
  const next = text[at + 1]
  if (text[at] === ':' && AUTHORIZATION.test(key.name)) return restOfHeader(scan, at + 1, key)
  if (text[at] === ':' && COOKIE.test(key.name)) return cookie(scan, at, key)
  const inQuery = text[at] === '=' && /[?&]/.test(text.charAt(key.start - 1))
  if (!(inQuery ? isSecretQueryName(key.name) : key.name.length > 2 && isSecretName(key.name))) return -1
  if (next === undefined) return -1
  if (text[at] === ':' && next !== '=') {
    if (next === ':' || next === '/') return -1
    if (key.quoted) return value(scan, { from: scan.skipBlanks(at + 1), key, quote, json: true })
    return key.flagged && next !== ' ' ? value(scan, { from: at + 1, key, quote, json: false }) : header(scan, at, key)
  }
  if (next === '=' && text[at] === '=') return -1
  let from = text[at] === ':' ? at + 2 : at + 1
  if (sed !== null) return inSubstitution(scan, from, sed)
  if (key.spaced || text[from] === ' ') {
    from = scan.skipBlanks(from)
    if (!isQuote(text[from])) return -1
  }
  return value(scan, { from, key, quote, json: false })
}

/** s/token=OLD/token=NEW/: what is looked for stays, what is put in its place may be the secret. */
function inSubstitution(scan: SecretText, from: number, sed: Substitution): number {
  const middle = from <= sed.middle ? sed.middle : sed.end
  const delimiter = unescapedIndexOf(scan.text, sed.delimiter, from)
  const end = Math.min(delimiter < 0 ? middle : delimiter, middle)
  if (from > sed.middle) scan.addValue(from, end)
  return end
}

/** `Name: value` that is a whole argument, a whole quoted string or a line; a value of several words is prose. */
function header(scan: SecretText, at: number, key: Key): number {
  const { text } = scan
  const before = text.charAt(key.start - 1)
  if (!(isWhole(scan, key) || scan.indented(key.start)) || text[at + 1] !== ' ') return -1
  const from = scan.skipBlanks(at + 1)
  // The quote that is open ends here: `echo "Password: "`.
  if (isQuote(before) && text[from] === before) return -1
  if (isQuote(text[from])) return value(scan, { from, key, quote: '', json: false })
  const end = scan.skip(from, isQuote(before) ? /[^\s"']/ : /\S/)
  const after = text[end]
  if (after !== undefined && after !== '\n' && after !== '\r' && after !== before) return -1
  scan.addValue(from, end)
  return end - 1
}

/** The name begins the argument, a quoted string or a line. */
function isWhole(scan: SecretText, key: Key): boolean {
  const before = scan.text.charAt(key.start - 1)
  return key.start === 0 || key.start === scan.valueStart || before === '\n' || isQuote(before)
}

function value(scan: SecretText, options: { from: number; key: Key; quote: string; json: boolean }): number {
  const { text } = scan
  const { from, key, quote, json } = options
  const first = text.charAt(from)
  if (first === '\\' && isQuote(text[from + 1])) {
    const closing = text.indexOf(text.slice(from, from + 2), from + 2)
    const end = closing < 0 ? text.length : closing
    scan.addValue(from + 2, end)
    return end + 1
  }
  if (isQuote(first)) {
    // The quote that is open ends here: `"password="$PW`.
    if (first === quote && !json) return -1
    const end = scan.closingQuote(from + 1, first)
    scan.addValue(from + 1, end)
    return end
  }
  if (key.name.toLowerCase() === 'secret' && /^(?:id|type|src|source|env)=/.test(text.slice(from, from + 8))) return -1
  if (scan.script && /^[A-Za-z_][\w.]{0,127}[([]/.test(text.slice(from, from + 130))) return -1
  if (scan.script && /^\$[({]/.test(text.slice(from, from + 2))) return -1
  const end = bareEnd(scan, from, { key, quote, json })
  scan.addValue(from, end)
  return end - 1
}

function bareEnd(scan: SecretText, from: number, context: { key: Key; quote: string; json: boolean }): number {
  const { text } = scan
  const { key, quote, json } = context
  if (json) return scan.skip(from, /[^,}\]\s"']/)
  if (!scan.commandString && (key.start === 0 || key.start === scan.valueStart)) {
    // The argument is one assignment: all of it is the value, but for further fields of a form.
    const field = /[&,][\w.%[\]-]{1,64}=/g
    field.lastIndex = from
    return field.exec(text)?.index ?? text.length
  }
  if (quote !== '') return scan.skip(from, BARE_IN_QUOTES)
  let end = scan.skip(from, BARE)
  // A word of the shell goes on through quotes: abc"d e"f.
  while (scan.script && isQuote(text[end])) {
    end = scan.skip(scan.closingQuote(end + 1, text.charAt(end)) + 1, BARE)
  }
  return Math.min(end, text.length)
}

function cookie(scan: SecretText, at: number, key: Key): number {
  const begin = scan.text.slice(at + 1, at + 1 + COOKIE_LOOK)
  return isWhole(scan, key) && /^\s*[\w.%-]+=/.test(begin) ? restOfHeader(scan, at + 1, key) : -1
}

/** Keeps the scheme (Bearer, Basic, …), takes the rest of the string or line. */
function restOfHeader(scan: SecretText, after: number, key: Key): number {
  const { text } = scan
  let from = scan.skipBlanks(after)
  const before = text.charAt(key.start - 1)
  let end: number
  if (text[from] === '\\' && isQuote(text[from + 1])) {
    const closing = text.indexOf(text.slice(from, from + 2), from + 2)
    end = closing < 0 ? text.length : closing
    from += 2
  } else if (isQuote(before) && !key.quoted) {
    end = scan.closingQuote(from, before)
  } else if (isQuote(text[from])) {
    end = scan.closingQuote(from + 1, text.charAt(from))
    from++
  } else {
    end = scan.skip(from, key.start === 0 || key.start === scan.valueStart ? /[^\r\n]/ : /[^\r\n"']/)
  }
  const scheme = /^[A-Za-z][\w-]{0,31}\s+/.exec(text.slice(from, Math.min(end, from + 64)))
  scan.addValue(from + (scheme?.[0].length ?? 0), end)
  return end - 1
}
