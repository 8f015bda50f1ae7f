/**
 * What an engine is started with: one typed value, parsed at the edge. Guards against unknown and missing keys; defaults are the
 * supervisor's.
 */
import { z } from 'zod'
import { SluiceError } from '../base/error.js'
import { LOG_LEVELS } from '../base/log.js'
import { nodePolicyConfig } from './node-policy-texts.js'

const UIDS_MAX = 64
const ADDRESS_CHARS_MAX = 300
const NODES_MAX = 4_096
const PORT_MAX = 65_535
const uids = z.array(z.int().min(0).max(0xfffffffe)).max(UIDS_MAX)
const gid = z.int().min(0).max(0xfffffffe).nullable()
const absolutePath = z.string().min(1).startsWith('/')

/** For sensors of other machines. */
const uplinkTls = z.strictObject({
  /** host:port to listen on. */
  address: z.string().min(1).max(ADDRESS_CHARS_MAX),
  ca: absolutePath,
  cert: absolutePath,
  key: absolutePath,
  /** That are served; all that have a certificate of that CA by default. */
  nodes: z.array(z.string().min(1).max(ADDRESS_CHARS_MAX)).min(1).max(NODES_MAX).optional(),
})

const engineConfig = z.strictObject({
  /** Null: sensors come by TLS alone. */
  uplinkSocket: absolutePath.nullable(),
  uplinkTls: uplinkTls.optional(),
  controlSocket: absolutePath,
  /** That the engine becomes when it starts as root; null: it stays what it is. */
  user: z.string().min(1).max(256).nullable(),
  uplinkUids: uids,
  controlUids: uids,
  /** An engine of one run serves the process that started it and one sensor; null: whoever the uids let in. */
  supervisorPid: z.int().positive().nullable(),
  /** The one sensor, where it is known already; null: the first that connects. */
  sensorPid: z.int().positive().nullable(),
  /** Where an engine that is started again finds what this one knew; null: nothing is kept. */
  stateFile: absolutePath.nullable(),
  /** Where what is usual for each identity is kept, a folder that is made for `user`; absent: sessions are measured by themselves. */
  baselines: absolutePath.optional(),
  /**
   * A node's agent: who besides root may use the control socket, by group; a group that doesn't exist is null. Its sensors are the
   * children of `supervisorPid`. Null: an engine of one run.
   */
  agent: z.strictObject({ memberGid: gid, adminGid: gid }).nullable(),
  /** Where the gateway connects; absent: there is none, and no name is answered by us. `gid`: of the user that it runs as. */
  gateway: z.strictObject({ socket: absolutePath, gid }).optional(),
  /** Of the node, for the sandboxes that they select; absent: there are none. */
  policies: nodePolicyConfig.optional(),
  /** Where sessions leave a signed history; absent: nowhere. */
  journal: z
    .strictObject({ dir: absolutePath, keepDays: z.number().positive(), keepBytes: z.number().positive() })
    .optional(),
  /** Where Prometheus may ask for numbers; absent: nowhere. */
  metrics: z
    .strictObject({ host: z.string().min(1).max(ADDRESS_CHARS_MAX), port: z.int().min(0).max(PORT_MAX) })
    .optional(),
  /** What every sink gets; absent: there are none. */
  spool: z
    .strictObject({ dir: absolutePath, bytesMax: z.number().positive(), ageMaxMs: z.number().positive() })
    .optional(),
  logLevel: z.enum(LOG_LEVELS),
})

export type EngineConfig = Readonly<z.infer<typeof engineConfig>>

/** Throws USAGE with the path of every bad value. */
export function parseEngineConfig(raw: unknown): EngineConfig {
  const parsed = engineConfig.safeParse(raw)
  if (parsed.success) return Object.freeze(parsed.data)
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'config'}: ${issue.message}`)
  throw new SluiceError('USAGE', `the engine's configuration is not valid: ${problems.join('; ')}`)
}
