/** Amounts as people write them in a policy: rates, sizes, times and counts. Exact: what can't be a whole number is refused. */

export interface Rate {
  /** Events, or bytes. */
  readonly count: number
  readonly perMs: number
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  sec: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const BINARY: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }
const DECIMAL: Readonly<Record<string, number>> = { '': 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9 }
const NUMBER = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/

/** `20/s`, `60/min`; null for anything else. */
export function parseRate(text: string): Rate | null {
  return rateOf(text, parseCount)
}

/** `5MiB/s`. */
export function parseByteRate(text: string): Rate | null {
  return rateOf(text, parseBytes)
}

/** `4GiB`, `512MiB`, `100B`: bytes. A bare number is refused, because nobody knows of what. */
export function parseBytes(text: string): number | null {
  return scaled(text, BINARY)
}

/** `5M`, `200k`, `512`. */
export function parseCount(text: string): number | null {
  return scaled(text, DECIMAL)
}

/** `2h`, `30s`, `500ms`: milliseconds. */
export function parseDuration(text: string): number | null {
  return scaled(text, UNIT_MS)
}

function rateOf(text: string, parseAmount: (text: string) => number | null): Rate | null {
  const [amount, unit, ...more] = text.split('/')
  const perMs = UNIT_MS[unit ?? '']
  const count = parseAmount(amount ?? '')
  return more.length > 0 || perMs === undefined || count === null ? null : { count, perMs }
}

function scaled(text: string, units: Readonly<Record<string, number>>): number | null {
  const [, digits, unit] = NUMBER.exec(text) ?? []
  if (digits === undefined || unit === undefined || !Object.hasOwn(units, unit)) return null
  const value = Number(digits) * (units[unit] ?? Number.NaN)
  return Number.isSafeInteger(value) && value > 0 ? value : null
}
