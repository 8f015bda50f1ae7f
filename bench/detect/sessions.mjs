/**
 * Many live sessions at once, in one Replay: each event goes to another session than the one before. Memory of a session is what goes when all of
 * them do; CPU is that of the process, the lines made beforehand.
 */
import { serialize, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { loadBashGrammar } from '../../build/js/engine/bash-grammar.js'
import { Commands } from '../../build/js/engine/detect/command.js'
import { detectorsFor } from '../../build/js/engine/detect/detectors.js'
import { SandboxUses } from '../../build/js/engine/detect/sandbox-uses.js'
import { SessionDetection } from '../../build/js/engine/detect/session-detection.js'
import { NO_SETTINGS } from '../../build/js/engine/policy/detect-settings.js'
import { Replay } from '../../build/js/engine/replay/derive.js'

const KIB = 1024
const MICROS = 1_000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')

function bytes() {
  // Twice: what buffers had is only given back when the next one begins.
  collect()
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** @param {object[][]} stories events of sessions, which are taken in turns; each session has the first `events` of one. */
export async function manySessions(stories, { count, events }) {
  const commands = new Commands(await loadBashGrammar())
  const parts = { settings: NO_SETTINGS, commands, uses: new SandboxUses(), history: null }
  const detections = []
  const openSession = () => {
    const detection = new SessionDetection({ commands, detectors: detectorsFor(parts) })
    detections.push(detection)
    return detection
  }
  const own = Array.from({ length: count }, (_, at) => stories[at % stories.length].slice(0, -1))
  let [taken, nanos] = [0, 0n]
  let replay = new Replay({ openSession })
  for (let step = 0; step < events; step += 1) {
    // Of one step at a time: what is read is not what is measured.
    const lines = own.flatMap((story, at) =>
      story[step] === undefined ? [] : [JSON.stringify({ ...story[step], sessionId: `session-${at}` })],
    )
    const begun = process.cpuUsage()
    for (const line of lines) replay.take(line)
    const { user, system } = process.cpuUsage(begun)
    nanos += BigInt(user + system) * BigInt(MICROS)
    taken += lines.length
  }
  const { forgotten } = replay
  const states = detections.map((detection) => serialize(detection.state).length)
  const held = bytes()
  replay = null
  detections.length = 0
  const each = (held - bytes()) / count
  return {
    'live sessions': count - forgotten,
    'events of each': Math.round(taken / count),
    'KiB a session': Math.round((10 * each) / KIB) / 10,
    'KiB of it saved': Math.round((10 * states.reduce((sum, state) => sum + state, 0)) / count / KIB) / 10,
    'µs of CPU an event': Math.round(Number(nanos) / MICROS / taken / 0.1) / 10,
  }
}
