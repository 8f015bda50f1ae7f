/**
 * What the command line asks of the engine: runs, live events, and the sandboxes there are. Guards the number of runs, and that each
 * question is asked by somebody who may: every call is judged anew, as its caller may have been put into a sandbox meanwhile. Not
 * here: what a run is (run-call.ts), what is done to a sandbox (sandbox-admin.ts).
 */
import { SluiceError } from '../base/error.js'
import type {
  IAddSandboxRequest,
  IAddSandboxResponse,
  IChangeSandboxRequest,
  IChangeSandboxResponse,
  IForgetBaselineRequest,
  IForgetBaselineResponse,
  IListBaselinesResponse,
  IListSandboxesRequest,
  IListSandboxesResponse,
  IPlanRunRequest,
  IPlanRunResponse,
  ISetPolicyRequest,
  ISetPolicyResponse,
} from '../proto/codec.js'
import type { Caller, ControlHandler, RunServerCall, WatchServerCall } from '../proto/rpc.js'
import type { Access } from './access.js'
import type { BaselinesAdmin } from './baselines-admin.js'
import type { Readers } from './commits.js'
import { Run } from './run-call.js'
import type { RunParts } from './run-parts.js'
import { planRun } from './run-plan.js'
import type { SandboxAdmin } from './sandbox-admin.js'
import type { Watchers } from './watchers.js'

export const RUNS_MAX = 2_048

export interface ControlOptions {
  readonly runs: RunParts
  readonly access: Access
  readonly watchers: Watchers
  readonly admin: SandboxAdmin
  readonly baselines: BaselinesAdmin
  /** Null, or why this caller is not served now. */
  vet(caller: Caller): Promise<string | null>
}

export class ControlApi implements ControlHandler, Readers {
  private readonly options: ControlOptions
  private readonly runs = new Set<Run>()
  /** Runs that were refused because there are RUNS_MAX already. */
  refused = 0

  constructor(options: ControlOptions) {
    this.options = options
  }

  /** Its own check, of the process that it names, finds a caller in a sandbox too: children inherit the id. */
  run(call: RunServerCall): void {
    if (this.runs.size >= RUNS_MAX) {
      this.refused++
      call.fail(`this engine has ${RUNS_MAX} runs already; wait until one has ended`)
      return
    }
    const run = new Run(call, this.options.runs, () => this.runs.delete(run))
    this.runs.add(run)
  }

  async planRun(caller: Caller, request: IPlanRunRequest): Promise<IPlanRunResponse> {
    await this.vetted(caller)
    return planRun(this.options.runs.keeper, request)
  }

  watch(call: WatchServerCall): void {
    const { access, watchers } = this.options
    void this.vetted(call.caller).then(
      () => watchers.add(call, (ownerUid) => access.owns(call.caller, ownerUid)),
      (error: SluiceError) => call.fail(error),
    )
  }

  async listSandboxes(caller: Caller, _request: IListSandboxesRequest): Promise<IListSandboxesResponse> {
    await this.vetted(caller)
    return this.options.admin.list(caller)
  }

  async addSandbox(caller: Caller, request: IAddSandboxRequest): Promise<IAddSandboxResponse> {
    await this.vetted(caller)
    return this.options.admin.add(caller, request)
  }

  async changeSandbox(caller: Caller, request: IChangeSandboxRequest): Promise<IChangeSandboxResponse> {
    await this.vetted(caller)
    return this.options.admin.change(caller, request)
  }

  async setPolicy(caller: Caller, request: ISetPolicyRequest): Promise<ISetPolicyResponse> {
    await this.vetted(caller)
    return this.options.admin.setPolicy(caller, request)
  }

  async listBaselines(caller: Caller): Promise<IListBaselinesResponse> {
    await this.vetted(caller)
    return this.options.baselines.list(caller)
  }

  async forgetBaseline(caller: Caller, request: IForgetBaselineRequest): Promise<IForgetBaselineResponse> {
    await this.vetted(caller)
    return this.options.baselines.forget(caller, request)
  }

  /** A sensor is here, and with it the sessions that it knows of. */
  sensorConnected(): void {
    for (const run of [...this.runs]) run.sensorConnected()
  }

  flush(): void {
    for (const run of this.runs) run.flush()
  }

  has(sessionId: string, seq: bigint): boolean {
    if (this.options.runs.pipeline.unread.includes(sessionId)) return false
    for (const run of this.runs) if (run.sessionId === sessionId) return run.seen >= seq
    return true
  }

  /** Runs that are open fail: their record ends here. */
  stop(): void {
    for (const run of [...this.runs]) run.fail('the engine is stopping')
    this.options.watchers.stop()
  }

  private async vetted(caller: Caller): Promise<void> {
    const reason = await this.options.vet(caller)
    if (reason !== null) throw new SluiceError('PRIVILEGE', `the engine does not answer: ${reason}`)
  }
}
