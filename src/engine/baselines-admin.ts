/**
 * What an engine is asked of what is usual: shown, and forgotten. Guards that a member sees and forgets its own, an administrator all, and that
 * what a member may not see is not named to it.
 */
import { SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import type {
  IBaseline,
  IForgetBaselineRequest,
  IForgetBaselineResponse,
  IListBaselinesResponse,
} from '../proto/codec.js'
import type { Caller } from '../proto/rpc.js'
import type { Access } from './access.js'
import type { Identity } from './detect/history.js'

export interface KeptIdentities {
  /** Each throws IO where nothing can be kept. */
  all(): IBaseline[]
  /** @returns whether there was something */
  forget(identity: Identity): boolean
}

export class BaselinesAdmin {
  private readonly options: { readonly access: Access; readonly kept: KeptIdentities | null; readonly log: Log }

  constructor(options: { readonly access: Access; readonly kept: KeptIdentities | null; readonly log: Log }) {
    this.options = options
  }

  list(caller: Caller): IListBaselinesResponse {
    const { access } = this.options
    return { baselines: this.kept.all().filter(({ ownerUid }) => access.owns(caller, ownerUid ?? 0)) }
  }

  forget(caller: Caller, request: IForgetBaselineRequest): IForgetBaselineResponse {
    const { access, log } = this.options
    const [agent, ownerUid] = [request.agent ?? '', request.ownerUid ?? 0]
    const isForgotten = access.owns(caller, ownerUid) && this.kept.forget({ agent, ownerUid })
    if (!isForgotten) throw new SluiceError('USAGE', `nothing is kept of the agent '${agent}' of user ${ownerUid}`)
    log.info({ agent, ownerUid, uid: caller.uid, pid: caller.pid }, 'what was usual is forgotten')
    return {}
  }

  private get kept(): KeptIdentities {
    if (this.options.kept !== null) return this.options.kept
    throw new SluiceError('IO', 'this engine keeps nothing from session to session')
  }
}
