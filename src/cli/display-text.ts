/**
 * Text that is safe and plain to show on a terminal or in a log. Guards against terminal injection: whatever a sandbox put in an
 * argument, a path or a name, no control, format or invisible character leaves this file. It does not decide what to show.
 *
 * Two inputs: *byte text* (paths, arguments: a backslash is doubled, a byte that is not UTF-8 is `\xHH`; see proto/text.ts) and
 * plain text (names, reasons).
 */

/**
 * Controls, format characters (bidi among them), surrogates, unassigned and private use (`C`), line and paragraph separators,
 * spaces that look like a space and are none, and everything a renderer is free to draw as nothing (`DI`: zero-width, fillers,
 * variation selectors).
 */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}\p{DI}]|(?! )\p{Zs}/gu
const UNSAFE_ONCE = new RegExp(UNSAFE.source, 'u')
/** A whole word that bash takes as it is. */
const BARE_WORD = /^[\p{L}\p{N}\p{M}_@%+=:,./-]+$/u
const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '\u0007': '\\a',
  '\b': '\\b',
  '\t': '\\t',
  '\n': '\\n',
  '\v': '\\v',
  '\f': '\\f',
  '\r': '\\r',
  '\u001b': '\\e',
}

/** The escape that bash's $'…' reads back as this character. */
function escapeCharacter(character: string): string {
  const short = SHORT_ESCAPES[character]
  if (short !== undefined) return short
  const code = character.codePointAt(0) ?? 0
  if (code < 0x80) return `\\x${code.toString(16).padStart(2, '0')}`
  if (code < 0x1_0000) return `\\u${code.toString(16).padStart(4, '0')}`
  return `\\U${code.toString(16).padStart(8, '0')}`
}

/** Plain text with every unsafe character written as an escape; backslashes stay as they are. */
export function neutralise(text: string): string {
  return text.replace(UNSAFE, escapeCharacter)
}

/** `neutralise` for a column of a line: no spaces either, and never empty, so that fields can be counted. */
export function neutraliseWord(text: string): string {
  return text === '' ? '-' : neutralise(text).replaceAll(' ', '\\x20')
}

/**
 * Byte text as one bash word: pasted into bash it gives the same bytes again. Bare where that is possible, then '…', then "…",
 * and $'…' as soon as something must be escaped.
 */
export function shellWord(byteText: string): string {
  const hasInvalidByte = /(?:^|[^\\])(?:\\\\)*\\x/.test(byteText)
  const text = hasInvalidByte ? byteText : byteText.replaceAll('\\\\', '\\')
  if (!hasInvalidByte && !UNSAFE_ONCE.test(text)) {
    if (BARE_WORD.test(text)) return text
    if (!text.includes("'")) return `'${text}'`
    if (!/["$`\\!]/.test(text)) return `"${text}"`
  }
  // Byte text is already escaped the way $'…' wants it: \\ and \xHH mean there what they mean here.
  return `$'${byteText.replaceAll("'", "\\'").replace(UNSAFE, escapeCharacter)}'`
}

/** A command line that can be pasted into bash. */
export function shellLine(args: readonly string[]): string {
  return args.map(shellWord).join(' ')
}

/** `12 ms`, `3.4 s`, `2 min 5 s`, `3 h 4 min`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`
  const seconds = Math.floor(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}

/** Cuts at `columns` characters, the last of them an ellipsis. Counts code points: a wide character may still wrap. */
export function cutAt(text: string, columns: number): string {
  if (text.length <= columns) return text
  const characters = Array.from(text)
  return characters.length <= columns ? text : `${characters.slice(0, Math.max(0, columns - 1)).join('')}…`
}

/** JSON text with every unsafe character escaped: the same value, safe to show. */
export function neutraliseJson(json: string): string {
  return json.replace(UNSAFE, (character) =>
    Array.from(
      { length: character.length },
      (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
    ).join(''),
  )
}
