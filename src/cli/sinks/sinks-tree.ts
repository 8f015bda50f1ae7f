/** The commands of `sluice sinks`: their options and help. What they do is loaded when one is called. */
import type { Command } from 'commander'
import { exitsWith, type Finish, type Settings, subcommand, withGlobals } from '../command-parts.js'
import { EXIT_USAGE } from '../exit-code.js'

export function addSinks(program: Command, finish: Finish): void {
  const group = withGlobals(program.command('sinks'))
    .summary('where the events of this machine are sent')
    .description('Shows and tries the sinks of the configuration, and sends again what a receiver refused. Needs root.')
  exitsWith(group, EXIT_USAGE, finish)
  const add = (usage: string, summary: string, act: (command: Command, settings: Settings) => Promise<number>) =>
    subcommand({ group, finish }, [usage, summary], act)
  const loaded = () => import('./sinks.js')
  add('ls', 'list the sinks, and how far behind each is', async (command, { config }) =>
    (await loaded()).listSinks(config, command.opts<{ json?: boolean }>().json ?? false),
  ).option('--json', 'JSON, one object a line')
  add('test [sink...]', 'send a test event to each; exits 1 if one did not arrive', async ({ args }, { config }) =>
    (await loaded()).testSinks(config, args),
  )
  add('replay-dead <sink>', 'send again what a receiver refused', async ({ args }, { config }) =>
    (await loaded()).replayDead(config, args[0] ?? ''),
  )
}
