/**
 * `npm run test:vm [-- [--load] VERSION… FILE…]`: the built project on other kernels than the host's, in virtual machines. Prints one
 * line a check; exit code 0 only if all passed. Needs root for the guests to have the host's files as they are.
 *
 *   --load   only whether all programs load and attach there, in half a minute
 *   FILE     only this file of tests, by vitest, on the kernels that have a suite
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { build } from '../../scripts/build.mjs'
import { withLock } from '../../scripts/lock.mjs'
import { root } from '../../scripts/project.mjs'
import { exitOnFailure, StepFailure, say } from '../../scripts/run-command.mjs'
import { setup } from '../../scripts/setup.mjs'
import { compileAll } from '../support/compiled.mjs'
import { downloadDir } from './download-dir.mjs'
import { fetchEmulator } from './emulator.mjs'
import { writeInitramfs } from './initramfs.mjs'
import { fetchKernel, KERNELS } from './kernels.mjs'
import { GUESTS, LOAD_GUESTS, suitesOf } from './lane.mjs'
import { MEMORY_MIB, runGuest } from './machine.mjs'

const WORK_DIR = join(root, 'build/vm')
const RESULTS = join(root, 'build/test-results/vm.json')
const MIB = 1024 * 1024
const LOGS = ['output', 'serial.log']
const LOG_LINES = 40

async function main(signal) {
  const guests = chosenGuests(process.argv.slice(2))
  rmSync(RESULTS, { force: true })
  await setup({ purposes: ['build', 'demo', 'test', 'vm'] })
  await build()
  compileAll()
  const machine = await withLock(join(downloadDir(), 'lock'), async () => ({
    emulator: await fetchEmulator(downloadDir()),
    kernels: await prepareKernels(guests),
  }))
  const counts = { passed: 0, failed: 0 }
  await sideBySide(guests, async (guest) => {
    if (signal.aborted) return
    for (const { failure } of await bootAndTell(guest, machine, signal))
      counts[failure === null ? 'passed' : 'failed'] += 1
  })
  if (signal.aborted) throw new StepFailure('test:vm: ended by a signal')
  mkdirSync(join(RESULTS, '..'), { recursive: true })
  writeFileSync(RESULTS, JSON.stringify(counts))
  process.stdout.write(`test:vm: ${counts.passed} passed, ${counts.failed} failed\n`)
  return counts.failed === 0 ? 0 : 1
}

function chosenGuests(args) {
  const files = args.filter((arg) => arg.endsWith('.test.ts'))
  const versions = args.filter((arg) => arg !== '--load' && !files.includes(arg))
  const missing = files.filter((file) => !existsSync(join(root, file)))
  if (missing.length > 0) throw new StepFailure(`test:vm: no file ${missing.join(', ')}`)
  const all = args.includes('--load') ? LOAD_GUESTS : files.length > 0 ? suitesOf(files) : GUESTS
  const unknown = versions.filter((version) => !all.some((guest) => guest.kernel === version))
  if (unknown.length > 0) {
    const known = [...new Set(all.map((guest) => guest.kernel))]
    throw new StepFailure(`test:vm: no kernel ${unknown.join(', ')}; there are ${known.join(', ')}`)
  }
  return all.filter((guest) => versions.length === 0 || versions.includes(guest.kernel))
}

/** One after the other: they share what they fetch. @returns {Promise<Map<string, { release: string, image: string, initramfs: string }>>} */
async function prepareKernels(guests) {
  const prepared = new Map()
  for (const kernel of KERNELS.filter(({ version }) => guests.some((guest) => guest.kernel === version))) {
    const fetched = await fetchKernel(kernel, downloadDir())
    const initramfs = join(WORK_DIR, `initramfs-${kernel.version}`)
    await writeInitramfs(fetched, initramfs)
    prepared.set(kernel.version, { ...fetched, initramfs })
  }
  return prepared
}

