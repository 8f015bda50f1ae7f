/**
 * Writes docs/reference/events.md from proto/sluice/v1/event.proto and its comments: `node scripts/event-reference.mjs`. A tidy test
 * compares the file with what `--print` says.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { root } from './project.mjs'

const REFERENCE = join(root, 'docs/reference/events.md')
const PROTO = join(root, 'proto/sluice/v1/event.proto')
/** JSON name of a field where it is not the field's own (src/proto/event-json.ts). */
const RENAMED = {
  timeUnixNs: 'time',
  startTimeUnixNs: 'startTime',
  endTimeUnixNs: 'endTime',
  lastTimeUnixNs: 'lastTime',
  fromUnixNs: 'from',
  toUnixNs: 'to',
}

const HEAD = `# Events

Generated from \`proto/sluice/v1/event.proto\` by \`node scripts/event-reference.mjs\`; do not edit.

One JSON object a line: what \`sluice run --record\` writes and \`sluice events\` reads. Names are lowerCamelCase; 64-bit integers are strings
of digits; times are RFC 3339 in UTC with nanoseconds; enums are written by their short names; in texts that were bytes, a byte that is
not valid UTF-8 is \`\\xHH\` and a backslash is doubled, so that the bytes can be had back. Every scalar of a kind is written, 0, false
and "" included.
`

function isTime(field) {
  return field.name in RENAMED
}

/** What a reader of the JSON sees: `string`, `number`, `text`, `time`, an enum's values, or another table. */
function typeOf(field) {
  const many = field.repeated ? '[]' : ''
  if (field instanceof protobuf.MapField) return 'object of strings'
  if (isTime(field)) return 'time'
  const { resolvedType } = field
  if (resolvedType instanceof protobuf.Enum) return enumNames(resolvedType).join(', ')
  if (resolvedType !== null) return `[${resolvedType.name}](#${resolvedType.name.toLowerCase()})${many}`
  if (field.type === 'bytes') return `text${many}`
  if (field.type === 'bool') return 'true or false'
  if (['uint64', 'fixed64', 'int64'].includes(field.type)) return `digits${many}`
  return field.type === 'string' ? `string${many}` : `number${many}`
}

/** Short names: without the prefix that proto style asks for. */
function enumNames({ name, values }) {
  const prefix = `${name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase()}_`
  return Object.keys(values)
    .map((value) => value.replace(prefix, ''))
    .filter((value) => value !== 'UNSPECIFIED')
    .map((value) => `\`${value}\``)
}

function tableOf(fields) {
  const rows = fields.map((field) => {
    const comment = (field.comment ?? '').replace(/\s+/g, ' ').replaceAll('|', '\\|')
    return `| \`${RENAMED[field.name] ?? field.name}\` | ${typeOf(field)} | ${comment} |`
  })
  return ['| field | type | meaning |', '|---|---|---|', ...rows, ''].join('\n')
}

/** The page's text. */
function eventReference() {
  const types = new protobuf.Root().loadSync(PROTO, { alternateCommentMode: true, keepCase: false })
  types.resolveAll()
  const event = types.lookupType('sluice.v1.Event')
  const kinds = event.oneofs.kind.fieldsArray
  const parts = [HEAD, '## Every event\n', tableOf(event.fieldsArray.filter((field) => !kinds.includes(field)))]
  parts.push('Exactly one of these is there, and its key says the kind:\n')
  for (const kind of kinds) {
    const { resolvedType } = kind
    parts.push(`## ${kind.name}\n`)
    if (resolvedType.comment) parts.push(`${resolvedType.comment.replace(/\s+/g, ' ')}\n`)
    parts.push(tableOf(resolvedType.fieldsArray))
  }
  const shown = new Set(kinds.map((kind) => kind.resolvedType))
  for (const type of types.lookup('sluice.v1').nestedArray) {
    if (!(type instanceof protobuf.Type) || type === event || shown.has(type)) continue
    parts.push(`## ${type.name}\n`)
    if (type.comment) parts.push(`${type.comment.replace(/\s+/g, ' ')}\n`)
    parts.push(tableOf(type.fieldsArray))
  }
  return parts.join('\n')
}

if (process.argv[2] === '--print') process.stdout.write(eventReference())
else writeFileSync(REFERENCE, eventReference())
