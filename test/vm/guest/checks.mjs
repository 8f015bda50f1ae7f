/**
 * Runs the checks of a guest, with Node alone, and leaves what came of each in the folder shared with the host: `results.json`, which
 * the host counts. A check is a function that throws. Prints a line a check; the kernel's log follows where one failed.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const DEADLINE_MS = 600_000
/** Emulated, and beside all that the host does, the parts take longer to start than anywhere else. */
process.env.SLUICE_START_SECONDS = '300'
const OUTPUT_MAX_BYTES = 64 * 1024 * 1024

/** Where the host looks. */
export const outDir = process.argv[2]

/** The built command line as a user has it; `said` is all that it printed. */
export function sluice(args) {
  const ended = spawnSync('bin/sluice', args, { encoding: 'utf8', timeout: DEADLINE_MS, maxBuffer: OUTPUT_MAX_BYTES })
  if (ended.error) throw ended.error
  return { ...ended, said: `${ended.stdout}${ended.stderr}` }
}

/** @param {Record<string, () => void>} checks by name, in order; each is run whatever became of those before */
export function runChecks(checks) {
  const results = Object.entries(checks).map(([name, check]) => runCheck(name, check))
  writeFileSync(join(outDir, 'results.json'), JSON.stringify(results))
  if (results.every((result) => result.failure === null)) return
  process.exitCode = 1
  console.log(spawnSync('dmesg', { encoding: 'utf8' }).stdout)
}

function runCheck(name, check) {
  const begun = Date.now()
  const result = { name, failure: null, ms: 0 }
  try {
    check()
  } catch (error) {
    result.failure = error.message
  }
  result.ms = Date.now() - begun
  console.log(`${result.failure === null ? 'ok  ' : 'FAIL'} ${name} (${result.ms} ms)`)
  if (result.failure !== null) console.log(result.failure)
  return result
}
