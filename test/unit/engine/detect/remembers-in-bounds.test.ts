/** What is remembered of one session, whatever it does: at most 64 KiB, measured on the heap; and what had no room is said. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeAll, describe, expect, it } from 'vitest'
import { Commands } from '../../../../src/engine/detect/command.js'
import { detectorsFor } from '../../../../src/engine/detect/detectors.js'
import type { ProcessFact } from '../../../../src/engine/detect/fact.js'
import { SandboxUses } from '../../../../src/engine/detect/sandbox-uses.js'
import { SessionDetection } from '../../../../src/engine/detect/session-detection.js'
import { NO_SETTINGS } from '../../../../src/engine/policy/detect-settings.js'
import { syntax } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

const SESSION_BYTES_MAX = 64 * 1024
/** Of a session that fills every table at once. */
const ALL_BYTES_MAX = 96 * 1024
const SESSIONS = 2
/** Of which the middle one counts. */
const ROUNDS = 5
/** Enough to fill every table that is not made full. */
const STEPS = 40
const WARMING_STEPS = 3
/** Some times as many as are kept for all sessions, behind those that fill that. */
const COMMANDS = 60_000
const FILLING = 20_000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function bytes(): number {
  // Twice: what buffers had is only given back when the next one begins.
  collect()
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** Once everything is full. A map with an entry for each command would have some 6 MiB. */
const GROWTH_BYTES_MAX = 2 * 1024 * 1024

/** Facts come one by one and are not kept: `say` gives each to the session at once. */
class Hostile extends Story {
  private readonly detection: SessionDetection

  constructor(detection: SessionDetection) {
    super()
    this.detection = detection
    for (const fact of this.facts.splice(0)) detection.take(fact)
  }

  override say(...[body, process]: Parameters<Story['say']>): ReturnType<Story['say']> {
    const fact = super.say(body, process)
    // Uids as long as ours, none of them twice.
    const own = { ...fact, uid: `${String(this.atMs).padStart(8, '0')}-1111-7222-8333-444444444444` }
    this.facts.length = 0
    this.detection?.take(own)
    return own
  }
}

type Step = (story: Hostile, at: number) => void
const shell = (story: Hostile, text: string): ProcessFact => story.exec(story.harness, ['bash', '-c', text])
const BIG = 'x'.repeat(1024 * 1024)
const WIDE = '\u{1f980}\u202e\u0301'.repeat(500)

const DOINGS: Record<string, Step> = {
  'distinct commands that never end': (story, at) => shell(story, `do-${at} ${at * 7} --with ${at % 13}`),
  'commands of 1 MiB': (story, at) => at % 10 === 0 && story.call(`echo ${at} ${BIG}`),
  'commands of odd characters': (story, at) => story.call(`${at} ${WIDE}`),
  'deep nesting': (story, at) => story.call(`${'$('.repeat(at % 200)}${'{ '.repeat(50)} a${at}`),
  'many words': (story, at) =>
    at % 10 === 0 && story.call(Array.from({ length: 2_000 }, (_, w) => `w${at}-${w}`).join(' ')),
  'long names of files': (story, at) => {
    const bash = shell(story, `write ${at}`)
    for (let file = 0; file < 40; file += 1) story.write(bash, `d${at}/${'y'.repeat(3_000)}${file}`)
    for (let file = 0; file < 5; file += 1) story.write(bash, `/opt/d${at}-${file}/${'y'.repeat(3_000)}/a`)
  },
  'hosts, names and refusals': (story, at) => {
    const bash = shell(story, `reach ${at}`)
    for (let host = 0; host < 20; host += 1) {
      story.attempt(bash, `tcp 10.${at % 256}.${host}.1:443`, `${'h'.repeat(200)}${at}-${host}.example`)
      story.lookUp(bash, `n${at}-${host}.${'l'.repeat(60)}.d${at % 9}.example.com`)
      story.say({ kind: 'attempt', target: `unix /${'u'.repeat(3_000)}${at}`, host: '', denied: true, count: 1 }, bash)
    }
  },
  'secrets, settings and ways out': (story, at) => {
    const bash = shell(story, `look ${at}`)
    story.read(bash, `/home/${'j'.repeat(2_000)}${at}/.ssh/id_rsa`)
    story.write(bash, `${'k'.repeat(2_000)}${at}/.git/hooks/pre-commit`)
    story.say({ kind: 'mount', path: `/${'m'.repeat(2_000)}${at}`, done: false }, bash)
    story.exec(bash, [`/dev/shm/${'p'.repeat(2_000)}${at}`])
  },
  'shells that are told much': (story, at) => {
    const bash = story.exec(story.harness, ['bash'])
    for (let line = 0; line < 5; line += 1) story.say({ kind: 'stdin', text: `${at} ${'z'.repeat(8_000)}` }, bash)
    story.exec(bash, ['ls', String(at)])
  },
}

function session(commands: Commands): SessionDetection {
  const parts = { settings: NO_SETTINGS, commands, uses: new SandboxUses(), history: null }
  return new SessionDetection({ commands, detectors: detectorsFor(parts) })
}

function growth(steps: readonly Step[], count: number): { each: number; shed: number } {
  const commands = new Commands(syntax)
  const run = () => {
    const detection = session(commands)
    const story = new Hostile(detection)
    for (let at = 0; at < count; at += 1) for (const step of steps) step(story, at)
    return detection
  }
  let shed = 0
  const round = () => {
    const sessions = Array.from({ length: SESSIONS }, run)
    for (const { processes, characters, met } of sessions.map((each) => each.shed)) shed += processes + characters + met
    const held = bytes()
    sessions.length = 0
    return (held - bytes()) / SESSIONS
  }
  // What goes with them is theirs; what stays is everybody's: commands that are known, the grammar's memory. Code comes and goes now and then.
  const rounds = Array.from({ length: ROUNDS }, round).sort((a, b) => a - b)
  const each = rounds[(ROUNDS - 1) / 2] ?? Number.NaN
  expect(commands.parsed).toBeGreaterThan(0)
  return { each, shed }
}

describe('a session that does everything to be remembered', () => {
  // Code that was run once goes with the first sessions, else.
  beforeAll(() => void growth(Object.values(DOINGS), WARMING_STEPS))

  it.each(Object.entries(DOINGS))('%s', { timeout: 120_000 }, (_, step) => {
    const { each } = growth([step], STEPS)
    expect(each).toBeLessThan(SESSION_BYTES_MAX)
  })

  it('all of it in turns, and says that not everything had room', { timeout: 240_000 }, () => {
    const { each, shed } = growth(Object.values(DOINGS), STEPS)
    // What few of them hold is less than what comes and goes besides; what all do is not.
    expect(each).toBeGreaterThan(ALL_BYTES_MAX / 4)
    expect(each).toBeLessThan(ALL_BYTES_MAX)
    expect(shed).toBeGreaterThan(0)
  })

  it('distinct commands without end', { timeout: 120_000 }, () => {
    const detection = session(new Commands(() => null))
    const story = new Hostile(detection)
    let at = 0
    const start = (count: number) => {
      for (const end = at + count; at < end; at += 1) story.exec(story.harness, [`p${at}`, 'x'])
    }
    start(FILLING)
    const before = bytes()
    start(COMMANDS)
    expect(bytes() - before).toBeLessThan(GROWTH_BYTES_MAX)
    expect(detection.shed.processes).toBeGreaterThan(0)
  })
})
