/**
 * Finds secrets that follow their name after a blank, in scripts: `--password value`, SQL's PASSWORD 'value', a .netrc. Guards that
 * the word "password" in prose takes nothing with it. Not here: short flags, which mean something else to each program
 * (secret-programs.ts).
 */
import { isSecretName } from './secret-names.js'
import { isQuote, looksLikeFlag, type SecretText } from './secret-text.js'

const BARE = /[^\s"'`;&|<>()]/

export function scanFlags(scan: SecretText): void {
  const { text } = scan
  const flag = /(?:^|[\s"'])--?([A-Za-z][\w-]{2,63})\s{1,8}/g
  for (let hit = flag.exec(text); hit !== null; hit = flag.exec(text)) {
    const from = flag.lastIndex
    flag.lastIndex = from - 1
    if (!isSecretName(hit[1] ?? '') || looksLikeFlag(text.slice(from, from + 4))) continue
    flag.lastIndex = Math.max(valueAt(scan, from), from)
  }
}

const ABOUT_SQL_USERS =
  /\b(?:(?:alter|create)\s{1,4}(?:\w{1,16}\s{1,4}){0,3}?(?:user|role|login|server)|set\s{1,4}password|grant)\s/i

/** ALTER USER x PASSWORD 'value', CREATE USER x IDENTIFIED BY 'value'. */
export function scanSql(scan: SecretText): void {
  const { text } = scan
  if (!ABOUT_SQL_USERS.test(text)) return
  const phrase = /\b(?:password|identified\s{1,4}by)(?:\s{1,4}for\s{1,4}\S{1,128})?\s{0,4}=?\s{0,4}\\?["']/gi
  for (let hit = phrase.exec(text); hit !== null; hit = phrase.exec(text)) {
    const start = phrase.lastIndex
    const end = scan.closingQuote(start, text.charAt(start - 1))
    scan.addValue(start, text[end - 1] === '\\' ? end - 1 : end)
    phrase.lastIndex = Math.max(start, end)
  }
}

/** A line break may be written as backslash-n, for printf. */
const NETRC = /\bmachine(?:\s|\\n){1,8}[^\s\\]{1,256}(?:\s|\\n){1,8}(?:login|password|account)\s/

/** machine h login u password value */
export function scanNetrc(scan: SecretText): void {
  const { text } = scan
  if (!NETRC.test(text)) return
  const phrase = /(?:\s|\\n)password\s{1,8}/g
  for (let hit = phrase.exec(text); hit !== null; hit = phrase.exec(text)) {
    const start = phrase.lastIndex
    const end = scan.skip(start, /[^\s"'\\]/)
    scan.addValue(start, end)
    phrase.lastIndex = end
  }
}

/** Returns where the value ends. */
function valueAt(scan: SecretText, from: number): number {
  const first = scan.text.charAt(from)
  const start = isQuote(first) ? from + 1 : from
  const end = isQuote(first) ? scan.closingQuote(start, first) : scan.skip(start, BARE)
  scan.addValue(start, end)
  return end
}
