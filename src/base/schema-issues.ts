/**
 * What zod finds wrong with a value, as sentences for who wrote it: an unknown key with what was meant, what is missing, and of a value
 * that may have several shapes only what is wrong with the shape that was meant. Guards nothing by itself: every issue gives at least one
 * sentence. Where in a file a path is, is yaml-file.ts's.
 */
import { z } from 'zod'
import { nearestOf } from './nearest.js'

export type Path = readonly PropertyKey[]

/** `path`: of the value, or of the key where that is what is wrong. */
export interface Mistake {
  readonly path: Path
  readonly message: string
}

type Issue = z.core.$ZodIssue
type Fields = Readonly<Record<string, unknown>>

/** One place in schema and value. `elsewhere`: keys that are known where the value has another shape. */
interface Spot {
  readonly schema: unknown
  readonly value: unknown
  readonly path: Path
  readonly elsewhere: readonly string[]
}

/** `value` is what the schema was given. */
export function mistakesOf(issues: readonly Issue[], schema: z.ZodType, value: unknown): Mistake[] {
  return issues.flatMap((issue) => explain(issue, { schema, value, path: [], elsewhere: [] }))
}

/** `egress[2].ports[0]`; empty for the whole. */
export function pathText(path: Path): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return text === '' ? String(key) : `${text}.${String(key)}`
  }, '')
}

function explain(issue: Issue, from: Spot): Mistake[] {
  const spot = walk(from, issue.path)
  if (issue.code === 'unrecognized_keys') return unknownKeys(issue.keys, ...shapeAt(spot))
  if (spot.value === undefined && issue.code !== 'custom') return [{ path: spot.path, message: 'is missing' }]
  if (issue.code === 'invalid_union') return ofUnion(issue, spot)
  return [{ path: spot.path, message: `${lowerFirst(issue.message)}${meant(issue, spot.value)}` }]
}

function ofUnion(issue: Extract<Issue, { code: 'invalid_union' }>, spot: Spot): Mistake[] {
  const schema = bare(spot.schema)
  const options = schema instanceof z.ZodUnion ? schema.options.map(bare) : []
  const shapes = options.filter((option) => option instanceof z.ZodObject)
  if (isFields(spot.value) && shapes.length > 0) return ofShapes(issue.errors, options, { ...spot, value: spot.value })
  const close = issue.errors.filter((found) => !found.some((each) => each.path.length === 0 && isOfType(each)))
  const [only] = close
  if (close.length !== 1 || only === undefined) return [{ path: spot.path, message: lowerFirst(issue.message) }]
  return only.flatMap((each) => explain(each, spot))
}

/** `found`: the issues of each option. */
function ofShapes(found: readonly Issue[][], options: readonly unknown[], spot: Spot & { value: Fields }): Mistake[] {
  const known = [...new Set(options.flatMap(keysOf))]
  const strange = Object.keys(spot.value).filter((key) => !known.includes(key))
  if (strange.length > 0) return unknownKeys(strange, known, spot)
  const [meantOption] = options
    .map((option, index) => ({ option, issues: found[index] ?? [] }))
    .filter(({ option, issues }) => issues.length > 0 && requiredOf(option).every((key) => key in spot.value))
    .sort((a, b) => a.issues.length - b.issues.length)
  if (meantOption !== undefined) {
    const { option, issues } = meantOption
    return issues.flatMap((each) => explain(each, { ...spot, schema: option, elsewhere: known }))
  }
  const heads = [...new Set(options.flatMap(requiredOf))]
  return [{ path: spot.path, message: `one of ${heads.join(', ')} is missing` }]
}

/** Of a value that may have several shapes, the one that it has by the keys it must have. */
function shapeAt(spot: Spot): [known: readonly string[], spot: Spot] {
  const schema = bare(spot.schema)
  if (!(schema instanceof z.ZodUnion)) return [keysOf(schema), spot]
  const options = schema.options.map(bare)
  const all = [...new Set(options.flatMap(keysOf))]
  const { value } = spot
  const own = options.find((option) => isFields(value) && requiredOf(option).every((key) => key in value))
  return own === undefined ? [all, spot] : [keysOf(own), { ...spot, elsewhere: all }]
}

function unknownKeys(keys: readonly string[], known: readonly string[], { path, elsewhere }: Spot): Mistake[] {
  return keys.map((key) => {
    const full = [...path, key]
    if (elsewhere.includes(key)) return { path: full, message: `does not go with ${known.join(', ')}` }
    const nearest = nearestOf(key, known)
    const hint = nearest === null ? `known are ${known.join(', ')}` : `did you mean '${nearest}'?`
    return { path: full, message: `unknown key '${pathText(full)}'; ${hint}` }
  })
}

/** Of a value that is none of a list. */
function meant(issue: Issue, value: unknown): string {
  if (issue.code !== 'invalid_value' || typeof value !== 'string') return ''
  const nearest = nearestOf(value, issue.values.map(String))
  return nearest === null ? '' : `; did you mean '${nearest}'?`
}

function isOfType({ code }: Issue): boolean {
  return code === 'invalid_type' || code === 'invalid_value'
}

function walk(from: Spot, path: Path): Spot {
  return path.reduce<Spot>((spot, key) => {
    const schema = bare(spot.schema)
    const value = isFields(spot.value) || Array.isArray(spot.value) ? Reflect.get(spot.value, key) : undefined
    return { schema: below(schema, key), value, path: [...spot.path, key], elsewhere: [] }
  }, from)
}

function below(schema: unknown, key: PropertyKey): unknown {
  if (schema instanceof z.ZodObject) return schema.shape[String(key)]
  if (schema instanceof z.ZodArray) return schema.element
  return schema instanceof z.ZodRecord ? schema.valueType : undefined
}

function keysOf(schema: unknown): string[] {
  const holder = bare(schema)
  if (holder instanceof z.ZodRecord)
    return holder.keyType instanceof z.ZodEnum ? holder.keyType.options.map(String) : []
  return holder instanceof z.ZodObject ? Object.keys(holder.shape) : []
}

function requiredOf(schema: unknown): string[] {
  if (!(schema instanceof z.ZodObject)) return []
  return Object.keys(schema.shape).filter((key) => !(schema.shape[key] instanceof z.ZodOptional))
}

function bare(schema: unknown): unknown {
  return schema instanceof z.ZodOptional ? bare(schema.unwrap()) : schema
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
