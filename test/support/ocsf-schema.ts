/** The published JSON Schemas of OCSF (test/data/ocsf), by a validator that is not ours. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'

const SCHEMAS = join(import.meta.dirname, '../data/ocsf')

/** By class: compiling one takes a quarter of a second. */
const validators = new Map<unknown, ValidateFunction>()
const schemas = readdirSync(SCHEMAS)
  .filter((name) => name.endsWith('.schema.json'))
  .map((name) => JSON.parse(readFileSync(join(SCHEMAS, name), 'utf8')))

/** What the schema of its class does not take of an event; empty: all is well. */
export function ocsfProblems(event: Record<string, unknown>): unknown[] {
  const validator = validatorOf(event.class_uid)
  return validator(JSON.parse(JSON.stringify(event))) ? [] : (validator.errors ?? ['it is refused'])
}

function validatorOf(classUid: unknown): ValidateFunction {
  const known = validators.get(classUid)
  if (known !== undefined) return known
  const schema = schemas.find(({ properties }) => properties.class_uid.const === classUid)
  if (schema === undefined) throw new Error(`class ${classUid} has no schema`)
  const validator = new Ajv2020({ strict: true, allErrors: true }).compile(schema)
  validators.set(classUid, validator)
  return validator
}
