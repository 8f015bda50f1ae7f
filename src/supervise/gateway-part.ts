/**
 * The gateway beside an engine: its user, the folder where it finds the engine's socket, and its process, kept running. Guards that the
 * folder is its user's group's to enter and nobody's to change, as the gateway comes back to the engine when it is no longer root. Not
 * here: what it does, and who may connect there.
 */
import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Log, LogLevel } from '../base/log.js'
import { makeFolders } from '../base/make-folders.js'
import { KeptRole } from './kept-role.js'
import { startRole } from './role.js'
import { orSay, READY_DEADLINE_MS, ROOT_UID } from './stack-parts.js'
import { groupIdOf, systemUserExists } from './system-user.js'

const FOLDER_MODE = 0o710
const TOKEN_BYTES = 32
/** Queries of one sandbox, until policies have limits for them. */
const QUERY_RATE = { perSecond: 200, burst: 2_000 }

export interface ResolverAddress {
  readonly host: string
  readonly port: number
}

export interface GatewayOptions {
  /** Made anew. */
  readonly folder: string
  /** The system user that it drops to; where there is none it stays root and `degraded` says so. */
  readonly user: string
  /** Null: those of resolv.conf, read again when it changes. */
  readonly resolvers: readonly ResolverAddress[] | null
  readonly logLevel: LogLevel
  readonly main: URL
  readonly readyDeadlineMs?: number
}

export interface GatewayPart {
  /** Of the engine's config. */
  readonly engineConfig: { readonly socket: string; readonly gid: number | null }
  /** Of the sensor's config and the gateway's: where the one hands sockets to the other. */
  readonly mailbox: { readonly path: string; readonly token: string }
  readonly degraded: readonly string[]
  /** Not started. */
  readonly role: KeptRole
  /** Safe to call twice. */
  remove(): void
}

export async function prepareGateway(options: GatewayOptions, log: Log): Promise<GatewayPart> {
  const { folder, user, resolvers, logLevel, main, readyDeadlineMs = READY_DEADLINE_MS } = options
  const gid = (await systemUserExists(user)) === true ? await groupIdOf(user) : null
  const degraded =
    gid === null ? [`gateway-user: no system user ${user} with a group, so the gateway runs as root`] : []
  orSay(folder, () => {
    makeFolders(folder)
    chownSync(folder, ROOT_UID, gid ?? ROOT_UID)
    chmodSync(folder, FOLDER_MODE)
  })
  const socket = join(folder, 'gateway.sock')
  const mailbox = { path: join(folder, 'doors.sock'), token: randomBytes(TOKEN_BYTES).toString('hex') }
  const counts = join(folder, 'queries')
  const config = { socket, mailbox, counts, user: gid === null ? null : user, resolvers, rate: QUERY_RATE, logLevel }
  const role = new KeptRole({
    name: 'gateway',
    log,
    start: (signal) => startRole({ name: 'gateway', main, config, readyDeadlineMs, signal }),
  })
  const remove = () => rmSync(folder, { recursive: true, force: true })
  return { engineConfig: { socket, gid }, mailbox, degraded, role, remove }
}
