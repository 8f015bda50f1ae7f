/**
 * Events as documents of the Elastic Common Schema 9.4.0. Guards that every kind has categories and types that ECS allows together, that nothing of
 * an event is lost (what ECS has no place for is in `sluice`), and that texts stay as our JSON has them. Not here: sending.
 */
import { type EventJson, type EventKind, eventKind } from '../proto/event-json.js'
import { ECS_KINDS, type EcsKind } from './ecs-kinds.js'
import { type EcsPart, host, process } from './ecs-objects.js'
import { present, whole } from './ocsf-objects.js'
import { ownFields } from './own-fields.js'

export const ECS_VERSION = '9.4.0'

/** @param productVersion ours */
export function ecsOf(event: EventJson, productVersion: string): EcsPart {
  const kind = eventKind(event)
  const { event: said, process: more = {}, fields = {} } = mapKind(kind, event)
  const by = event.process === undefined ? {} : process(event.process)
  const acting = { ...by, ...more }
  const { sandbox } = event
  return {
    ...{ '@timestamp': event.time, ecs: { version: ECS_VERSION } },
    event: {
      ...{ kind: 'event', ...said, id: event.uid, code: kind, module: 'sluice', dataset: 'sluice.events' },
      ...{ ...present({ provider: event.source }), sequence: whole(event.seq) },
    },
    observer: { vendor: 'Sluice', product: 'Sluice', type: 'sensor', version: productVersion },
    host: host(event.node),
    container: { id: sandbox.id || 'unknown', ...present({ name: sandbox.name }) },
    labels: labels(event),
    ...(Object.keys(acting).length === 0 ? {} : { process: acting }),
    ...(event.process === undefined ? {} : { user: { id: String(event.process.uid) } }),
    ...fields,
    sluice: ownFields(kind, event),
  }
}

function mapKind(kind: EventKind, event: EventJson): EcsKind {
  const map = ECS_KINDS[kind] as (what: unknown, event: EventJson) => EcsKind
  return map(Reflect.get(event, kind), event)
}

/** Flat, as ECS wants them. What the launcher says of the sandbox stands behind its names. */
function labels({ sandbox, sessionId }: EventJson): EcsPart {
  const own = Object.entries(sandbox.labels).map(([name, value]) => [`sandbox_${name.replaceAll('.', '_')}`, value])
  return { ...Object.fromEntries(own), ...present({ agent: sandbox.agent, task: sandbox.task, session: sessionId }) }
}
