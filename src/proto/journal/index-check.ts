/**
 * What checkpoints say of the node's index, held against the index that is there: each names the last entry that there was. Guards that an index
 * which was cut back, begun anew or taken away is found by any journal, or witness, that is left. Not here: the index itself.
 */
import type { Checkpoint } from './checkpoint.js'
import type { IndexReport } from './node-index.js'

export class IndexCheck {
  readonly report: IndexReport
  private found: string | null

  constructor(report: IndexReport) {
    this.report = report
    const { problem } = report
    this.found = problem === null ? null : `entry ${problem.entry}: ${problem.reason}`
  }

  /** The first thing that does not fit; null: nothing. */
  get problem(): string | null {
    return this.found
  }

  /** One whose signature is good, wherever it was kept. */
  take({ sessionId, number, index }: Checkpoint): void {
    if (index === null || this.found !== null) return
    const { first, last } = this.report
    const by = `checkpoint ${number} of ${sessionId} names entry ${index.number}`
    if (index.number > last) {
      this.found = `entry ${last + 1} is missing: ${by}`
    } else if (index.number >= first && this.report.entry(index.number)?.hash !== index.hash) {
      this.found = `entry ${index.number} is another than it was: ${by}`
    } else if (index.own >= first && index.own > 0 && this.report.entry(index.own)?.sessionId !== sessionId) {
      this.found = `entry ${index.own} does not list ${sessionId}, whose checkpoint ${number} says so`
    }
  }

  /** Sessions that are listed and not removed. @param isHere whether it has a folder */
  missing(isHere: (sessionId: string) => boolean): string[] {
    return [...this.report.sessions].flatMap(([id, { isRemoved }]) => (isRemoved || isHere(id) ? [] : [id]))
  }
}
