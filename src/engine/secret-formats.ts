/**
 * Finds secrets by their looks alone: keys with a known prefix, JSON web tokens, private key blocks, webhook addresses. Guards that
 * words which only begin like one stay (`sk-learn-…`). Not here: secrets that need a name or a flag beside them.
 */
import type { SecretText } from './secret-text.js'

const KEY_BLOCK = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/g
const KEY_BLOCK_END = '-----END'

const BASE64URL = /[A-Za-z0-9_-]/
const ALNUM = /[A-Za-z0-9]/
const DOTTED = /[A-Za-z0-9_.-]/
const JWT_PREFIX = 'eyJ'
const JWT_PART_MIN = 10
/** Characters looked at before a candidate is believed. */
const FORMAT_LOOK = 64

interface Format {
  /** Whole texts, split by blanks. */
  readonly prefixes: string
  /** After the prefix. */
  readonly chars: RegExp
  readonly min: number
  /** One of these must be among the first: words joined by dashes are no key. */
  readonly needs?: RegExp
  /** The prefix is no part of the secret. */
  readonly keepsPrefix?: true
}

const FORMATS: readonly Format[] = [
  { prefixes: 'github_pat_', chars: /\w/, min: 20 },
  { prefixes: 'ghp_ gho_ ghu_ ghs_ ghr_', chars: ALNUM, min: 20 },
  { prefixes: 'sk_live_ sk_test_ rk_live_ rk_test_ whsec_', chars: ALNUM, min: 10 },
  { prefixes: 'sk-', chars: BASE64URL, min: 20, needs: /[A-Z0-9]/ },
  { prefixes: 'AKIA ASIA', chars: /[A-Z0-9]/, min: 16 },
  { prefixes: 'xoxa- xoxb- xoxo- xoxp- xoxr- xoxs- xapp-', chars: /[A-Za-z0-9-]/, min: 10, needs: /[0-9]/ },
  { prefixes: 'glpat-', chars: BASE64URL, min: 20 },
  { prefixes: 'npm_', chars: ALNUM, min: 36 },
  { prefixes: 'AIza', chars: BASE64URL, min: 35 },
  { prefixes: 'hf_', chars: ALNUM, min: 30 },
  { prefixes: 'gsk_ shpat_ dckr_pat_ r8_', chars: BASE64URL, min: 24, needs: /[A-Z0-9]/ },
  { prefixes: 'dop_v1_ doo_v1_ dor_v1_', chars: /[a-f0-9]/, min: 32 },
  { prefixes: 'pypi-', chars: BASE64URL, min: 50, needs: /[A-Z]/ },
  { prefixes: 'SG.', chars: DOTTED, min: 40 },
  { prefixes: 'ya29.', chars: DOTTED, min: 20 },
  { prefixes: 'hvs. hvb.', chars: BASE64URL, min: 20, needs: /[A-Z0-9]/ },
  { prefixes: 'hooks.slack.com/services/', chars: /[A-Za-z0-9/_-]/, min: 16, keepsPrefix: true },
  { prefixes: 'discord.com/api/webhooks/', chars: /[A-Za-z0-9/_-]/, min: 24, keepsPrefix: true },
  { prefixes: 'api.telegram.org/bot', chars: /[A-Za-z0-9:_-]/, min: 24, keepsPrefix: true },
]
const BY_PREFIX: ReadonlyMap<string, Format> = new Map(
  FORMATS.flatMap((format) => format.prefixes.split(' ').map((prefix) => [prefix, format] as const)),
)

/** For tests of whole arguments: without a match there is no key of a known form. */
export const FORMAT_PREFIX_SOURCE = [...BY_PREFIX.keys(), JWT_PREFIX]
  .map((prefix) => prefix.replace(/\./g, '\\.'))
  .join('|')

export function scanKeyBlocks(scan: SecretText): void {
  const { text } = scan
  for (let hit = nextMatch(KEY_BLOCK, text, 0); hit !== null; ) {
    const body = hit.index + hit[0].length
    const footer = text.indexOf(KEY_BLOCK_END, body)
    const dashes = footer < 0 ? -1 : text.indexOf('-----', footer + KEY_BLOCK_END.length)
    const end = dashes < 0 ? text.length : dashes + 5
    scan.addAlways(hit.index, end)
    hit = nextMatch(KEY_BLOCK, text, end)
  }
}

export function scanFormats(scan: SecretText): void {
  const { text } = scan
  const prefixes = new RegExp(FORMAT_PREFIX_SOURCE, 'g')
  for (let hit = prefixes.exec(text); hit !== null; hit = prefixes.exec(text)) {
    const [prefix] = hit
    const before = text.charAt(hit.index - 1)
    const body = hit.index + prefix.length
    const format = BY_PREFIX.get(prefix)
    if (hit.index > 0 && (format === undefined ? BASE64URL : ALNUM).test(before)) continue
    const end = format === undefined ? jwtEnd(scan, hit.index) : formatEnd(scan, body, format)
    if (end === null) continue
    scan.addAlways(format?.keepsPrefix ? body : hit.index, end)
    prefixes.lastIndex = end
  }
}

function formatEnd(scan: SecretText, body: number, format: Format): number | null {
  const head = scan.text.slice(body, body + FORMAT_LOOK)
  let length = 0
  while (length < head.length && format.chars.test(head.charAt(length))) length++
  scan.steps += length + 1
  if (length < format.min || (format.needs !== undefined && !format.needs.test(head.slice(0, length)))) return null
  return scan.skip(body + length, format.chars)
}

/** header.payload.signature, and what other parts there are. A candidate starts a run, so no run is looked at twice. */
function jwtEnd(scan: SecretText, start: number): number | null {
  const header = scan.skip(start, BASE64URL)
  if (header - start < JWT_PART_MIN || scan.text[header] !== '.') return null
  const payload = scan.skip(header + 1, BASE64URL)
  if (payload - header <= JWT_PART_MIN || scan.text[payload] !== '.') return null
  return scan.skip(payload + 1, DOTTED)
}

function nextMatch(pattern: RegExp, text: string, from: number): RegExpExecArray | null {
  pattern.lastIndex = from
  return pattern.exec(text)
}