/** A guest keeps one CPU busy, so there are as many at once as there are CPUs, two at most, and memory for. */
async function sideBySide(guests, work) {
  const fitting = Math.floor(process.availableMemory() / (2 * MEMORY_MIB * MIB))
  const slots = Math.max(1, Math.min(2, availableParallelism(), fitting))
  const waiting = [...guests]
  const slot = async () => {
    for (let guest = waiting.shift(); guest !== undefined; guest = waiting.shift()) await work(guest)
  }
  await Promise.all(Array.from({ length: slots }, slot))
}

/** @returns {Promise<{ name: string, failure: string | null }[]>} a guest that never came to its checks is one that failed */
async function bootAndTell(guest, { emulator, kernels }, signal) {
  const kernel = kernels.get(guest.kernel)
  const outDir = join(WORK_DIR, `out-${guest.name.replace(/[ ,]+/g, '-')}`)
  rmSync(outDir, { recursive: true, force: true })
  mkdirSync(outDir, { recursive: true })
  const begun = Date.now()
  const { exitCode, cpuSeconds } = await runGuest({ ...guest, emulator, ...kernel, outDir, signal })
  const seconds = ((Date.now() - begun) / 1000).toFixed(0)
  const results = resultsOf(outDir, exitCode)
  const lines = results.map(({ name, failure }) =>
    failure === null ? `✓ ${guest.name}: ${name}` : `✗ ${guest.name}: ${name}\n${failure.replace(/^/gm, '    ')}`,
  )
  const took = `${seconds} s, ${cpuSeconds.toFixed(0)} s of CPU time`
  const ended = `${guest.name}: ${kernel.release}, ${guest.job}, ${took}`
  const isWell = results.every((result) => result.failure === null)
  process.stdout.write(`${[...lines, ended, ...(isWell ? [] : logsOf(outDir))].join('\n')}\n`)
  return results
}

/** The end of each; all of it stays in the folder. */
function logsOf(outDir) {
  const ends = LOGS.flatMap((name) => {
    const text = readOrEmpty(join(outDir, name)).trimEnd()
    return text === ''
      ? []
      : [
          `  ${name}:`,
          ...text
            .split('\n')
            .slice(-LOG_LINES)
            .map((line) => `    ${line}`),
        ]
  })
  return [`  its logs are in ${outDir}`, ...ends]
}

function readOrEmpty(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function resultsOf(outDir, exitCode) {
  try {
    const results = existsSync(join(outDir, 'vitest.json')) ? vitestResults(outDir) : ownResults(outDir)
    const failed = results.some((result) => result.failure !== null)
    if (results.length > 0 && failed === (exitCode !== 0)) return results
    return [...results, { name: 'ends as its checks say', failure: `it ended with ${exitCode}` }]
  } catch {
    const why = exitCode === null ? 'it never came to its end' : `it ended with ${exitCode} and left no results`
    return [{ name: 'does its job', failure: why }]
  }
}

function ownResults(outDir) {
  return JSON.parse(readFileSync(join(outDir, 'results.json'), 'utf8'))
}

/** A test that was skipped is one that failed: the guest has all that it takes. A file that could not be loaded is one too. */
function vitestResults(outDir) {
  const { testResults } = JSON.parse(readFileSync(join(outDir, 'vitest.json'), 'utf8'))
  return testResults.flatMap((file) => {
    const results = file.assertionResults.map(({ fullName, status, failureMessages }) => ({
      name: fullName,
      failure: status === 'passed' ? null : failureMessages.join('\n') || status,
    }))
    const isLoaded = file.status === 'passed' || results.some((result) => result.failure !== null)
    return isLoaded ? results : [...results, { name: file.name, failure: file.message || 'it could not be loaded' }]
  })
}

const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => stop.abort(new Error(name)))

if (process.getuid() === 0) await exitOnFailure(() => main(stop.signal))
else {
  say('test:vm: needs root; try again as root')
  process.exitCode = 1
}
