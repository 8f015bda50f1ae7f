/**
 * Every checkpoint as a line of a file, for whoever carries them away: a witness that is kept elsewhere finds what was cut here. Guards that the
 * file stays bounded. Nothing rests on it: what is in the journals is what counts.
 */
import { appendFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, reasonOf } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import { type SignedCheckpoint, witnessLine } from '../../proto/journal/checkpoint.js'
import { CHECKPOINTS_FILE } from '../../proto/journal/journal-folder.js'

export const CHECKPOINT_FILE_BYTES = 16 * 1024 * 1024
const MODE = 0o600

export class CheckpointFile {
  private readonly path: string
  private readonly log: Log
  private complained = false

  constructor(folder: string, log: Log) {
    this.path = join(folder, CHECKPOINTS_FILE)
    this.log = log
  }

  add(signed: SignedCheckpoint): void {
    try {
      if (this.size() >= CHECKPOINT_FILE_BYTES) renameSync(this.path, `${this.path}.1`)
      appendFileSync(this.path, `${witnessLine(signed)}\n`, { mode: MODE })
      this.complained = false
    } catch (error) {
      if (!this.complained) this.log.error({ error: reasonOf(error) }, 'checkpoints can not be put out')
      this.complained = true
    }
  }

  private size(): number {
    try {
      return statSync(this.path).size
    } catch (error) {
      if (errnoCode(error) === 'ENOENT') return 0
      throw error
    }
  }
}
