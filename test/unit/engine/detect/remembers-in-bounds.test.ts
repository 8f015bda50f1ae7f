/** What is remembered of one session, whatever it does: at most 64 KiB, measured on the heap; and what had no room is said. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
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
const SESSIONS = 8
const STEPS = 100
const COMMANDS = 1_000_000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function bytes(): number {
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

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
  'commands of 1 MiB': (story, at) => at % 20 === 0 && story.call(`echo ${at} ${BIG}`),
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
  const sessions: SessionDetection[] = []
  const round = () => {
    const before = bytes()
    sessions.push(...Array.from({ length: SESSIONS }, run))
    return (bytes() - before) / SESSIONS
  }
  // What one round leaves besides is everybody's: code, the grammar's memory, commands that are known.
  const each = Math.min(round(), round(), round())
  const shed = sessions.reduce((sum, { shed: { processes, characters, met } }) => sum + processes + characters + met, 0)
  return { each, shed }
}

describe('a session that does everything to be remembered', () => {
  it.each(Object.entries(DOINGS))('%s', { timeout: 120_000 }, (_, step) => {
    const { each } = growth([step], STEPS)
    expect(each).toBeLessThan(SESSION_BYTES_MAX)
  })

  it('all of it in turns, and says that not everything had room', { timeout: 240_000 }, () => {
    const { each, shed } = growth(Object.values(DOINGS), STEPS)
    expect(each).toBeLessThan(ALL_BYTES_MAX)
    expect(shed).toBeGreaterThan(0)
  })

  it('a million distinct commands', { timeout: 240_000 }, () => {
    const detection = session(new Commands(() => null))
    const story = new Hostile(detection)
    const before = bytes()
    for (let at = 0; at < COMMANDS; at += 1) story.exec(story.harness, [`p${at}`, 'x'])
    // The cache of commands is for all sessions, and has a limit of its own.
    expect(bytes() - before).toBeLessThan(48 * 1024 * 1024)
    expect(detection.shed.processes).toBeGreaterThan(0)
  })
})
