/**
 * Composes the process that runs the sinks: one queue a receiver over the node's spool. What only root may read is read before privileges go. It reads what
 * the engine wrote and talks to nobody but the receivers, so neither can hold up the other.
 */
import { dropPrivileges } from '../base/drop-privileges.js'
import type { Log } from '../base/log.js'
import { makeOwnFolder } from '../base/own-folder.js'
import { type RunningRole, runRole } from '../base/role-process.js'
import { loadAddon } from '../native/addon.js'
import { isAlertSink } from '../schema/sink-settings.js'
import { AlertSink } from './alerts/alert-sink.js'
import { makeAlertTransport } from './alerts/make-alert-transport.js'
import { parseSinksConfig, type SinksConfig } from './config.js'
import { Cursors } from './cursors.js'
import { DeadLetters } from './dead-letters.js'
import { makeTransport } from './make-transport.js'
import { Renderer } from './render.js'
import { sinkSecrets } from './secrets.js'
import { Sink } from './sink.js'
import { SpoolReader } from './spool-reader.js'
import { writeStatus } from './status-file.js'
import { Underway } from './underway.js'

const STATUS_MS = 1_000
/** Within the role's own STOP_DEADLINE_MS. */
const DRAIN_MS = 3_000
const ROOT_UID = 0

async function start(config: SinksConfig, log: Log): Promise<RunningRole> {
  const { folder, user, version } = config
  const addon = loadAddon()
  makeOwnFolder(folder, user)
  const given = Object.entries(config.sinks).map(([name, settings]) => ({
    name,
    settings,
    secrets: sinkSecrets(settings),
  }))
  if (user !== null && process.getuid?.() === ROOT_UID) dropPrivileges('sinks', user)
  addon.setNonDumpable()
  const cursors = new Cursors(folder, Object.keys(config.sinks), log)
  const reader = new SpoolReader(folder, (problem) => {
    if (problem === null) log.info({ folder }, 'the spool is read again')
    else log.warn({ folder, problem }, 'the spool can not be read')
  })
  const sendDatagram = (path: string, text: string) => addon.sendDatagram(path, text)
  const sinks = given.map(({ name, settings, secrets }) => {
    const parts = { name, reader, cursors, log, dead: new DeadLetters(folder, name) }
    if (isAlertSink(settings)) {
      const transport = makeAlertTransport(settings, secrets, version)
      return new AlertSink({ ...parts, settings, folder, transport })
    }
    const transport = makeTransport(settings, { secrets, version, sendDatagram, log })
    const underway = new Underway(folder, name)
    return new Sink({ ...parts, settings, underway, transport, renderer: new Renderer(settings, version) })
  })
  const tell = () => {
    const end = reader.ends()?.next ?? null
    const type = (name: string) => config.sinks[name]?.type ?? ''
    const behind = (sink: Sink | AlertSink) => (end === null ? null : Math.max(0, end - Math.max(sink.position, 1)))
    writeStatus(
      folder,
      sinks.map((sink) => ({ name: sink.name, type: type(sink.name), behind: behind(sink), ...sink.counts })),
    )
  }
  for (const sink of sinks) sink.start()
  const timer = setInterval(tell, STATUS_MS)
  return {
    async stop() {
      const deadline = AbortSignal.timeout(DRAIN_MS)
      await Promise.all(sinks.map((sink) => sink.stop(deadline)))
      clearInterval(timer)
      tell()
      cursors.close()
      reader.close()
    },
  }
}

runRole({ name: 'sinks', parse: parseSinksConfig, start: (config, host) => start(config, host.log) })
