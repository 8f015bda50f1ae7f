/**
 * The folder of what is usual, between root and the engine's user: made while the engine is root still, opened when it is not any more, so that
 * nothing that a user put there is followed as root. Guards that an engine runs without it where it can't be had.
 */
import { join } from 'node:path'
import { messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { makeOwnFolder } from '../base/own-folder.js'
import { Baselines } from './baselines.js'
import type { KeptIdentities } from './baselines-admin.js'
import type { History, Identity } from './detect/history.js'
import type { KeptBaselines } from './live-detection.js'

export const BASELINES_FILE = 'baselines.db'

export interface PreparedBaselines extends KeptBaselines, KeptIdentities {
  /** As the user that the engine is now. */
  open(): void
  close(): void
}

/** @param user that the engine becomes; null: it stays what it is */
export function prepareBaselines(folder: string, user: string | null, log: Log): PreparedBaselines {
  let kept: Baselines | null = null
  const orWithout = (work: () => void): boolean => {
    try {
      work()
      return true
    } catch (error) {
      log.warn(
        { folder, error: messageOf(error) },
        'what is usual can not be kept: sessions are measured by themselves',
      )
      return false
    }
  }
  const isThere = orWithout(() => makeOwnFolder(folder, user))
  return {
    open() {
      if (!isThere) return
      orWithout(() => {
        kept = new Baselines(join(folder, BASELINES_FILE), log)
      })
    },
    history: (identity: Identity): History | null => kept?.history(identity) ?? null,
    learn: (identity, lesson) => kept?.learn(identity, lesson),
    all: () => there(kept, folder).all(),
    forget: (identity) => there(kept, folder).forget(identity),
    close: () => kept?.close(),
  }
}

function there(kept: Baselines | null, folder: string): Baselines {
  if (kept !== null) return kept
  throw new SluiceError('IO', `nothing can be kept in ${folder}`, { hint: 'the log of the agent says why' })
}
