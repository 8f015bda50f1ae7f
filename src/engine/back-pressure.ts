/**
 * Carries "stop" from a reader that can't keep up to whoever feeds the pipeline. As long as anyone holds, nothing more is read from
 * the sensor: its ring absorbs, and the kernel counts what does not fit. One slow reader holds up all: nothing is queued for it.
 */
export class BackPressure {
  private readonly holders = new Set<object>()
  private listener: (held: boolean) => void = () => {}

  get held(): boolean {
    return this.holders.size > 0
  }

  /** Called at each change from free to held and back. One listener. */
  onChange(listener: (held: boolean) => void): void {
    this.listener = listener
  }

  hold(holder: object): void {
    const before = this.held
    this.holders.add(holder)
    if (!before) this.listener(true)
  }

  /** Does nothing for one that does not hold. */
  release(holder: object): void {
    if (this.holders.delete(holder) && !this.held) this.listener(false)
  }
}
