/**
 * `drop_and_run`: a program runs that the session itself put there, or that is in memory only. What compilers, linkers and installers wrote is what
 * they are for, and does not count. Told once a program. Not seen: what an interpreter reads, since a script is text like any other.
 */
import { clipped, Met } from './bounded.js'
import type { Fact } from './fact.js'
import { type Detector, type Finding, NONE } from './finding.js'
import { hash32 } from './hash.js'
import type { ToolCall } from './tool-call.js'
import type { Lineage } from './tool-calls.js'

/** Files that were written, the latest. */
const FILES_MAX = 1_024
/** A power of two, as FILES_MAX is. */
const FILES_FIRST = 16
const TOLD_MAX = 32
const PATH_CHARS_MAX = 200
const SHARED_MEMORY = /^\/(?:dev\/shm|run\/shm)\//

export class DropAndRunDetector implements Detector {
  /** As wide as it has to be: most sessions write some. */
  private files = new Int32Array(FILES_FIRST)
  private next = 0
  private readonly told = new Met(TOLD_MAX)
  private count = 0
  private forgotten = 0

  shed(): number {
    return this.forgotten + this.told.forgotten
  }

  fact(fact: Fact, _: ToolCall | null, { installs }: Lineage): readonly Finding[] {
    if (fact.kind === 'mutation') {
      if (!installs) this.written(fact)
      return NONE
    }
    if (fact.kind !== 'exec' || fact.process === null || fact.adopted) return NONE
    const { exe } = fact.process
    const how = this.howOf(fact, exe)
    if (how === null || !this.told.add(exe)) return NONE
    this.count += 1
    return [
      {
        ...{ detector: 'drop_and_run', severity: 'medium', title: 'A program that was just put there' },
        reason: `${clipped(exe, PATH_CHARS_MAX)} was run: ${how}`,
        ...{ evidence: [fact.uid], measured: this.count, threshold: 1, baseline: null },
      },
    ]
  }

  private howOf({ memfd, file, script }: Fact & { kind: 'exec' }, exe: string): string | null {
    if (memfd) return 'it is in memory and was never a file'
    if (SHARED_MEMORY.test(exe) || SHARED_MEMORY.test(script)) return 'it lies in shared memory'
    // Of a script the interpreter is what runs.
    const isWritten = this.has(file === '' ? exe : file)
    return isWritten ? 'this session wrote it, and no compiler or installer did' : null
  }

  private written({ how, file, paths }: Fact & { kind: 'mutation' }): void {
    if (how === 'WRITE') this.note(file === '' ? (paths[0] ?? '') : file)
    // A recording without numbers of files knows it by its name only.
    else if (how === 'RENAME' && this.has(paths[0] ?? '')) this.note(paths[1] ?? '')
  }

  private has(file: string): boolean {
    return file !== '' && this.files.includes(hash32(file) || 1)
  }

  private note(file: string): void {
    const number = hash32(file) || 1
    if (file === '' || this.files.includes(number)) return
    if (this.next === FILES_MAX) this.next = 0
    else if (this.next === this.files.length) {
      const wider = new Int32Array(2 * this.files.length)
      wider.set(this.files)
      this.files = wider
    }
    if (this.files[this.next] !== 0) this.forgotten += 1
    this.files[this.next] = number
    this.next += 1
  }
}
