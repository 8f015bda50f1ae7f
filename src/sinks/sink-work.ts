/**
 * The life of one sink's work, whatever it is: started, told to finish, given up at a deadline. Guards that no wait of it outlasts that deadline.
 */
import { setTimeout as sleep } from 'node:timers/promises'

export class SinkWork {
  private readonly given = new AbortController()
  private running: Promise<void> = Promise.resolve()
  private finishing = false

  /** Aborted when the deadline is over: what is under way is given up. */
  get signal(): AbortSignal {
    return this.given.signal
  }

  get isGivenUp(): boolean {
    return this.given.signal.aborted
  }

  /** What is there is still done, nothing is waited for. */
  get isFinishing(): boolean {
    return this.finishing
  }

  /** @param run ends by itself when the work is finishing and nothing is left, or is given up */
  start(run: () => Promise<void>): void {
    this.running = run()
  }

  /** Resolves when the work has ended. */
  async finish(deadline: AbortSignal): Promise<void> {
    this.finishing = true
    deadline.addEventListener('abort', () => this.given.abort(), { once: true })
    if (deadline.aborted) this.given.abort()
    await this.running
  }

  /** Shorter when the work is given up. */
  async wait(ms: number): Promise<void> {
    try {
      await sleep(ms, undefined, { signal: this.given.signal })
    } catch {
      // It is given up.
    }
  }
}
