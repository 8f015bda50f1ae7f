/**
 * Policies that sandboxes have now, by the name that the engine gave each: the same policy for many sandboxes is sent, read and held once.
 * It guards that a name stands for what was applied under it, and is forgotten with the last sandbox that has it. `S` names a sandbox, `P` is
 * what a policy is kept as.
 */

interface Known<P> {
  readonly policy: P
  users: number
}

export class KnownPolicies<S, P> {
  readonly #byName = new Map<string, Known<P>>()
  readonly #bySandbox = new Map<S, string>()

  /** Null: no sandbox has it. */
  find(name: string): P | null {
    return this.#byName.get(name)?.policy ?? null
  }

  /** The sandbox has it from here on, in place of any other. An empty name is none. */
  set(sandbox: S, name: string, policy: P): void {
    if (this.#bySandbox.get(sandbox) === name) return
    this.forget(sandbox)
    if (name === '') return
    const known = this.#byName.get(name)
    if (known === undefined) this.#byName.set(name, { policy, users: 1 })
    else known.users += 1
    this.#bySandbox.set(sandbox, name)
  }

  forget(sandbox: S): void {
    const name = this.#bySandbox.get(sandbox)
    const known = name === undefined ? undefined : this.#byName.get(name)
    this.#bySandbox.delete(sandbox)
    if (name === undefined || known === undefined) return
    known.users -= 1
    if (known.users === 0) this.#byName.delete(name)
  }
}
