/**
 * `npm test`: sets up and builds, lints, type-checks the tests and runs them; arguments go to vitest. The last line is always
 * `N passed, N failed` (and `, N skipped`), counted from vitest's own report; everything above it is for people.
 *
 *   --summary-file PATH   write the last line there instead of printing it (for .ci/run, which prints it)
 *   --vm                  the guests of test/vm too: their checks count as tests
 *   --vm-load             of these only whether all programs load and attach there, and a whole run; goes before --vm
 *
 * Exit code 0 only when everything passed. With CI=true a skipped test is a failure: there, nothing may be missing.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { compileAll } from '../test/support/compiled.mjs'
import { build } from './build.mjs'
import { hasCommand } from './needs.mjs'
import { root } from './project.mjs'
import { capture, passThrough, report, say } from './run-command.mjs'
import { setup } from './setup.mjs'

const RESULTS = join(root, 'build/test-results/vitest.json')
/** With CI=true, what tests and the programs that they start said on stderr: what they expect there is no news in a log. */
const STDERR = join(root, 'build/test-results/stderr.log')
const STDERR_TOLD_CHARS = 20_000
const FAILURE_LINES = 25
const VM_RESULTS = join(root, 'build/test-results/vm.json')
const VM_OUTPUT = join(root, 'build/test-results/vm.log')
/** Guests run beside the tests of the host, which wait much, and take what these leave of the CPUs. */
const VM_NICENESS = 10
/** With CI=true a test that took longer is named. */
const SLOW_MS = 60_000
/** What is said when nothing could be counted. */
const NOTHING_RAN = Object.freeze({ passed: 0, failed: 1, skipped: 0 })

/** `command` returns the command line, or null where its program isn't installed; `repair` is a command that may help. */
const CHECKS = [
  { name: 'biome', command: () => ['node_modules/.bin/biome', 'check', '.'], repair: 'npm run format' },
  { name: 'clang-format', command: clangFormat, repair: 'npm run format' },
  { name: 'buf', command: () => ['node_modules/.bin/buf', 'lint', 'proto'] },
  {
    name: 'types of the tests',
    command: () => ['node_modules/.bin/tsc', '-p', 'tsconfig.test.json', '--pretty', 'false'],
  },
]

async function main() {
  const { summaryFile, guests, vitestArgs } = parseArguments(process.argv.slice(2))
  const outcome = await runAll(vitestArgs, guests)
  const { passed, failed, skipped } = outcome.counts
  // Once more at the end, where whoever reads a long log looks first.
  for (const failure of outcome.failures) say(`test: failed: ${failure}`)
  const line = `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`
  for (const problem of outcome.problems) say(`test: ${problem}`)
  if (summaryFile !== null) writeFileSync(summaryFile, line)
  else process.stdout.write(line)
  return outcome.problems.length === 0 && failed === 0 ? 0 : 1
}

/** @returns {Promise<{ counts: { passed: number, failed: number, skipped: number }, failures: string[], problems: string[] }>} */
async function runAll(vitestArgs, guests) {
  try {
    await setup({ purposes: ['build', 'demo', 'test'] })
    await build()
  } catch (error) {
    report(error)
    return { counts: NOTHING_RAN, failures: [], problems: ['no test ran: the project could not be built'] }
  }
  const problems = await timed('checks', runChecks)
  mkdirSync(dirname(RESULTS), { recursive: true })
  // What both use is made before either begins.
  if (guests !== null) compileAll()
  const inGuests = guests === null ? null : timed('guests', () => runGuests(guests))
  const { counts, failures, exitCode } = await timed('vitest', () => runVitest(vitestArgs))
  if (exitCode !== 0 && counts.failed === 0) {
    // No test to run, or an error outside of all tests.
    counts.failed = 1
    problems.push(`vitest ended with ${exitCode}: see above`)
  }
  if (inGuests !== null) {
    const counted = await inGuests
    say(readFileSync(VM_OUTPUT, 'utf8').trimEnd())
    counts.passed += counted.passed
    counts.failed += counted.failed
    if (counted.failed > 0) failures.push(`${counted.failed} checks in guests: see the lines with ✗ above`)
  }
  if (counts.skipped > 0 && process.env.CI === 'true') problems.push('tests were skipped, which CI=true does not allow')
  return { counts, failures, problems }
}

