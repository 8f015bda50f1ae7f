/**
 * What `sluice replay` says of real sessions of a coding agent, and of the same sessions made to loop: sessions told of, by detector, by name where
 * it is a false alarm, and how many calls a loop takes until it is told. Then how fast a recording is replayed; with another build, in turns with
 * that, so that what the machine does besides is in both.
 *
 *   node bench/run.mjs detect FILE        FILE: gzipped JSON Lines, a session a line (docs/detection.md); about a minute
 *   node bench/run.mjs detect sessions FILE        only 10,000 live sessions: memory and CPU; 2 minutes
 *   node bench/run.mjs detect RECORDING.jsonl [OTHER]        OTHER: the bin/sluice of another build; CPU an event, five turns
 */
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadBashGrammar } from '../../build/js/engine/bash-grammar.js'
import { readShellText } from '../../build/js/engine/detect/shell-text.js'
import { eventsOf, readTrajectories } from '../../test/support/trajectory.mjs'
import { KINDS_OF_LOOPS, madeToLoop } from './loops.mjs'
import { manySessions } from './sessions.mjs'

const SLUICE = fileURLToPath(new URL('../../bin/sluice', import.meta.url))
const FACTS = new Set(['bash_heavy'])
const SPEED_EVENTS = 400_000
const TURNS = 5
/** Up to the most that a replay remembers; the first for the code to be warm. */
const LIVE_SESSIONS = [1_000, 1_000, 10_000]
const LIVE_EVENTS = 60
const STORIES = 100
const NEWLINE = 0x0a
/** USER_HZ is 100 on every architecture of ours. */
const MICROS_PER_TICK = 10_000

