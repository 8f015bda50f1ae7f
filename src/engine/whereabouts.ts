/**
 * Whether a caller, or a process that it names, is inside a sandbox: by the kernel's sticky id, which the sensor reads, and by its
 * cgroup. Guards that what can't be told counts as inside, and that a pid which changed hands meanwhile is not taken for its former
 * holder.
 */
import type { ConnectedSensor } from './ingest.js'
import { type ProcessFacts, processFacts } from './process-facts.js'
import type { SandboxRegistry } from './sandbox-registry.js'

export interface WhereaboutsOptions {
  readonly registry: Pick<SandboxRegistry, 'sandboxOf'>
  /** The sensor that is connected now. */
  sensor(): Pick<ConnectedSensor, 'commands' | 'nodeName' | 'bootId'> | null
  /** Of this machine. */
  readonly bootId: string
  facts?(pid: number): ProcessFacts | null
}

export class Whereabouts {
  private readonly options: WhereaboutsOptions
  private readonly facts: (pid: number) => ProcessFacts | null

  constructor(options: WhereaboutsOptions) {
    this.options = options
    this.facts = options.facts ?? processFacts
  }

  /** The sandbox that the process is in, `unknown` if it can't be told, null if it is in none. */
  async sandboxOf(pid: number): Promise<string | null> {
    const before = this.facts(pid)
    if (before === null) return 'unknown'
    const byCgroup = this.options.registry.sandboxOf(pid)
    if (byCgroup !== null) return byCgroup
    const byId = await this.bySticky(pid)
    if (byId !== null) return byId
    return this.facts(pid)?.startTicks === before.startTicks ? null : 'unknown'
  }

  /** The node of a sensor that is not on this machine: processes can't be named to it by their pids here. */
  elsewhere(): string | null {
    const sensor = this.options.sensor()
    return sensor === null || sensor.bootId === this.options.bootId ? null : sensor.nodeName
  }

  private async bySticky(pid: number): Promise<string | null> {
    const sensor = this.options.sensor()
    if (sensor === null) return 'unknown'
    // Its pids are others, and its sandboxes hold nobody who can call us.
    if (this.elsewhere() !== null) return null
    const outcome = await new Promise<{ ok: boolean; sandboxId?: string }>((resolve) =>
      sensor.commands.whoIs(pid, resolve),
    )
    if (!outcome.ok) return 'unknown'
    return outcome.sandboxId === undefined || outcome.sandboxId === '' ? null : outcome.sandboxId
  }
}
