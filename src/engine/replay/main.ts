/**
 * Reads a recording and writes it again with what detection derives from it: for `sluice replay`. Argument: the question as JSON. Data goes to
 * stdout, words for people to stderr. Only composes; nothing here is privileged or stays.
 */
import { readFileSync, writeSync } from 'node:fs'
import { z } from 'zod'
import { errnoCode, messageOf, reasonOf, SluiceError } from '../../base/error.js'
import { readLinesAtOnce } from '../../base/read-lines.js'
import { readYaml } from '../../base/yaml-file.js'
import type { ILadder } from '../../proto/codec.js'
import { loadBashGrammar } from '../bash-grammar.js'
import { Commands } from '../detect/command.js'
import { detectorsFor } from '../detect/detectors.js'
import { SandboxUses } from '../detect/sandbox-uses.js'
import { SessionDetection } from '../detect/session-detection.js'
import { type DetectSettings, detectSettings, NO_SETTINGS } from '../policy/detect-settings.js'
import { compiledLadders, laddersOf } from '../policy/ladders.js'
import { policySchema } from '../policy/schema.js'
import { Replay } from './derive.js'

const EXIT_IO = 1
const EXIT_DETECTED = 3
const EXIT_OWN_FAILURE = 125
const STDOUT = 1
const CHUNK_CHARS = 64 * 1024
/** Told one by one; then only counted. */
const PROBLEMS_TOLD_MAX = 20

/** `policy`: a file whose `detect:` and `respond:` hold. */
const question = z.object({
  ...{ file: z.string(), failOn: z.literal('detection').nullable() },
  policy: z.string().nullable().default(null),
  /** A file of baselines that sessions are measured by; null: each by itself. */
  baselines: z.string().nullable().default(null),
})

async function replay({ file, failOn, policy, baselines }: z.output<typeof question>): Promise<number> {
  const { settings, ladders } = policy === null ? { settings: NO_SETTINGS, ladders: [] } : asked(policy)
  const commands = new Commands(await loadBashGrammar())
  const kept = baselines === null ? null : (await import('../baselines.js')).readBaselines(baselines)
  const parts = { settings, commands, uses: new SandboxUses() }
  const session = new Replay({
    openSession: (agent) =>
      new SessionDetection({
        commands,
        detectors: detectorsFor({ ...parts, history: kept?.history(agent) ?? null }),
      }),
    ladders,
  })
  const out = new Output()
  let skipped = 0
  for (const { number, text } of readLinesAtOnce(file)) {
    if (text === '') continue
    try {
      if (text === null) throw new SluiceError('LIMIT', 'it is too long')
      for (const each of session.take(text)) out.line(each)
    } catch (error) {
      skipped += 1
      if (skipped <= PROBLEMS_TOLD_MAX) process.stderr.write(`${file}:${number}: ${wordsOf(error)}\n`)
      for (const each of session.unreadable(error)) out.line(each)
    }
  }
  out.flush()
  tell(session, skipped)
  return failOn !== null && session.detections > 0 ? EXIT_DETECTED : 0
}

/** What is wrong with a line, and what to do; a field that nobody checked is found where it is used. */
function wordsOf(error: unknown): string {
  if (!(error instanceof SluiceError)) {
    return `not an event: a field is not of the type that it has in a recording (${messageOf(error)})`
  }
  return error.hint === null ? error.message : `${error.message}; ${error.hint}`
}

function tell({ forgotten, shed }: Replay, skipped: number): void {
  if (skipped > 0) process.stderr.write(`sluice: ${skipped} bad line${skipped === 1 ? '' : 's'} skipped\n`)
  if (forgotten > 0) process.stderr.write(`sluice: ${forgotten} sessions were too many at once\n`)
  if (shed === 0) return
  const sessions = shed === 1 ? '1 session' : `${shed} sessions`
  process.stderr.write(`sluice: of ${sessions} not everything had room: what is derived of it may lack something\n`)
}

/** Of the policy only what it says of detectors, and what they lead to, counts here. Throws USAGE with every mistake. */
function asked(path: string): { settings: DetectSettings; ladders: readonly ILadder[] } {
  const read = readYaml(readPolicy(path), policySchema)
  if (read.ok) {
    return { settings: detectSettings(read.value.detect), ladders: compiledLadders(laddersOf(read.value)) }
  }
  const problems = read.problems.map(({ line, column, message }) => `${path}:${line}:${column}: ${message}`)
  throw new SluiceError('USAGE', problems.join('\n'))
}

function readPolicy(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new SluiceError('IO', `${path}: ${reasonOf(error)}`, { cause: error })
  }
}

/** Whole chunks, written when they are full: who reads them slowly holds us up. */
class Output {
  private text: string[] = []
  private chars = 0

  line(line: string): void {
    this.text.push(line, '\n')
    this.chars += line.length + 1
    if (this.chars >= CHUNK_CHARS) this.flush()
  }

  flush(): void {
    const bytes = Buffer.from(this.text.join(''))
    this.text = []
    this.chars = 0
    for (let at = 0; at < bytes.length; ) at += writeSome(bytes, at)
  }
}

/** A pipe that is full, and that somebody made non-blocking, is tried again. */
function writeSome(bytes: Buffer, at: number): number {
  try {
    return writeSync(STDOUT, bytes, at)
  } catch (error) {
    if (errnoCode(error) !== 'EAGAIN') throw error
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    return 0
  }
}

async function main(): Promise<number> {
  try {
    return await replay(question.parse(JSON.parse(process.argv[2] ?? 'null')))
  } catch (error) {
    // A reader who has seen enough is no error.
    if (errnoCode(error) === 'EPIPE') return 0
    if (error instanceof SluiceError) {
      process.stderr.write(`sluice: ${error.message}${error.hint === null ? '' : `; ${error.hint}`}\n`)
      return EXIT_IO
    }
    process.stderr.write(`sluice: internal error: ${messageOf(error)}\n`)
    return EXIT_OWN_FAILURE
  }
}

process.exitCode = await main()
