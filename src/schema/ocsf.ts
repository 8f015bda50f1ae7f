/**
 * Events as the Open Cybersecurity Schema Framework 1.8.0 has them, for SIEMs: `-o ocsf` and the sinks. Guards that every kind has a class, that
 * nothing of an event is lost (what OCSF has no place for is in `unmapped.sluice`), and that texts stay as our JSON has them, reversible.
 * Not here: sending.
 */
import { type EventJson, type EventKind, eventKind } from '../proto/event-json.js'
import { textToUnixNs } from '../proto/time-text.js'
import { KINDS, type Mapped } from './ocsf-kinds.js'
import { actor, device, type OcsfPart, process } from './ocsf-objects.js'
import { ownFields } from './own-fields.js'

export const OCSF_VERSION = '1.8.0'

const NS_PER_MS = 1_000_000n
/** By these an event takes part in the profile. */
const SECURITY_CONTROL = ['action_id', 'is_alert', 'policy', 'firewall_rule']

/** @param product our version */
export function ocsfOf(event: EventJson, productVersion: string): OcsfPart {
  const kind = eventKind(event)
  const { acting, ...mapped } = mapKind(kind, event)
  const own = event.process === undefined ? null : process(event.process, event.sandbox)
  const profiles = ['host']
  if (own !== null) profiles.push('container')
  if (SECURITY_CONTROL.some((key) => key in mapped)) profiles.push('security_control')
  return {
    ...mapped,
    time: Number(textToUnixNs(event.time) / NS_PER_MS),
    metadata: {
      ...{ version: OCSF_VERSION, uid: event.uid, profiles, event_code: kind, original_time: event.time },
      ...(event.sessionId === '' ? {} : { correlation_uid: event.sessionId }),
      product: { name: 'Sluice', vendor_name: 'Sluice', version: productVersion },
    },
    device: device(event.node),
    actor: actor(acting ?? own, event),
    unmapped: { sluice: ownFields(kind, event) },
  }
}

function mapKind(kind: EventKind, event: EventJson): Mapped {
  const map = KINDS[kind] as (what: unknown, event: EventJson) => Mapped
  return map(Reflect.get(event, kind), event)
}
