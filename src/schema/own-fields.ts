/** What other schemas have no place for, as our JSON has it: with it nothing of an event is lost, whatever it is written as. */
import type { EventJson, EventKind } from '../proto/event-json.js'

/** Of the process only what no schema has a place for: its arguments are long. */
export function ownFields(kind: EventKind, event: EventJson): Record<string, unknown> {
  const { schema, source, seq, sessionId, toolCallId, sandbox, process: by } = event
  const { tid, gid, argsBytes, argsTruncated, spawnerExecId } = by ?? {}
  return {
    ...{ schema, source, seq, sessionId, toolCallId, sandbox, kind, [kind]: Reflect.get(event, kind) },
    ...(by === undefined ? {} : { process: { tid, gid, argsBytes, argsTruncated, spawnerExecId } }),
  }
}
