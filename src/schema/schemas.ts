/**
 * Every schema that an event can be written as, by name: what `-o` takes and what a sink's `schema` is. One function each,
 * `(event, product version) -> object or text`; an object is one JSON document, a text one line without its end. `schemaLine` is either as a line.
 * Guards that a caller needs to know nothing of a schema but its name: to add one is to add a line here. Not here: sending, batching, and what
 * a transport wants around it (an Elastic bulk action, a HEC envelope, a syslog header).
 */
import type { EventJson } from '../proto/event-json.js'
import { cefOf } from './cef.js'
import { ecsOf } from './ecs.js'
import { ocsfOf } from './ocsf.js'

export type SchemaFunction = (event: EventJson, productVersion: string) => object | string

export const SCHEMA_NAMES = ['json', 'ocsf', 'ecs', 'cef'] as const
export type SchemaName = (typeof SCHEMA_NAMES)[number]

export const SCHEMAS: Readonly<Record<SchemaName, SchemaFunction>> = {
  json: (event) => event,
  ocsf: ocsfOf,
  ecs: ecsOf,
  cef: cefOf,
}

/** Throws what the schema throws: PROTOCOL for an event without a kind, a TypeError for one that lacks a field of its kind. */
export function schemaLine(name: SchemaName, event: EventJson, productVersion: string): string {
  const written = SCHEMAS[name](event, productVersion)
  return typeof written === 'string' ? written : JSON.stringify(written)
}
