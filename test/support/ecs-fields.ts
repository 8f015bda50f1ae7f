/** The published fields of the Elastic Common Schema (test/data/ecs): what a document has that ECS does not know, or knows otherwise. */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'

interface EcsField {
  readonly type: string
  readonly isArray?: boolean
  readonly allowed?: Readonly<Record<string, readonly string[]>>
}

const FIELDS: Readonly<Record<string, EcsField>> = JSON.parse(
  readFileSync(join(import.meta.dirname, '../data/ecs/fields.json'), 'utf8'),
)
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/
const TEXTS = ['keyword', 'wildcard', 'match_only_text', 'constant_keyword']

/** Of one document, without what is ours in it; empty: all is well. */
export function ecsProblems(document: object): string[] {
  const { sluice: _, ...rest } = JSON.parse(JSON.stringify(document))
  const { event } = rest
  return [...fieldsOf('', rest), ...typesOf(event)]
}

function fieldsOf(prefix: string, of: object): string[] {
  return Object.entries(of).flatMap(([name, value]) => {
    const path = prefix === '' ? name : `${prefix}.${name}`
    const field = Object.hasOwn(FIELDS, path) ? FIELDS[path] : undefined
    if (field === undefined) {
      const isGroup = typeof value === 'object' && value !== null && !Array.isArray(value)
      return isGroup ? fieldsOf(path, value) : [`${path} is no field of ECS`]
    }
    if ((field.isArray ?? false) !== Array.isArray(value)) return [`${path} is ${field.isArray ? 'a' : 'no'} list`]
    return [value].flat().flatMap((each) => valueProblems(path, field, each))
  })
}

function valueProblems(path: string, { type, allowed }: EcsField, value: unknown): string[] {
  if (type === 'object' || type === 'flattened') {
    if (typeof value !== 'object' || value === null) return [`${path} is an object`]
    if (path !== 'labels') return fieldsOf(path, value)
    return Object.values(value).every((each) => typeof each === 'string') ? [] : [`${path} holds texts alone`]
  }
  const fits =
    (TEXTS.includes(type) && typeof value === 'string') ||
    (type === 'long' && Number.isSafeInteger(value)) ||
    (type === 'date' && typeof value === 'string' && DATE.test(value)) ||
    (type === 'ip' && typeof value === 'string' && isIP(value) !== 0 && !value.includes('%')) ||
    (type === 'boolean' && typeof value === 'boolean')
  if (!fits) return [`${path} is of type ${type}, not ${JSON.stringify(value)}`]
  return allowed === undefined || Object.hasOwn(allowed, String(value)) ? [] : [`${path} can't be ${String(value)}`]
}

/** Each type is one that is expected of one of the categories, and each category has one. */
function typesOf({ category, type }: { category: string[]; type: string[] }): string[] {
  const expected = (each: string) => FIELDS['event.category']?.allowed?.[each] ?? []
  return [
    ...type.filter((each) => !category.some((of) => expected(of).includes(each))).map((each) => `type ${each} of none`),
    ...category.filter((of) => !type.some((each) => expected(of).includes(each))).map((of) => `${of} without a type`),
  ]
}
