/**
 * Composes the gateway: names of sandboxes in front of this machine's resolvers. It has no privileges and no secrets yet; what it may do
 * is what the engine hands it. Ready when it is connected to its engine.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { dropPrivileges } from '../base/drop-privileges.js'
import type { RoleHost, RunningRole } from '../base/role-process.js'
import { runRole } from '../base/role-process.js'
import { loadAddon } from '../native/addon.js'
import { connectGateway } from '../proto/rpc.js'
import { type GatewayConfig, parseGatewayConfig } from './config.js'
import { DnsWriter } from './dns-writer.js'
import { EngineLink } from './engine-link.js'
import { QueryCounts } from './query-counts.js'
import { resolversOf } from './resolv-conf.js'
import { Sandboxes } from './sandboxes.js'
import { SocketDesk } from './socket-desk.js'
import { Upstream } from './upstream.js'

const CONNECT_DEADLINE_MS = 10_000
const RESOLV_CONF = '/etc/resolv.conf'
const RESOLV_CONF_POLL_MS = 2_000
const ROOT_UID = 0

async function start(config: GatewayConfig, { log }: RoleHost): Promise<RunningRole> {
  const addon = loadAddon()
  const writer = new DnsWriter()
  const upstream = new Upstream({ writer, servers: config.resolvers ?? resolversHere() })
  // Opened while the folder can still be written to.
  const counts = new QueryCounts(config.counts)
  const link: EngineLink = new EngineLink({
    instance: randomUUID(),
    connect: (deadlineMs) => connectGateway(config.socket, deadlineMs),
    sandboxes: () => sandboxes,
    ...{ counts, log },
  })
  const sandboxes: Sandboxes = new Sandboxes({
    ...{ writer, upstream, rate: config.rate, cacheBudget: { bytes: 0 } },
    lease: (sandboxId, lease) => link.lease(sandboxId, lease),
    took: (sandboxId) => counts.add(sandboxId),
    tell: (fact) => link.tell(fact),
    tellLimit: (fact) => link.tellLimit(fact),
    lose: (sandboxId, count, cause) => link.lose(sandboxId, count, cause),
    nowMs: () => performance.now(),
  })
  // Made while the folder can still be written to.
  const mailbox = addon.openMailbox(config.mailbox.path)
  const sockets = new SocketDesk({ mailbox, token: config.mailbox.token, sandboxes, log })
  if (config.user !== null && process.getuid?.() === ROOT_UID) dropPrivileges('gateway', config.user)
  addon.setNonDumpable()
  sockets.start()
  await link.start(CONNECT_DEADLINE_MS)
  if (config.resolvers === null) {
    watchFile(RESOLV_CONF, { interval: RESOLV_CONF_POLL_MS, persistent: false }, () => upstream.use(resolversHere()))
  }
  return {
    async stop() {
      unwatchFile(RESOLV_CONF)
      sockets.stop()
      await sandboxes.dropAllBut(new Set())
      counts.end(await link.stop())
    },
  }
}

function resolversHere() {
  try {
    return resolversOf(readFileSync(RESOLV_CONF, 'utf8'))
  } catch {
    return resolversOf('')
  }
}

runRole({ name: 'gateway', parse: parseGatewayConfig, start })
