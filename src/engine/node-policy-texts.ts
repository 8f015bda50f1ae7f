/**
 * The texts of the node's policies, as the supervisor reads and sends them. Guards that an agent does not start with a mistake in them, and that
 * an engine which is started again works on with what was good last, whatever the files say by then. What they mean is engine/policy's.
 */
import { z } from 'zod'
import { SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { NodePolicies } from './policy/node-policies.js'
import { StateFile } from './state-file.js'

const sources = z.array(z.object({ name: z.string(), text: z.string() }))

/** What the supervisor sends whenever it looked and something is different. */
const told = z.object({ policies: sources })

export const nodePolicyConfig = z.strictObject({
  sources,
  /** Where the last good ones are. */
  stateFile: z.string().startsWith('/'),
  /** Refuse to start where one has a mistake and was never good. */
  strict: z.boolean(),
})

export type NodePolicyConfig = z.output<typeof nodePolicyConfig>

export class NodePolicyTexts {
  readonly policies: NodePolicies
  private readonly file: StateFile | null
  private readonly log: Log
  private saved = ''

  /** `config` undefined: this engine has none. Throws USAGE, with every mistake. */
  constructor(config: NodePolicyConfig | undefined, log: Log) {
    this.log = log
    this.file = config === undefined ? null : new StateFile(config.stateFile, log)
    const lastGood = sources.safeParse(this.file?.load())
    this.policies = new NodePolicies(config?.sources ?? [], lastGood.success ? lastGood.data : [])
    const { problems, unused } = this.policies
    if (config?.strict === true && unused.length > 0) {
      throw new SluiceError('USAGE', `a policy of this node can't be used: ${unused.join('; ')}`, {
        hint: '`sluice policy check` tells what is wrong with it',
      })
    }
    this.tell(problems)
    this.save()
  }

  /** Of the supervisor. Whether it was about policies. */
  told(message: unknown): boolean {
    const parsed = told.safeParse(message)
    if (!parsed.success) return false
    const before = this.policies.problems.join('\n')
    this.policies.update(parsed.data.policies)
    const { problems } = this.policies
    if (problems.join('\n') !== before) this.tell(problems)
    this.save()
    return true
  }

  private tell(problems: readonly string[]): void {
    for (const problem of problems) this.log.error({ problem }, 'a policy of the node has a mistake')
  }

  private save(): void {
    const now = JSON.stringify(this.policies.lastGood)
    if (now === this.saved) return
    this.saved = now
    this.file?.save(StateFile.encode(this.policies.lastGood))
  }
}
