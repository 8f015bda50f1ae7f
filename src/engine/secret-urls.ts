/**
 * Finds the secret before the host of a URL: scheme://user:password@host, https://token@host. Guards that a plain user name stays.
 * Not here: the query (secret-assignments.ts), webhook paths (secret-formats.ts).
 */
import type { SecretText } from './secret-text.js'

/** User names are shorter than tokens. */
const LONE_TOKEN_MIN = 16
/** What stands where the password would be when the user name is the token. */
const NO_PASSWORD = /^(?:|x-oauth-basic)$/

export function scanUrls(scan: SecretText): void {
  const { text } = scan
  for (let at = text.indexOf('://'); at >= 0; ) {
    const start = at + 3
    const end = scan.skip(start, /[^/?#\s"'<>`\\]/)
    const last = text.slice(start, end).lastIndexOf('@')
    if (last > 0)
      userinfo(scan, { start, end: start + last, web: /https?$/i.test(text.slice(Math.max(0, at - 5), at)) })
    at = text.indexOf('://', end)
  }
}

function userinfo(scan: SecretText, part: { start: number; end: number; web: boolean }): void {
  const { start, end, web } = part
  const whole = scan.text.slice(start, end)
  const colon = whole.indexOf(':')
  const user = colon < 0 ? whole : whole.slice(0, colon)
  const lone = colon < 0 || NO_PASSWORD.test(whole.slice(colon + 1))
  if (!lone) scan.addValue(start + colon + 1, end)
  // With %40 it is a mail address, and so a name.
  else if (web && user.length >= LONE_TOKEN_MIN && !/%40/.test(user)) scan.addValue(start, start + user.length)
}
