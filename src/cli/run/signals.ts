/**
 * Signals of `sluice run`. Guards two promises: the command gets every signal that was meant for it exactly once, and we do not
 * die before it, so that the record is complete and the stack is taken down.
 *
 * The command is in our process group and keeps the terminal. What a terminal sends (^C, ^\) reaches the whole foreground group, the
 * command included, so it is passed on only when it can't have come from there. Window size and job control (SIGWINCH, SIGTSTP,
 * SIGCONT) reach the group by themselves and are left alone.
 */
import { readFileSync } from 'node:fs'
import { signalNumber } from '../system-names.js'

/** Passed on always: nobody but kill(2) sends these to one process. A hang-up goes to the session's leader. */
const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const
/** A terminal gives these to the group itself. */
const FROM_TERMINAL = ['SIGINT', 'SIGQUIT'] as const
/** Those that end a run which has not started its command yet. */
const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT']

export interface SignalRelay {
  /** The number of the first signal that asked us to stop before there was a command, 0 if none. */
  readonly stopRequested: () => number
  /** Resolves when that happens. */
  readonly stop: Promise<number>
  /** From now on signals go to `send`; ask `stopRequested` about earlier ones. */
  attach(send: (signal: NodeJS.Signals) => void): void
  /** The command is gone: signals are swallowed until `dispose`. */
  detach(): void
  dispose(): void
}

export function relaySignals(isFromTerminal: () => boolean = isForeground): SignalRelay {
  let send: ((signal: NodeJS.Signals) => void) | null = null
  let over = false
  let requested = 0
  let announce: (signal: number) => void = () => {}
  const stop = new Promise<number>((resolve) => {
    announce = resolve
  })
  const handlers = [...FORWARDED, ...FROM_TERMINAL].map((signal): [NodeJS.Signals, () => void] => {
    const mayComeFromTerminal = FROM_TERMINAL.some((name) => name === signal)
    return [
      signal,
      () => {
        if (over) return
        if (send !== null) {
          if (!(mayComeFromTerminal && isFromTerminal())) send(signal)
        } else if (requested === 0 && ENDING.includes(signal)) {
          requested = signalNumber(signal)
          announce(requested)
        }
      },
    ]
  })
  for (const [signal, handler] of handlers) process.on(signal, handler)
  return {
    stop,
    stopRequested: () => requested,
    attach(target) {
      send = target
    },
    detach() {
      over = true
    },
    dispose() {
      for (const [signal, handler] of handlers) process.off(signal, handler)
    },
  }
}

/** Whether our process group is the one its controlling terminal sends ^C to. */
export function isForeground(): boolean {
  try {
    return isForegroundStat(readFileSync('/proc/self/stat', 'latin1'))
  } catch {
    return false
  }
}

/** The same from a line of /proc/PID/stat (proc(5)): fields after the name are state ppid pgrp session tty_nr tpgid. */
export function isForegroundStat(stat: string): boolean {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [, , pgrp, , tty, foreground] = fields
  return tty !== '0' && pgrp !== undefined && pgrp === foreground
}
