/**
 * Clears away once what sensors that are gone have left, and prints what came of it as one JSON object. For `sluice doctor --clean`.
 * Argument: the folders, as JSON.
 */
import { z } from 'zod'
import { messageOf } from '../base/error.js'
import { createLog } from '../base/log.js'
import { loadAddon } from '../native/addon.js'
import { findCgroupRoot } from './cgroup-root.js'
import { type CleanStep, clean } from './clean.js'

const places = z.strictObject({
  runtimeDir: z.string().startsWith('/'),
  furtherRuntimeDirs: z.array(z.string().startsWith('/')),
  agentDir: z.string().startsWith('/'),
  agentLock: z.string().startsWith('/'),
  pinDir: z.string().startsWith('/'),
})

function cleaned(): { steps: CleanStep[]; error: string | null } {
  try {
    const log = createLog({ role: 'sensor', level: 'error' })
    const given = places.parse(JSON.parse(process.argv[2] ?? ''))
    return { steps: clean({ ...given, addon: loadAddon(), cgroupRoot: findCgroupRoot(), log }), error: null }
  } catch (error) {
    return { steps: [], error: messageOf(error) }
  }
}

process.stdout.write(`${JSON.stringify(cleaned())}\n`)
