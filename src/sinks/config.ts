/** What the process that runs the sinks is started with. Guards against unknown and missing keys. */
import { z } from 'zod'
import { LOG_LEVELS } from '../base/log.js'
import { sinkSettings, sinksSettings } from '../schema/sink-settings.js'

const folder = z.string().min(2).startsWith('/')
const user = z.string().min(1).max(256).nullable()
const version = z.string().max(64)

const sinksConfig = z.strictObject({
  /** Of the spool. */
  folder,
  /** That it becomes when it starts as root; null: it stays what it is. */
  user,
  version,
  sinks: sinksSettings,
  logLevel: z.enum(LOG_LEVELS),
})

/** Of one attempt to reach a receiver. */
const trial = z.strictObject({ name: z.string(), settings: sinkSettings, user, version })

export type SinksConfig = Readonly<z.output<typeof sinksConfig>>
export type Trial = Readonly<z.output<typeof trial>>

/** Throws zod's error, with the path of every bad value. */
export function parseSinksConfig(raw: unknown): SinksConfig {
  return sinksConfig.parse(raw)
}

export function parseTrial(raw: unknown): Trial {
  return trial.parse(raw)
}
