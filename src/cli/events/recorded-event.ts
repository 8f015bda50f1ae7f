/**
 * One line of a recording as an event that can be shown. Guards the views behind it: a file is anybody's, and a field of the wrong
 * shape is a bad line here, never a crash there. Fields that are not shown are not looked at.
 */
import { z } from 'zod'
import { SluiceError } from '../../base/error.js'
import { parseEventLine } from '../../proto/event-line.js'
import type { ShownEvent } from '../shown-event.js'

const count = z.string().regex(/^\d{1,20}$/, 'is not a string of digits')
const whole = z.int().nonnegative()
const verdict = z.object({ decision: z.string(), rule: z.string() })
const policyRef = z.object({ name: z.string(), mode: z.string() })
const tally = z.object({ name: z.string(), count, failed: count })

const summary = z.object({
  ...{ durationMs: count, exitCode: whole, signal: whole, events: count, lost: count, complete: z.boolean() },
  ...{ processes: count, execs: count, filesOpened: count, filesFailed: count, filesWritten: count, connects: count },
  ...{ killedAtEnd: whole, programs: z.array(tally), writtenPaths: z.array(tally), destinations: z.array(tally) },
  more: count,
})

const shown = z.object({
  time: z.string(),
  sandbox: z.object({ id: z.string(), name: z.string() }),
  sessionId: z.string(),
  process: z
    .object({
      execId: z.string(),
      pid: whole,
      exe: z.string(),
      args: z.array(z.string()),
      argsTruncated: z.boolean(),
    })
    .exactOptional(),
  exec: z.object({ script: z.string().exactOptional() }).exactOptional(),
  exit: z.object({ code: whole, signal: whole, runtimeMs: count }).exactOptional(),
  fileOpen: z
    .object({ path: z.string(), access: z.string(), created: z.boolean(), errno: whole, verdict, count })
    .exactOptional(),
  stdin: z
    .object({ text: z.string(), originalBytes: count, truncated: z.boolean(), unshown: z.boolean().exactOptional() })
    .exactOptional(),
  execFailed: z.object({ path: z.string(), errno: whole }).exactOptional(),
  fileChange: z
    .object({ op: z.string(), path: z.string(), newPath: z.string(), errno: whole, verdict })
    .exactOptional(),
  connect: z
    .object({
      ...{ protocol: z.string(), address: z.string(), port: whole, hostname: z.string(), errno: whole, verdict },
      ...{ via: z.string(), count: count.exactOptional() },
    })
    .exactOptional(),
  policyChanged: z
    .object({ from: policyRef.exactOptional(), to: policyRef.exactOptional(), by: z.string() })
    .exactOptional(),
  limitHit: z.object({ what: z.string(), refused: count, windowMs: count, verdict }).exactOptional(),
  cgroupChange: z.object({ op: z.string(), path: z.string(), actorPid: whole }).exactOptional(),
  quarantine: z.object({ cause: z.string(), pid: whole, stopped: z.boolean() }).exactOptional(),
  checkpoint: z.object({ sessionId: z.string(), records: count, isSeal: z.boolean() }).exactOptional(),
  connectionClosed: z
    .object({
      ...{ bytesSent: count, bytesReceived: count, durationMs: count, protocol: z.string(), address: z.string() },
      ...{ port: whole, localPort: whole, incoming: z.boolean() },
    })
    .exactOptional(),
  dns: z
    .object({ name: z.string(), type: z.string(), rcode: z.string(), answers: z.array(z.string()), verdict })
    .exactOptional(),
  toolCall: z
    .object({
      ...{ class: z.string(), command: z.string(), exitCode: whole, signal: whole, ended: z.boolean() },
      ...{ processes: whole, filesChanged: z.array(z.string()) },
    })
    .exactOptional(),
  detection: z.object({ detector: z.string(), severity: z.string(), reason: z.string() }).exactOptional(),
  response: z
    .object({
      ...{ action: z.string(), trigger: z.string(), state: z.string(), observed: z.string(), undoneBy: z.string() },
      until: z.string().nullable(),
    })
    .exactOptional(),
  listen: z.object({ protocol: z.string(), address: z.string(), port: whole, errno: whole, verdict }).exactOptional(),
  gap: z
    .object({
      ...{ stage: z.string(), kind: z.string(), count, exact: z.boolean(), cause: z.string() },
      countMax: count.exactOptional(),
    })
    .exactOptional(),
  sandboxStarted: z
    .object({
      ...{ policyName: z.string(), mode: z.string(), degraded: z.array(z.string()), user: z.string() },
      ...{ command: z.array(z.string()), workdir: z.string() },
    })
    .exactOptional(),
  sandboxEnded: z.object({ summary }).exactOptional(),
})

/** Throws PROTOCOL with what is wrong with the line. */
export function readRecordedEvent(line: string): ShownEvent {
  const parsed = shown.safeParse(parseEventLine(line))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new SluiceError('PROTOCOL', `not an event: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'wrong shape'}`)
}
