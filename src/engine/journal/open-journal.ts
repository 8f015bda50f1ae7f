/**
 * The journal's folder, before privileges go: keys are root's, what is written is the engine's user's. Guards that an engine which can't have
 * a journal works on without one and says so: enforcement never hangs on it.
 */
import { chmodSync, chownSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { findUser } from '../../base/drop-privileges.js'
import { messageOf } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import { makeFolders } from '../../base/make-folders.js'
import type { IEvent } from '../../proto/codec.js'
import type { Checkpoint, SignedCheckpoint } from '../../proto/journal/checkpoint.js'
import { CHECKPOINTS_FOLDER, INDEX_FOLDER, KEYS_FOLDER, SESSIONS_FOLDER } from '../../proto/journal/journal-folder.js'
import { checkpointEvent } from './checkpoint-event.js'
import { CheckpointFile } from './checkpoint-file.js'
import { IndexUpkeep } from './index-upkeep.js'
import { Journal } from './journal.js'
import { type JournalKey, loadJournalKey } from './journal-keys.js'
import { NodeIndex } from './node-index.js'
import { Retention } from './retention.js'

const PASSWD = '/etc/passwd'
const OPEN_MODE = 0o755
const OWN_MODE = 0o700
const ROOT_UID = 0

export interface JournalSettings {
  readonly dir: string
  /** Sessions that were over for longer are removed. */
  readonly keepDays: number
  /** Of all sessions; the oldest go first. */
  readonly keepBytes: number
}

export interface OpenedJournal {
  readonly journal: Journal
  stop(): Promise<void>
}

/** Null: there is none, and the log says why. */
export function openJournal(
  settings: JournalSettings | undefined,
  parts: {
    user: string | null
    log: Log
    isResumable: boolean
    nowUnixNs(): bigint
    /** Of the node: what it has signed. */
    tell(event: IEvent): void
  },
): OpenedJournal | null {
  if (settings === undefined) return null
  const { user, log, isResumable, nowUnixNs } = parts
  try {
    const key = prepared(settings.dir, user)
    const folder = join(settings.dir, SESSIONS_FOLDER)
    const file = new CheckpointFile(join(settings.dir, CHECKPOINTS_FOLDER), log)
    const onCheckpoint = (signed: SignedCheckpoint, said: Checkpoint) => {
      file.add(signed)
      parts.tell(checkpointEvent(said, signed))
    }
    const indexFolder = join(settings.dir, INDEX_FOLDER)
    const index = new NodeIndex({ folder: indexFolder, key, log, nowUnixNs })
    const journal = new Journal({ folder, key, log, isResumable, index, nowUnixNs, onCheckpoint })
    const { keepDays } = settings
    const upkeep = new IndexUpkeep({ folder: indexFolder, index, keepDays, nowUnixNs })
    const isInUse = (id: string) => journal.has(id)
    const retention = new Retention({ ...settings, folder, log, index: upkeep, isInUse })
    retention.start()
    return {
      journal,
      async stop() {
        retention.stop()
        journal.stop()
        await index.stop()
      },
    }
  } catch (error) {
    log.warn({ error: messageOf(error), dir: settings.dir }, 'there is no journal: sessions leave no signed history')
    return null
  }
}

function prepared(dir: string, user: string | null): JournalKey {
  const isRoot = process.getuid?.() === ROOT_UID
  const owner = user === null || !isRoot ? null : findUser(readFileSync(PASSWD, 'utf8'), user)
  makeFolders(dir, OPEN_MODE)
  const keys = join(dir, KEYS_FOLDER)
  makeFolders(keys, OPEN_MODE)
  const key = loadJournalKey(keys)
  for (const name of [SESSIONS_FOLDER, CHECKPOINTS_FOLDER, INDEX_FOLDER]) {
    const path = join(dir, name)
    makeFolders(path, OWN_MODE)
    chmodSync(path, OWN_MODE)
    if (owner !== null) chownSync(path, owner.uid, owner.gid)
  }
  return key
}
