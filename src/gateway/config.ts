/** What a gateway is started with: one typed value, parsed at the edge. Guards against unknown and missing keys. */
import { isIP } from 'node:net'
import { z } from 'zod'
import { SluiceError } from '../base/error.js'
import { LOG_LEVELS } from '../base/log.js'

const SERVERS_MAX = 8
const TOKEN_CHARS_MIN = 32
const absolutePath = z.string().min(1).startsWith('/')

const gatewayConfig = z.strictObject({
  /** The engine's. */
  socket: absolutePath,
  /** Where the sensor hands over sockets of other network namespaces, and what shows it that they are its. */
  mailbox: z.strictObject({ path: absolutePath, token: z.string().min(TOKEN_CHARS_MIN) }),
  /** Of the file that says what a gateway had taken that was killed. */
  counts: absolutePath,
  /** That the gateway becomes when it starts as root; null: it stays what it is. */
  user: z.string().min(1).max(256).nullable(),
  /** Null: those of resolv.conf, read again when it changes. */
  resolvers: z
    .array(
      z.strictObject({
        host: z.string().refine((text) => isIP(text) !== 0, 'must be an address'),
        port: z.int().min(1).max(65_535),
      }),
    )
    .min(1)
    .max(SERVERS_MAX)
    .nullable(),
  /** Queries of one sandbox. */
  rate: z.strictObject({ perSecond: z.number().positive().max(1e6), burst: z.int().min(1).max(1e6) }),
  logLevel: z.enum(LOG_LEVELS),
})

export type GatewayConfig = Readonly<z.infer<typeof gatewayConfig>>

/** Throws USAGE with the path of every bad value. */
export function parseGatewayConfig(raw: unknown): GatewayConfig {
  const parsed = gatewayConfig.safeParse(raw)
  if (parsed.success) return Object.freeze(parsed.data)
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'config'}: ${issue.message}`)
  throw new SluiceError('USAGE', `the gateway's configuration is not valid: ${problems.join('; ')}`)
}
