/**
 * Sends one made-up event to one receiver and says what became of it, for `sluice sinks test`. Argument: the trial as JSON. As the user that the sinks
 * run as: what works here works there.
 */
import { dropPrivileges } from '../base/drop-privileges.js'
import { messageOf, reasonOf } from '../base/error.js'
import { createLog } from '../base/log.js'
import { derivedUuid } from '../base/uuid.js'
import { loadAddon } from '../native/addon.js'
import { fromBigInt, type IEvent, Severity } from '../proto/codec.js'
import { eventToJson } from '../proto/event-json.js'
import { isAlertSink } from '../schema/sink-settings.js'
import type { AlertTransport } from './alerts/alert.js'
import { AlertBook } from './alerts/alert-book.js'
import { makeAlertTransport } from './alerts/make-alert-transport.js'
import { parseTrial, type Trial } from './config.js'
import { makeTransport } from './make-transport.js'
import { Renderer } from './render.js'
import { sinkSecrets } from './secrets.js'
import { SpooledEvents } from './spooled-event.js'

const DEADLINE_MS = 30_000
const NS_PER_MS = 1_000_000n
const ROOT_UID = 0

async function main(): Promise<number> {
  const trial = parseTrial(JSON.parse(process.argv[2] ?? 'null'))
  const say = (line: string) => void process.stdout.write(`${line}\n`)
  try {
    const problem = await attempt(trial)
    say(problem === null ? `${trial.name}: a test event arrived` : `${trial.name}: ${problem}`)
    return problem === null ? 0 : 1
  } catch (error) {
    say(`${trial.name}: ${reasonOf(error)}`)
    return 1
  }
}

async function attempt({ settings, user, version }: Trial): Promise<string | null> {
  const addon = loadAddon()
  const secrets = sinkSecrets(settings)
  if (user !== null && process.getuid?.() === ROOT_UID) dropPrivileges('sinks', user)
  addon.setNonDumpable()
  if (isAlertSink(settings)) return alertTrial(makeAlertTransport(settings, secrets, version))
  const { kinds: _, minSeverity: __, ...open } = settings
  const renderer = new Renderer(open, version)
  const items = new SpooledEvents().one(testEvent()).flatMap((event) => renderer.item(event) ?? [])
  const sendDatagram = (path: string, text: string) => addon.sendDatagram(path, text)
  // What it says is the one line below.
  const log = createLog({ role: 'sinks', level: 'silent' })
  const transport = makeTransport(settings, { secrets, version, sendDatagram, log })
  try {
    const { retry = [], dead = [], reason } = await transport.send(items, AbortSignal.timeout(DEADLINE_MS))
    if (retry.length > 0) return reason ?? 'the receiver did not take it'
    return dead[0]?.reason ?? null
  } finally {
    await transport.close()
  }
}

async function alertTrial(transport: AlertTransport): Promise<string | null> {
  const book = new AlertBook({ minSeverity: 'INFO', quietMs: 0 })
  book.take(eventToJson(testEvent()), Date.now())
  try {
    const alerts = book.due(Date.now(), transport.pace)
    const outcome = await transport.send(alerts, AbortSignal.timeout(DEADLINE_MS))
    return outcome.state === 'taken' ? null : outcome.reason
  } finally {
    await transport.close()
  }
}

function testEvent(): IEvent {
  const unixMs = BigInt(Date.now())
  return {
    ...{ schema: 1, source: 'sinks test', timeUnixNs: fromBigInt(unixMs * NS_PER_MS), seq: fromBigInt(0n) },
    uid: derivedUuid({ unixMs, parts: ['sinks test', String(process.pid)] }),
    detection: {
      ...{ detector: 'test', severity: Severity.SEVERITY_INFO, title: 'a test of this sink' },
      reason: 'somebody ran sluice sinks test; nothing happened',
    },
  }
}

main()
  .catch((error: unknown) => {
    process.stderr.write(`sluice: internal error: ${messageOf(error)}\n`)
    return 1
  })
  .then((code) => {
    process.exitCode = code
  })
