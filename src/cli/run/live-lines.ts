/**
 * Writes the lines of `run --events` to stderr without ever waiting for who reads it. Guards the run: a full pipe or a stopped terminal
 * holds up neither events, nor signals, nor the record; lines that find no room are dropped and counted.
 *
 * A write that may block is done by a `cat` of its own, as it can be given up: a blocked thread of ours would hold up our exit, and
 * O_NONBLOCK on stderr would be set for the command too, which shares it.
 */
import { fstatSync } from 'node:fs'
import { isatty } from 'node:tty'
import { execa } from 'execa'
import { writeStderr } from '../../base/stderr.js'
import { ROLE_ENVIRONMENT } from '../../supervise/role.js'
import { withDeadline } from './deadline.js'

const STDERR = 2
/** Bytes that wait in our process: a burst that a reader who keeps up catches up with. The pipes and `cat` hold some more. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024
/** At the end: how long a reader who is behind may take for what is waiting. */
const END_DEADLINE_MS = 5_000

export interface LiveLines {
  /** One line without its line end. Never throws, never waits. */
  write(line: string): void
  /** Waits, not for long, until what was written is shown. What was not. Later calls give the same. */
  end(): Promise<Unshown>
}

/** `exact` false: at least so many. */
export interface Unshown {
  readonly lines: number
  readonly exact: boolean
}

export function openLiveLines(): LiveLines {
  return mayBlock(STDERR) ? throughHelper() : direct()
}

/** Pipes, sockets and terminals. */
function mayBlock(fd: number): boolean {
  try {
    const stat = fstatSync(fd)
    return stat.isFIFO() || stat.isSocket() || isatty(fd)
  } catch {
    return false
  }
}

function direct(): LiveLines {
  return {
    write: (line) => writeStderr(`${line}\n`),
    end: async () => ({ lines: 0, exact: true }),
  }
}

function throughHelper(): LiveLines {
  const helper = execa('cat', [], {
    stdio: ['pipe', STDERR, 'ignore'],
    buffer: false,
    reject: false,
    cwd: '/',
    env: ROLE_ENVIRONMENT,
    extendEnv: false,
    // A session of its own: what is typed at our terminal must not end it. It ends with our end of its stdin.
    detached: true,
    cleanup: false,
  })
  const { stdin } = helper
  let dropped = 0
  /** Handed over to the stream and not yet taken by the kernel. */
  let waiting = 0
  let gone = false
  let ending: Promise<Unshown> | null = null
  // A reader who has gone is no error; what is written from then on is dropped.
  stdin.on('error', () => {})
  void helper.then(() => {
    gone = true
  })

  async function end(): Promise<Unshown> {
    if (!stdin.destroyed) stdin.end()
    const inTime = await withDeadline(
      helper.then(() => true),
      END_DEADLINE_MS,
      () => false,
    )
    if (!inTime) {
      helper.kill('SIGKILL')
      stdin.destroy()
      await helper
    }
    return { lines: dropped + waiting, exact: inTime }
  }

  return {
    write(line) {
      if (gone || ending !== null || stdin.destroyed || stdin.writableLength > WAITING_BYTES_MAX) {
        dropped += 1
        return
      }
      waiting += 1
      stdin.write(`${line}\n`, (error) => {
        if (!error) waiting -= 1
      })
    },
    end() {
      ending ??= end()
      return ending
    },
  }
}
