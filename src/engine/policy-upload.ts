/**
 * A big policy on its way to the sensor or the gateway, in parts that are answered before there are many of them. Guards against a deadlock of HTTP/2 over
 * one socket: Node reads nothing while it can't write, so two ends that both have more to say than the socket's buffers hold would wait
 * for each other for ever; they always may have, we never must.
 */
import type { CommandFailed } from './command-outcome.js'

/** Below this a policy is no message that could fill a buffer (some 200 KiB of a unix socket). */
export const PART_BYTES = 48 * 1024
const UNDERWAY_MAX = 2

export interface PolicyPart {
  readonly content: Uint8Array
  readonly offset: number
  readonly part: Uint8Array
  /** Bytes of all parts. */
  readonly total: number
}

export type SendPart<D> = (part: PolicyPart, done: (outcome: D | CommandFailed) => void) => void

/** `done` gets null when all of it is there, or the outcome of what failed; once. */
export function uploadPolicy<D extends { readonly ok: true }>(
  { content, bytes }: { content: Uint8Array; bytes: Uint8Array },
  send: SendPart<D>,
  done: (failed: CommandFailed | null) => void,
): void {
  let offset = 0
  let underway = 0
  let isOver = false
  const next = () => {
    while (!isOver && underway < UNDERWAY_MAX && offset < bytes.length) {
      const part = bytes.subarray(offset, offset + PART_BYTES)
      underway += 1
      send({ content, offset, part, total: bytes.length }, (outcome) => {
        underway -= 1
        if (isOver) return
        isOver = !outcome.ok || (underway === 0 && offset >= bytes.length)
        if (isOver) done(outcome.ok ? null : outcome)
        else next()
      })
      offset += part.length
    }
  }
  next()
}