/** Says how long it took: the whole has a limit where it is run for every change. */
async function timed(what, work) {
  const begun = performance.now()
  const result = await work()
  say(`test: ${what} ${((performance.now() - begun) / 1000).toFixed(0)} s`)
  return result
}

/** What left no counts failed before it could count. What it said is in VM_OUTPUT. */
async function runGuests(args) {
  rmSync(VM_RESULTS, { force: true })
  const run = [process.execPath, join(root, 'test/vm/run.mjs'), ...args]
  const output = openSync(VM_OUTPUT, 'w')
  const exitCode = await passThrough('nice', ['-n', String(VM_NICENESS), ...run], {
    cwd: root,
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  try {
    const { passed, failed } = JSON.parse(readFileSync(VM_RESULTS, 'utf8'))
    return { passed, failed: exitCode !== 0 && failed === 0 ? 1 : failed }
  } catch {
    return { passed: 0, failed: 1 }
  }
}

async function runChecks() {
  const problems = []
  for (const { name, command, repair } of CHECKS) {
    const line = command()
    if (line === null) {
      say(`test: ${name} skipped: it is not installed`)
      continue
    }
    const { code, output } = await capture(line[0], line.slice(1), { cwd: root })
    if (code === 0) continue
    say(output.trimEnd())
    problems.push(`${name} found problems: see above${repair === undefined ? '' : ` (${repair} repairs most)`}`)
  }
  return problems
}

async function runVitest(args) {
  rmSync(RESULTS, { force: true })
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${RESULTS}`]
  // A log that is read from its end, or in part, has a line a file.
  const isQuiet = process.env.CI === 'true'
  const line = [vitest, 'run', ...reporters, ...(isQuiet ? [`--slowTestThreshold=${SLOW_MS}`] : []), ...args]
  const exitCode = await (isQuiet ? passThroughApart(line) : passThrough(process.execPath, line, { cwd: root }))
  return { ...readResults(), exitCode }
}

/** Of what went to stderr only the end is told, and only where something failed. */
async function passThroughApart(line) {
  const stderr = openSync(STDERR, 'w')
  try {
    const exitCode = await passThrough(process.execPath, line, { cwd: root, stdio: ['ignore', 'inherit', stderr] })
    if (exitCode !== 0)
      say(`${readFileSync(STDERR, 'utf8').slice(-STDERR_TOLD_CHARS)}\ntest: the end of ${relative(root, STDERR)}`)
    return exitCode
  } finally {
    closeSync(stderr)
  }
}

/** A file that could not be loaded holds no tests but failed all the same: it counts as one. */
function readResults() {
  let results
  try {
    results = JSON.parse(readFileSync(RESULTS, 'utf8'))
  } catch {
    return { counts: { ...NOTHING_RAN }, failures: [] }
  }
  const failures = results.testResults.filter((file) => file.status === 'failed').flatMap(failuresOf)
  return {
    counts: {
      passed: results.numPassedTests,
      failed: failures.length,
      skipped: results.numPendingTests + results.numTodoTests,
    },
    failures,
  }
}

/** @returns {string[]} of each the file, the test's name and the first lines of what it said */
function failuresOf(file) {
  const path = relative(root, file.name)
  const failed = file.assertionResults.filter((each) => each.status === 'failed')
  if (failed.length === 0) return [`${path}: ${firstLines(file.message)}`]
  return failed.map((each) => `${path} > ${each.fullName}: ${firstLines(each.failureMessages[0])}`)
}

function firstLines(text) {
  return stripVTControlCharacters(text ?? '')
    .split('\n')
    .filter((line) => !line.includes('node_modules/'))
    .slice(0, FAILURE_LINES)
    .join('\n')
}

function clangFormat() {
  if (!hasCommand('clang-format')) return null
  const sources = ['bpf', 'native'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => /\.(c|h|cc)$/.test(name))
      .map((name) => join(folder, name)),
  )
  return ['clang-format', '--dry-run', '-Werror', ...sources]
}

function parseArguments(args) {
  const at = args.indexOf('--summary-file')
  const rest = at === -1 ? args : args.toSpliced(at, 2)
  return {
    summaryFile: at === -1 ? null : (args[at + 1] ?? null),
    guests: rest.includes('--vm-load') ? ['--load'] : rest.includes('--vm') ? [] : null,
    vitestArgs: rest.filter((arg) => arg !== '--vm' && arg !== '--vm-load'),
  }
}

process.exitCode = await main()
