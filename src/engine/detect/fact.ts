/**
 * What detection sees of an event: who did it, when by the event's own clock, and what it did. Everything else of an event is nobody's
 * business here. Times are ms of Unix time with a fraction; text is byte text (proto/text.ts).
 */
import type { Long } from '../../proto/codec.js'

/** As the event has it: the field of a message, or the text of its JSON. Nobody here reads it. */
export type EventTime = Long | string

export interface ProcessFact {
  readonly execId: string
  /** Empty: the parent was never seen. */
  readonly parentExecId: string
  /** The program out of which it was forked, where the parent is a fork that never started one itself (a subshell); empty elsewhere. */
  readonly spawnerExecId: string
  readonly pid: number
  readonly exe: string
  readonly args: readonly string[]
  readonly cwd: string
}

/** How a file was changed: `WRITE` is a successful open for writing. */
export type MutationHow =
  | 'WRITE'
  | 'RENAME'
  | 'UNLINK'
  | 'LINK'
  | 'SYMLINK'
  | 'TRUNCATE'
  | 'CHMOD'
  | 'MKDIR'
  | 'RMDIR'
  | 'OTHER'

/** A file as the kernel knows it, `dev:inode`; empty: it was not told. */
export type FileId = string

export type FactBody =
  | {
      readonly kind: 'started'
      readonly workdir: string
      readonly sandbox: string
      /** Empty: nobody said. */
      readonly task: string
    }
  | {
      readonly kind: 'exec'
      readonly script: string
      readonly memfd: boolean
      readonly file: FileId
      /** It ran before it was watched. */
      readonly adopted: boolean
    }
  | { readonly kind: 'exit'; readonly code: number; readonly signal: number }
  | { readonly kind: 'stdin'; readonly text: string }
  /** `asked`: the path as it was passed. */
  | { readonly kind: 'read'; readonly path: string; readonly asked: string }
  | {
      readonly kind: 'mutation'
      readonly how: MutationHow
      readonly paths: readonly string[]
      readonly file: FileId
    }
  /** Opened for writing, and no file: a device, or what the kernel itself offers. */
  | { readonly kind: 'special'; readonly path: string; readonly asked: string }
  /** An open or a change that was not allowed. */
  | { readonly kind: 'refused'; readonly path: string; readonly asked: string; readonly write: boolean }
  | { readonly kind: 'mount'; readonly path: string; readonly done: boolean }
  | { readonly kind: 'cgroup'; readonly op: string; readonly path: string }
  | {
      readonly kind: 'attempt'
      readonly target: string
      readonly host: string
      readonly denied: boolean
      readonly count: number
      /** The rule of the policy that allowed just this; absent: none did, or there is no policy. */
      readonly rule?: string
      /** Nobody was there. */
      readonly isAbsent?: boolean
    }
  | { readonly kind: 'name'; readonly name: string; readonly denied: boolean }
  /** A connection that is over: what went out by it. */
  | { readonly kind: 'closed'; readonly bytes: number }
  /** The sandbox reached a limit. `throttled`: one that it has for what it did. */
  | { readonly kind: 'limit'; readonly what: string; readonly throttled: boolean }
  | { readonly kind: 'ended' }

export type Fact = {
  readonly uid: string
  readonly timeMs: number
  /** The same. */
  readonly time: EventTime
  /** Null where no process is concerned. */
  readonly process: ProcessFact | null
} & FactBody

/** Names one process, whatever it exec'd: an execId without its last part. */
export function processOf(execId: string): string {
  return execId.slice(0, execId.lastIndexOf('-'))
}

/** Where the last part of an execId begins. */
export function processEnd(execId: string): number {
  return Math.max(0, execId.lastIndexOf('-'))
}
