/**
 * Has the sensor's own cleaner clear away what parts that are gone have left, in a process of its own. Guards that nobody but root asks
 * for it. What counts as gone is the cleaner's to say.
 */
import { join } from 'node:path'
import { execa } from 'execa'
import { z } from 'zod'
import { SluiceError } from '../../base/error.js'
import { programFile } from '../../base/installation.js'
import { LOCK_FILE } from '../../supervise/agent-stack.js'

/** Of runs that bring parts of their own, wherever an agent has its folder. */
const RUNS_DIR = '/run/sluice'
const DEADLINE_MS = 60_000
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024
const ROOT_UID = 0

const step = z.object({ what: z.string(), outcome: z.enum(['removed', 'inUse', 'kept']), detail: z.string() })
const output = z.object({ steps: z.array(step), error: z.string().nullable() })

export type CleanStep = z.output<typeof step>

/** Throws PRIVILEGE, and INTERNAL for a cleaner that fails. */
export async function cleanUp({ runtimeDir, pinDir }: { runtimeDir: string; pinDir: string }): Promise<CleanStep[]> {
  if (process.geteuid?.() !== ROOT_UID) {
    throw new SluiceError('PRIVILEGE', 'doctor --clean needs root', { hint: 'run it with sudo' })
  }
  const main = programFile('sensor/clean-main')
  const agent = { agentDir: join(runtimeDir, 'agent'), agentLock: join(runtimeDir, LOCK_FILE) }
  const places = JSON.stringify({ runtimeDir, furtherRuntimeDirs: [RUNS_DIR], pinDir, ...agent })
  const { stdout, failed, shortMessage } = await execa(process.execPath, [main, places], {
    ...{ cwd: '/', stdin: 'ignore', stderr: 'inherit', reject: false },
    ...{ timeout: DEADLINE_MS, maxBuffer: OUTPUT_BYTES_MAX },
  })
  if (failed) throw new SluiceError('INTERNAL', `the cleaner failed: ${shortMessage}`)
  const { steps, error } = output.parse(JSON.parse(stdout))
  if (error !== null) throw new SluiceError('IO', `nothing was cleaned: ${error}`)
  return steps
}
