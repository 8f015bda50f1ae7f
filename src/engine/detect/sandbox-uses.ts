/**
 * Who used which sandbox and which workspace last, over all sessions of this node. Guards that it has a limit. Asked and told by `sandbox_reuse`
 * when a session begins; nothing is kept on disk.
 */
import { hash53 } from './hash.js'

const USES_MAX = 20_000

export class SandboxUses {
  private readonly tasks = new Map<number, string>()

  /** The task that used it before, if that is another one; null otherwise. A task without a name is none. */
  use(place: string, task: string): string | null {
    if (task === '') return null
    const key = hash53(place)
    const before = this.tasks.get(key) ?? null
    this.tasks.delete(key)
    this.tasks.set(key, task)
    if (this.tasks.size > USES_MAX) this.forgetOldest()
    return before === task ? null : before
  }

  private forgetOldest(): void {
    const [oldest] = this.tasks.keys()
    if (oldest !== undefined) this.tasks.delete(oldest)
  }
}
