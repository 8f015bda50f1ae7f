/** The commands of `sluice baselines`: their options and help. What they do is loaded when one is called. */
import type { Command } from 'commander'
import {
  exitsWith,
  type Finish,
  isJsonWanted,
  type Settings,
  subcommand,
  withForm,
  withGlobals,
} from './command-parts.js'
import type { BaselinesContext } from './commands/baselines.js'
import { EXIT_USAGE } from './exit-code.js'

export function addBaselines(program: Command, finish: Finish): void {
  const group = withGlobals(program.command('baselines'))
    .summary('what is usual for agents, from their earlier sessions')
    .description(
      "Shows and forgets what the machine's agent has learnt of each agent (run --agent NAME) and user: yours, or all for root and " +
        'administrators. Where no agent runs, root may look at its file.',
    )
  exitsWith(group, EXIT_USAGE, finish)
  const add = (
    usage: string,
    summary: string,
    act: (command: Command, context: BaselinesContext) => Promise<number>,
  ) => {
    const whole = (command: Command, settings: Settings) => act(command, { json: isJsonWanted(command), settings })
    return withForm(subcommand({ group, finish }, [usage, summary], whole))
  }
  const loaded = () => import('./commands/baselines.js')
  add('ls', 'list the agents of which something is kept', async (_, context) => (await loaded()).listBaselines(context))
  add('forget <agent>', 'forget what is usual for an agent; its next sessions teach anew', async (command, context) =>
    (await loaded()).forgetBaseline(command.args[0] ?? '', command.opts<{ owner?: string }>().owner ?? null, context),
  ).option('--owner <user>', 'of this user, by name or uid, where several run one')
}
