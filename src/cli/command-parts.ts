/**
 * What all commands of the tree have in common: the global options, how their values are settled, and what becomes of an error. Guards that flags
 * beat variables, and those the configuration files.
 */
import { type Command, Option } from 'commander'
import { SluiceError } from '../base/error.js'
import { writeStderr } from '../base/stderr.js'
import { loadNodeConfig } from './config/config-files.js'
import type { NodeConfig } from './config/node-config.js'
import { COLOR_MODES, type ColorMode, type Environment, LOG_LEVELS, readEnvironment } from './environment.js'
import { EXIT_OWN_FAILURE, EXIT_USAGE } from './exit-code.js'
import { errorLine, exitCodeOfError } from './report.js'

interface GlobalOptions {
  color?: ColorMode
  logLevel?: (typeof LOG_LEVELS)[number]
  config?: string
  socket?: string
}

/** Of the node's agent, where nothing else is said. */
const CONTROL_SOCKET = '/run/sluice/control.sock'

export type Finish = (exitCode: number) => void

/** Global options are taken before and after the command's name. */
export function withGlobals(command: Command): Command {
  return command
    .addOption(new Option('--log-level <level>', 'of our own parts, on stderr').choices(LOG_LEVELS))
    .addOption(new Option('--color <when>', 'auto (the default) is on a terminal only').choices(COLOR_MODES))
    .option('--config <file>', 'instead of the configuration files of the user and the machine')
    .option('--socket <path>', `the agent's control socket (default: ${CONTROL_SOCKET})`)
}

export function exitsWith(command: Command, usageCode: number, finish: Finish): void {
  command.exitOverride((error) => {
    finish(error.exitCode === 0 ? 0 : usageCode)
    throw error
  })
}

/** Runs a command's action; what it throws becomes one line and an exit code. */
export async function finishing(finish: Finish, usageCode: number, action: () => Promise<number>): Promise<void> {
  try {
    finish(await action())
  } catch (error) {
    writeStderr(`${errorLine(error)}\n`)
    finish(usageCode === EXIT_OWN_FAILURE ? EXIT_OWN_FAILURE : exitCodeOfError(error, usageCode))
  }
}

export interface Settings {
  readonly environment: Environment
  readonly config: NodeConfig
  readonly color: ColorMode
  /** Null: the command's own default. */
  readonly logLevel: (typeof LOG_LEVELS)[number] | null
  readonly socket: { readonly path: string; readonly isGiven: boolean }
}

/** Flags beat variables, those beat the configuration files. */
export async function settingsOf(command: Command): Promise<Settings> {
  const flags = command.optsWithGlobals<GlobalOptions>()
  const environment = readEnvironment()
  const { userConfigHome } = environment
  const config = await loadNodeConfig({ named: flags.config ?? environment.config, userConfigHome })
  const given = flags.socket ?? environment.socket ?? config.socket ?? null
  return {
    environment,
    config,
    color: flags.color ?? environment.color ?? config.color ?? 'auto',
    logLevel: flags.logLevel ?? environment.logLevel ?? config.logLevel ?? null,
    socket: { path: given ?? CONTROL_SOCKET, isGiven: given !== null },
  }
}

/** A command of a group. `act` gives its exit code. */
export function subcommand(
  { group, finish }: { group: Command; finish: Finish },
  [usage, summary]: readonly [usage: string, summary: string],
  act: (command: Command, settings: Settings) => Promise<number>,
): Command {
  const command = withGlobals(group.command(usage)).summary(summary).description(`${summary}.`)
  exitsWith(command, EXIT_USAGE, finish)
  command.action(() => finishing(finish, EXIT_USAGE, async () => act(command, await settingsOf(command))))
  return command
}

/** For what is a table or JSON. */
export function withForm(command: Command): Command {
  return command.option('-o, --output <form>', 'table (the default) or json, one object a line')
}

/** Whether JSON is wanted. Throws USAGE for a form that is none. */
export function isJsonWanted(command: Command): boolean {
  const { output } = command.opts<{ output?: string }>()
  if (output === undefined || output === 'table') return false
  if (output === 'json') return true
  throw new SluiceError('USAGE', `-o is '${output}': it must be one of table, json`)
}

export function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value]
}
