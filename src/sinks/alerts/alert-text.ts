/**
 * An alert in words. Guards that what a program inside a sandbox wrote, and a detection quotes, stays text of one line: no control characters, none that
 * change the order of what is read. Not here: what the receiver's own format needs.
 */
import type { ResponseJson } from '../../proto/event-json.js'
import type { Alert } from './alert.js'

const SECOND_MS = 1_000

export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').replace(/\p{Cf}/gu, '')
}

export function sandboxName({ sandbox: { name, id } }: Alert): string {
  return plain(name || id)
}

/** What was found where. */
export function headline(alert: Alert): string {
  const where = sandboxName(alert)
  return plain(alert.detection.title) + (where === '' ? '' : ` in ${where}`)
}

/** "observed 45, baseline 3.2, threshold 4, window 10 s" */
export function numbers({ detection: { measured, baseline, threshold, windowMs } }: Alert): string {
  const window = Number(windowMs) / SECOND_MS
  return [
    `observed ${rounded(measured)}`,
    ...(baseline === null ? [] : [`baseline ${rounded(baseline)}`]),
    ...(threshold === 0 ? [] : [`threshold ${rounded(threshold)}`]),
    ...(window === 0 ? [] : [`window ${rounded(window)} s`]),
  ].join(', ')
}

/** "throttle applied until 2026-…: …" of each; else that nothing was. */
export function whatWasDone({ done }: Alert): string {
  return done.length === 0 ? 'nothing but this alert' : done.map(oneDone).join('; ')
}

/** "3 times, from … to …" */
export function howOften({ count, firstMs, lastMs }: Alert): string {
  return count === 1 ? `once, at ${instant(firstMs)}` : `${count} times, from ${instant(firstMs)} to ${instant(lastMs)}`
}

export function instant(ms: number): string {
  return new Date(ms).toISOString()
}

function oneDone({ action, state, observed, undoneBy, until }: ResponseJson): string {
  const end = state === 'APPLIED' && until !== null ? ` until ${until.slice(0, 19)}Z` : ''
  const by = undoneBy === '' ? '' : ` (${undoneBy})`
  return plain(`${action.toLowerCase()} ${state.toLowerCase()}${end}${by}${observed === '' ? '' : `: ${observed}`}`)
}

function rounded(value: number): string {
  return String(Math.round(value * 10) / 10)
}