export async function run([file, other]) {
  if (file === undefined) {
    console.log('detect: not measured, as it was given no sessions: npm run bench -- detect FILE')
    return
  }
  if (file === 'sessions') {
    await live(readTrajectories(other), splitter(await loadBashGrammar()))
    return
  }
  if (file.endsWith('.jsonl')) {
    inTurns(file, other)
    return
  }
  const syntax = await loadBashGrammar()
  const split = splitter(syntax)
  const sessions = readTrajectories(file)
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  try {
    good(sessions, split, dir)
    loops(sessions, split, dir)
    speed(sessions, split, dir)
    await live(sessions, split)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function splitter(syntax) {
  return (cmd) => readShellText(cmd, syntax).commands.map(({ words }) => words)
}

async function live(sessions, split) {
  const stories = sessions.slice(0, STORIES).map((session) => eventsOf(session, split))
  const rows = []
  for (const count of LIVE_SESSIONS) rows.push(await manySessions(stories, { count, events: LIVE_EVENTS }))
  console.table(rows)
}

function good(sessions, split, dir) {
  const told = replayed(sessions, split, dir)
  const detectors = new Map()
  for (const { sessionId, detection } of told) {
    const found = detectors.get(detection.detector) ?? new Set()
    detectors.set(detection.detector, found.add(sessionId))
    if (!FACTS.has(detection.detector)) console.log(`  false alarm: ${sessionId}: ${detection.reason}`)
  }
  const share = (count) => `${((100 * count) / sessions.length).toFixed(1)} %`
  console.log(`${sessions.length} good sessions, ${sessions.flatMap(({ commands }) => commands).length} calls`)
  console.table([...detectors].map(([detector, { size }]) => ({ detector, sessions: size, share: share(size) })))
}

function loops(sessions, split, dir) {
  const rows = Object.keys(KINDS_OF_LOOPS).map((kind) => {
    const made = sessions.flatMap((session) => madeToLoop(session, kind) ?? [])
    const first = new Map()
    for (const event of replayed(made, split, dir)) {
      if (event.detection.detector === 'loop' && !first.has(event.sessionId)) first.set(event.sessionId, event)
    }
    const told = made.filter(({ session }) => first.has(session))
    const calls = told.map(({ session, onset }) => first.get(session).calls - onset).sort((a, b) => a - b)
    const at = (part) => calls[Math.min(calls.length - 1, Math.floor(part * calls.length))]
    return {
      loop: kind,
      sessions: made.length,
      told: told.length,
      'calls to detection, median': at(0.5),
      '95 %': at(0.95),
    }
  })
  console.table(rows)
}

/** Detections, each with how many calls its session had begun by then. */
function replayed(sessions, split, dir) {
  const recording = join(dir, 'sessions.jsonl')
  const fd = openSync(recording, 'w')
  for (const session of sessions) {
    writeSync(
      fd,
      `${eventsOf(session, split)
        .map((event) => JSON.stringify(event))
        .join('\n')}\n`,
    )
  }
  closeSync(fd)
  const out = join(dir, 'out.jsonl')
  replay(recording, openSync(out, 'w'))
  const calls = new Map()
  return readFileSync(out, 'utf8')
    .split('\n')
    .flatMap((line) => {
      if (line === '') return []
      const event = JSON.parse(line)
      const isCall = event.exec !== undefined && event.process.exe === '/bin/bash'
      if (isCall) calls.set(event.sessionId, (calls.get(event.sessionId) ?? 0) + 1)
      return event.detection === undefined ? [] : [{ ...event, calls: calls.get(event.sessionId) }]
    })
}

function replay(recording, out, sluice = SLUICE) {
  const { status } = spawnSync(sluice, ['replay', recording], { stdio: ['ignore', out, 'inherit'] })
  if (status !== 0) throw new Error(`sluice replay ended with ${status}`)
}

/** The same sessions over and over, each time as others, at least SPEED_EVENTS of them. */
function speed(sessions, split, dir) {
  const some = sessions.slice(0, 50).map((session) => eventsOf(session, split))
  const recording = join(dir, 'many.jsonl')
  const fd = openSync(recording, 'w')
  let events = 0
  for (let round = 0; events < SPEED_EVENTS; round += 1) {
    for (const session of some) {
      writeSync(
        fd,
        `${session.map((event) => JSON.stringify({ ...event, sessionId: `${event.sessionId}-${round}` })).join('\n')}\n`,
      )
      events += session.length
    }
  }
  closeSync(fd)
  const empty = join(dir, 'empty.jsonl')
  writeFileSync(empty, '')
  const timed = (file) => {
    const begun = performance.now()
    replay(file, openSync('/dev/null', 'w'))
    return performance.now() - begun
  }
  const own = timed(empty)
  const ms = timed(recording)
  console.log(
    `replay: ${Math.round(events / ((ms - own) / 1000))} events/s (${events} events, without the start-up of ${own.toFixed(0)} ms)`,
  )
}

/** CPU time with start-up taken off; the ratio is the median of the turns' ratios. */
function inTurns(recording, other) {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const empty = join(dir, 'empty.jsonl')
  writeFileSync(empty, '')
  const events = readFileSync(recording).reduce((lines, byte) => lines + (byte === NEWLINE ? 1 : 0), 0)
  const microsOf = (file, sluice) => {
    const out = openSync('/dev/null', 'w')
    const before = childMicros()
    replay(file, out, sluice)
    closeSync(out)
    return childMicros() - before
  }
  const perEvent = (sluice) => (microsOf(recording, sluice) - microsOf(empty, sluice)) / events
  try {
    const turns = Array.from({ length: TURNS }, () => ({
      here: perEvent(SLUICE),
      there: other === undefined ? null : perEvent(other),
    }))
    const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]
    const here = middle(turns.map((turn) => turn.here))
    console.log(`replay: ${here.toFixed(1)} µs of CPU an event (${events} events, ${TURNS} turns)`)
    if (other === undefined) return
    console.log(`of what ${other} takes: ${middle(turns.map((turn) => turn.here / turn.there)).toFixed(2)}`)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Of all that were started and have ended, by the kernel's count in clock ticks. */
function childMicros() {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ')
  return (Number(fields[13]) + Number(fields[14])) * MICROS_PER_TICK
}
