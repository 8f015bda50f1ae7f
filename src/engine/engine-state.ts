/**
 * What an engine that is started again finds of the one before it: the key that redaction goes by, so that equal secrets stay equal, and
 * where the pipeline stood. Guards that a file of another form counts as none. Not here: the file's bytes (state-file.ts).
 */
import { randomBytes } from 'node:crypto'
import type { Log } from '../base/log.js'
import type { PipelineState } from './pipeline-state.js'
import { StateFile } from './state-file.js'

/** Raised when the form of what is kept changes. */
const FORM = 7
const REDACT_KEY_BYTES = 32

interface Kept {
  readonly form: number
  readonly redactKey: Uint8Array
  readonly pipeline: PipelineState | null
}

export class EngineState {
  readonly redactKey: Uint8Array
  /** Of the engine before this one; null if there was none. */
  readonly earlier: PipelineState | null
  private readonly file: StateFile | null

  /** @param path null: nothing is kept */
  constructor(path: string | null, log: Log) {
    this.file = path === null ? null : new StateFile(path, log)
    const kept = understood(this.file?.load())
    this.redactKey = kept?.redactKey ?? randomBytes(REDACT_KEY_BYTES)
    this.earlier = kept?.pipeline ?? null
    this.file?.save(this.encode(this.earlier))
  }

  get kept(): boolean {
    return this.file !== null
  }

  /** The state as it is now, to be written when `now` is called. */
  prepare(pipeline: PipelineState): { now(): boolean } {
    const bytes = this.encode(pipeline)
    return { now: () => this.file?.save(bytes) ?? false }
  }

  private encode(pipeline: PipelineState | null): Buffer {
    const kept: Kept = { form: FORM, redactKey: this.redactKey, pipeline }
    return StateFile.encode(kept)
  }
}

/** The file is ours alone, checked by its sum: of its form the number says enough. */
function understood(found: unknown): Kept | null {
  const form = typeof found === 'object' && found !== null ? Reflect.get(found, 'form') : null
  return form === FORM ? (found as Kept) : null
}
