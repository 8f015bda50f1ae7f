/**
 * Events that a receiver will never take, one line each, with the reason: for a person to look at, and to be sent again. Guards that a line is on disk
 * before its event counts as done, and that the file is bounded. Not here: who decides that a letter is dead.
 */
import { closeSync, constants, fstatSync, fsyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolders } from '../base/make-folders.js'
import { type EventJson, type EventKind, eventKind } from '../proto/event-json.js'

const MODE = 0o600
const FOLDER_MODE = 0o700
const BYTES_MAX = 64 * 1024 * 1024

export interface DeadLetter {
  readonly time: string
  readonly reason: string
  readonly event: EventJson
}

export class DeadLetters {
  private readonly folder: string
  private readonly path: string
  private readonly again: string

  constructor(folder: string, sink: string) {
    this.folder = join(folder, DEAD_FOLDER)
    this.path = join(this.folder, `${sink}${DEAD_END}`)
    this.again = join(this.folder, `${sink}${AGAIN_END}`)
  }

  /** How many there was no room for. Throws where the disk takes nothing. */
  add(letters: readonly { event: EventJson; reason: string }[], now: Date): number {
    makeFolders(this.folder, FOLDER_MODE)
    const fd = openSync(
      this.path,
      constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW,
      MODE,
    )
    try {
      let room = BYTES_MAX - fstatSync(fd).size
      let left = 0
      for (const { event, reason } of letters) {
        const letter: DeadLetter = { time: now.toISOString(), reason, event }
        const line = Buffer.from(`${JSON.stringify(letter)}\n`)
        room -= line.length
        if (room < 0) left++
        else writeSync(fd, line)
      }
      fsyncSync(fd)
      return left
    } finally {
      closeSync(fd)
    }
  }

  /** Those that somebody wants to be sent again; null: nobody does. What is no letter is left out. */
  wanted(): { event: EventJson; kind: EventKind }[] | null {
    let text: string
    try {
      text = readFileSync(this.again, 'utf8')
    } catch {
      return null
    }
    return text.split('\n').flatMap((line) => {
      try {
        const { event } = JSON.parse(line) as DeadLetter
        return [{ event, kind: eventKind(event) }]
      } catch {
        return []
      }
    })
  }

  /** All of those were sent. */
  done(): void {
    rmSync(this.again, { force: true })
  }
}

/** As the command line finds them, too. */
const DEAD_FOLDER = 'dead'
const DEAD_END = '.jsonl'
const AGAIN_END = '.again.jsonl'
