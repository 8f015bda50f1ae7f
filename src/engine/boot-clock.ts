/**
 * What time it is, on the clock of the kernel's events: CLOCK_BOOTTIME plus the offset that the sensor read once at its start. Guards
 * that a step of the wall clock in mid-run moves no event of ours against those of the kernel, and no duration; and that the clock of
 * another machine, where a sensor may be, is not taken for ours. Not here: a wall clock that was wrong from the start.
 */

/** Parts of the native addon. */
export interface KernelClock {
  bootTimeNs(): bigint
  bootToUnixNs(): bigint
}

export class BootClock {
  private readonly kernel: KernelClock
  private readonly bootId: string
  private offsetNs: bigint
  private isSensorHere = true

  /** @param bootId of this machine */
  constructor(kernel: KernelClock, bootId: string) {
    this.kernel = kernel
    this.bootId = bootId
    this.offsetNs = kernel.bootToUnixNs()
  }

  /** CLOCK_BOOTTIME, of this machine. */
  bootTimeNs(): bigint {
    return this.kernel.bootTimeNs()
  }

  nowUnixNs(): bigint {
    return this.kernel.bootTimeNs() + this.offsetNs
  }

  /** A sensor has just started: until its first batch tells what it read, this is the closest to it. */
  sensorConnected(bootId: string): void {
    this.isSensorHere = bootId === this.bootId
    this.offsetNs = this.kernel.bootToUnixNs()
  }

  /** @param bootToUnixNs of a batch; 0 says nothing */
  follow(bootToUnixNs: bigint): void {
    if (bootToUnixNs !== 0n && this.isSensorHere) this.offsetNs = bootToUnixNs
  }
}
