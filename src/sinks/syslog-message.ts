/**
 * One event as a syslog message of RFC 5424, and its frame in a stream (RFC 5425 and 6587). Guards that no text of an event can end a message or a
 * field early: what follows the header is JSON without control characters, and names in it are reduced to what the RFC allows.
 */
import { hostname } from 'node:os'
import type { SinkSeverity, SyslogSettings } from '../schema/sink-settings.js'
import type { Item } from './transport.js'

/** Local use 0. */
const FACILITY = 16
const VERSION = 1
/** Numerical codes of RFC 5424 §6.2.1. */
const CODES: Readonly<Record<SinkSeverity, number>> = { HIGH: 2, MEDIUM: 4, LOW: 5, INFO: 6 }
const HOST_CHARS_MAX = 255
const ID_CHARS_MAX = 32
/** Of a time, as the RFC has it: microseconds. */
const FRACTION_DIGITS = 6
/** Of examples (RFC 5612): we have none of our own. */
const SD_ID = 'sluice@32473'
const NIL = '-'

/** Without a frame. */
export function syslogMessage(item: Item, { facility = FACILITY, appName = 'sluice' }: SyslogSettings): Buffer {
  const { event, kind, severity, text } = item
  const priority = facility * 8 + CODES[severity]
  const host = headerField(event.node.name === '' ? hostname() : event.node.name, HOST_CHARS_MAX)
  const pid = event.process === undefined ? NIL : String(event.process.pid)
  const header = `<${priority}>${VERSION} ${timestamp(event.time)} ${host} ${appName} ${pid} ${headerField(kind, ID_CHARS_MAX)}`
  const fields = { uid: event.uid, session: event.sessionId, sandbox: event.sandbox.name, severity }
  const data = Object.entries(fields).map(([name, value]) => ` ${name}="${paramValue(value)}"`)
  return Buffer.from(`${header} [${SD_ID}${data.join('')}] ${withoutControls(text)}`)
}

export function framed(message: Buffer, framing: 'octets' | 'lines'): Buffer {
  if (framing === 'lines') return Buffer.concat([message, Buffer.from('\n')])
  return Buffer.concat([Buffer.from(`${message.length} `), message])
}

/** Of nanoseconds it has no more than a receiver may read. */
function timestamp(time: string): string {
  const [, whole, fraction = ''] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z$/.exec(time) ?? []
  if (whole === undefined) return NIL
  const digits = fraction.slice(0, FRACTION_DIGITS)
  return digits === '' ? `${whole}Z` : `${whole}.${digits}Z`
}

function headerField(text: string, max: number): string {
  return text.replace(/[^!-~]/g, '_').slice(0, max) || NIL
}

/** RFC 5424 §6.3.3: three characters are escaped, the rest is UTF-8; control characters are nobody's. */
function paramValue(text: string): string {
  return text.replace(CONTROL, ' ').replace(/["\\\]]/g, '\\$&')
}

/** The same JSON: what may be a control character to a receiver is in its strings alone. */
function withoutControls(json: string): string {
  return json.replace(CONTROL, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const CONTROL = /\p{Cc}/gu
