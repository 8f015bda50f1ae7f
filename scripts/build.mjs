/**
 * Builds what is stale: the protobuf codec, the BPF objects with the native addon and launcher, and dist/.
 *
 *   node scripts/build.mjs                build
 *   node scripts/build.mjs --check        change nothing; name what is stale, exit 1 if anything is
 *   node scripts/build.mjs --on-install   npm's install hook: the native part only, and only where its toolchain is
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { inputsHash, missingOutput, STEPS, staleness, writeStamp } from './build-steps.mjs'
import { withLock } from './lock.mjs'
import { missingNeeds } from './needs.mjs'
import { isStartedDirectly, root } from './project.mjs'
import { exitOnFailure, StepFailure, say } from './run-command.mjs'

/** Runs every stale step in order; a step that fails ends the build. @returns {Promise<boolean>} whether anything ran */
export async function build({ steps = STEPS } = {}) {
  if (steps.every((step) => staleness(step) === null)) return false
  mkdirSync(join(root, 'build'), { recursive: true })
  return withLock(join(root, 'build', 'build.lock'), async () => {
    let ran = false
    for (const step of steps) ran = (await runStep(step)) || ran
    return ran
  })
}

/** Steps that would run, with the reason. @returns {string[]} one line a stale step */
export function staleSteps() {
  return STEPS.flatMap((step) => {
    const why = staleness(step)
    return why === null ? [] : [`${step.name}: ${why}`]
  })
}

async function runStep(step) {
  if (staleness(step) === null) return false
  const inputs = inputsHash(step)
  const startedAt = performance.now()
  await step.run()
  const missing = missingOutput(step)
  if (missing !== null) throw new StepFailure(`build: ${step.name} ended well but did not write ${missing}`)
  writeStamp(step, inputs)
  say(`build: ${step.name} ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  return true
}

async function onInstall() {
  const missing = missingNeeds(['build'])
  if (missing.length === 0) return void (await build({ steps: STEPS.filter((step) => step.name === 'native') }))
  const names = missing.map((need) => need.sign).join(', ')
  say(
    `sluice: the native addon is not built yet, ${names} missing: \`npm run setup\` gets it, \`npm run build\` builds`,
  )
}

async function main() {
  const [option, ...rest] = process.argv.slice(2)
  if (rest.length > 0 || ![undefined, '--check', '--on-install'].includes(option)) {
    throw new StepFailure('build: usage: node scripts/build.mjs [--check | --on-install]')
  }
  if (option === '--check') {
    const stale = staleSteps()
    for (const line of stale) say(`build: stale: ${line}`)
    return stale.length === 0 ? 0 : 1
  }
  if (option === '--on-install') return void (await onInstall())
  if (!(await build())) say('build: up to date')
}

if (isStartedDirectly(import.meta.url)) await exitOnFailure(main)
