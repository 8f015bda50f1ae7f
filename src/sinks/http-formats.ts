/**
 * What receivers of HTTP take, and what their answers mean: plain JSON, Splunk's HTTP Event Collector, Elastic's bulk interface. Guards that only what
 * was taken counts, event by event where the answer says so. Not here: the connection.
 */
import { textToUnixNs } from '../proto/time-text.js'
import type { HttpSettings } from '../schema/sink-settings.js'
import type { Answer } from './http-post.js'
import type { Item, Outcome } from './transport.js'

export interface HttpFormat {
  readonly type: string
  body(items: readonly Item[]): string
  /** Of an answer that says 200. */
  taken(items: readonly Item[], answer: Answer): Outcome
  /** Which of them one that says 4xx is about; null: it does not say. */
  refused(answer: Answer): number | null
}

const NS_PER_MS = 1_000_000n
const INDEX = 'sluice-events'
const CREATED_ALREADY = 409
const REASON_CHARS_MAX = 300

const ALL_TAKEN = { taken: (): Outcome => ({}), refused: () => null }

export function httpFormat({ format = 'json-lines', index, schema }: HttpSettings): HttpFormat {
  switch (format) {
    case 'json-lines':
      return { type: 'application/x-ndjson', body: (items) => lines(items.map(({ text }) => text)), ...ALL_TAKEN }
    case 'json-array':
      return { type: 'application/json', body: (items) => `[${items.map(({ text }) => text).join(',')}]`, ...ALL_TAKEN }
    case 'splunk-hec':
      return { type: 'application/json', body: (items) => lines(items.map((item) => hec(item, index))), ...HEC }
    case 'elastic-bulk':
      return {
        type: 'application/x-ndjson',
        body: (items) => lines(items.flatMap((item) => bulk(item, index, schema === 'ecs'))),
        taken: bulkTaken,
        refused: () => null,
      }
  }
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('')
}

function hec({ event, kind, text }: Item, index: string | undefined): string {
  const { time, node } = event
  const ms = textToUnixNs(time) / NS_PER_MS
  const about = { time: `${ms / 1_000n}.${String(ms % 1_000n).padStart(3, '0')}`, host: node.name, source: 'sluice' }
  const where = { sourcetype: `sluice:${kind}`, ...(index === undefined ? {} : { index }) }
  return `${JSON.stringify({ ...about, ...where }).slice(0, -1)},"event":${text}}`
}

const HEC = {
  taken: (): Outcome => ({}),
  refused: ({ body }: Answer): number | null => {
    const found: unknown = Reflect.get(parsed(body), 'invalid-event-number')
    return typeof found === 'number' ? found : null
  },
}

/** `create` by the event's uid: one that comes again is there already. */
function bulk({ uid, event, text }: Item, index: string | undefined, hasTime: boolean): string[] {
  const create = JSON.stringify({ create: { _index: index ?? INDEX, _id: uid } })
  return [create, hasTime ? text : `{"@timestamp":${JSON.stringify(event.time)},${text.slice(1)}`]
}

function bulkTaken(items: readonly Item[], { body }: Answer): Outcome {
  const answered: unknown = Reflect.get(parsed(body), 'items')
  if (!Array.isArray(answered) || answered.length !== items.length) {
    return { retry: items, reason: 'the answer does not say what became of each event' }
  }
  const retry: Item[] = []
  const dead: { item: Item; reason: string }[] = []
  let reason = ''
  for (const [at, item] of items.entries()) {
    const { status = 0, error } = (answered[at]?.create ?? {}) as { status?: number; error?: unknown }
    if ((status >= 200 && status < 300) || status === CREATED_ALREADY) continue
    const told = `${status} ${JSON.stringify(error ?? '')}`.slice(0, REASON_CHARS_MAX)
    if (status === 429 || status >= 500 || status === 0) {
      retry.push(item)
      reason = told
    } else dead.push({ item, reason: told })
  }
  return { retry, dead, reason }
}

function parsed(body: string): object {
  try {
    const found: unknown = JSON.parse(body)
    return typeof found === 'object' && found !== null ? found : {}
  } catch {
    return {}
  }
}
