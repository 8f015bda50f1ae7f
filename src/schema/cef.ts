/**
 * Events as lines of the Common Event Format (CEF:0, revision 25), the payload that many SIEMs take over syslog. Guards that a line stays one line
 * and that no text of a sandbox ends a field or begins another: separators are escaped as CEF has it, other control characters as our JSON's
 * texts have bytes (`\xHH`). The whole kind is in `SluiceSluiceEvent`, so that what CEF has no key for is not lost. Not here: syslog around it.
 */
import { basename } from 'node:path'
import { type EventJson, type EventKind, eventKind, verdictOf } from '../proto/event-json.js'
import { CEF_KINDS, type CefKind, type CefValue } from './cef-kinds.js'
import { commandLine, unixMs } from './ocsf-objects.js'

export const CEF_VERSION = 0

/** What neither syslog nor a line can hold as it is. A line end has an escape of CEF's own. */
const CONTROL = /(?![\n\r])[\p{Cc}\u2028\u2029]/gu
/** Half a character is none in UTF-8. */
const LONE = /\p{Surrogate}/gu
const HEADER_CONTROL = /[\p{Cc}\u2028\u2029]+/gu

/** @param productVersion ours */
export function cefOf(event: EventJson, productVersion: string): string {
  const kind = eventKind(event)
  const { id, name, severity, fields } = mapKind(kind, event)
  const header = ['Sluice', 'Sluice', productVersion, id, name, String(severity)].map(cefHeader).join('|')
  const extension = Object.entries({
    ...common(event),
    ...fields,
    SluiceSluiceEvent: oneLineJson(Reflect.get(event, kind)),
  })
    .filter(([, value]) => value !== '' && value !== null)
    .map(([key, value]) => `${key}=${cefValue(String(value))}`)
  return `CEF:${CEF_VERSION}|${header}|${extension.join(' ')}`
}

/** A field of the header: one line by its form. */
export function cefHeader(text: string): string {
  return text.replace(LONE, '\ufffd').replace(HEADER_CONTROL, ' ').replace(/[\\|]/g, '\\$&')
}

/** A value of the extension. */
export function cefValue(text: string): string {
  return text
    .replace(LONE, '\ufffd')
    .replace(CONTROL, (character) => Buffer.from(character).toString('hex').replace(/../g, '\\x$&'))
    .replace(/[\\=]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
}

/** JSON escapes most control characters itself. */
function oneLineJson(value: unknown): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  return JSON.stringify(value).replace(CONTROL, escaped)
}

function mapKind(kind: EventKind, event: EventJson): CefKind {
  const map = CEF_KINDS[kind] as (what: unknown, event: EventJson) => CefKind
  return map(Reflect.get(event, kind), event)
}

function common(event: EventJson): Record<string, CefValue> {
  const { node, process, sandbox, sessionId, toolCallId } = event
  const verdict = verdictOf(event)
  const decided = verdict === null || verdict.decision === 'UNSPECIFIED' ? {} : { act: verdict.decision }
  const ruled = verdict === null ? {} : { reason: verdict.reason, ...custom('cs5', 'rule', verdict.rule) }
  return {
    ...{ rt: unixMs(event.time) ?? 0, externalId: event.uid, dvchost: node.name, deviceExternalId: node.bootId },
    ...(process === undefined
      ? {}
      : {
          ...{ spid: process.pid, sproc: process.exe || basename(process.args[0] ?? ''), suid: process.uid },
          ...custom('cs6', 'commandLine', commandLine(process.args)),
        }),
    ...{ ...custom('cs1', 'sandbox', sandbox.name || sandbox.id), ...custom('cs2', 'agent', sandbox.agent) },
    ...{ ...custom('cs3', 'task', sandbox.task), ...custom('cs4', 'session', sessionId) },
    ...{ ...custom('flexString1', 'toolCall', toolCallId), ...decided, ...ruled },
  }
}

/** A field that CEF lets us name. */
function custom(key: string, label: string, value: string): Record<string, CefValue> {
  return value === '' ? {} : { [`${key}Label`]: label, [key]: value }
}
