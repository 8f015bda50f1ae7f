/**
 * The project's own tests, as the host runs them, on this kernel: by the real vitest, whose report the host counts. Which files is
 * said by SLUICE_FILES, from the kernel's command line, separated by commas.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { outDir } from './checks.mjs'

const files = (process.env.SLUICE_FILES ?? '').split(',')
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${join(outDir, 'vitest.json')}`]
/** Tests that say nothing about the kernel's version: the host's run is enough. */
const ONCE = 'test/kernel/once/**'
// One process for all files: starting one and loading what tests import takes as long here as most of the tests.
const args = ['node_modules/vitest/vitest.mjs', 'run', '--no-isolate', '--exclude', ONCE, ...reporters, ...files]
const { status } = spawnSync(process.execPath, args, {
  stdio: 'inherit',
  env: { ...process.env, CI: 'true' },
})
process.exitCode = status ?? 1
