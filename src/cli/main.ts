/**
 * The command line: its tree, its global options, and the exit code of what goes wrong outside of a command. Only composes: a
 * command's module is loaded when it is called. Guards that a failure of `run` never looks like one of its command.
 */
import { resolve } from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { SluiceError } from '../base/error.js'
import { writeStderr } from '../base/stderr.js'
import { addBaselines } from './baselines-tree.js'
import {
  collect,
  exitsWith,
  type Finish,
  finishing,
  isJsonWanted,
  type Settings,
  settingsOf,
  subcommand,
  withForm,
  withGlobals,
} from './command-parts.js'
import type { RawEventsOptions } from './commands/events.js'
import type { ReplayQuestion } from './commands/replay.js'
import type { Change, RawAddOptions, RawPolicyOptions, SandboxesContext } from './commands/sandboxes.js'
import { EXIT_OWN_FAILURE, EXIT_USAGE } from './exit-code.js'
import type { PolicyQuestion } from './policy-compiler.js'
import { errorLine } from './report.js'
import { LIVE_VIEWS, parseRunOptions, type RawRunOptions, SUMMARY_FORMS } from './run/run-options.js'
import { addSessions } from './sessions/sessions-tree.js'
import { addSinks } from './sinks/sinks-tree.js'
import { ownVersion } from './version.js'

/** Runs one command line (without node and the script) and gives its exit code. Never throws. */
export async function main(argv: readonly string[]): Promise<number> {
  let exitCode = 0
  const finish: Finish = (code) => {
    exitCode = code
  }
  try {
    await programTree(finish).parseAsync([...argv], { from: 'user' })
  } catch (error) {
    // Commander has said and `finish` has been told what there is; anything else is our own mistake.
    if (!(error instanceof CommanderError)) {
      writeStderr(`${errorLine(error)}\n`)
      exitCode = EXIT_OWN_FAILURE
    }
  }
  return exitCode
}

function programTree(finish: Finish): Command {
  const program = withGlobals(new Command('sluice'))
    .description('Watches and contains AI agents from outside their sandbox.')
    .version(ownVersion(), '--version', 'print the version')
    .enablePositionalOptions()
    .showHelpAfterError('(--help lists the options)')
    .configureOutput({ writeErr: writeStderr, outputError: (text, write) => write(text.replace(/^error:/, 'sluice:')) })
  exitsWith(program, EXIT_USAGE, finish)
  addRun(program, finish)
  addAgent(program, finish)
  addRoles(program, finish)
  addSandboxes(program, finish)
  addEvents(program, finish)
  addSessions(program, finish)
  addBaselines(program, finish)
  addSinks(program, finish)
  addPolicy(program, finish)
  addReplay(program, finish)
  addDoctor(program, finish)
  return program
}

function addRun(program: Command, finish: Finish): void {
  const command = withGlobals(program.command('run'))
    .summary('run a command as a watched sandbox')
    .description(
      "Runs a command, watches it from outside, and exits as it does: through the machine's agent where one runs, else with parts of " +
        'its own, which takes root. Under sudo the command runs as you.',
    )
    .usage('[options] -- CMD [ARG…]')
    .argument('[command...]', 'the command and its arguments')
    .passThroughOptions()
    .option(
      '--mode <mode>',
      'monitor: refuse nothing, whatever the policy says; enforce: only a policy that says so too',
    )
    .option('--policy <file>', 'what the command may reach; may be repeated, and all count as one', collect)
    .option('--name <name>', "the sandbox's name (default: the command's)")
    .option('--agent <name>', 'who the agent is, for the record')
    .option('--task <name>', 'what it works on, for the record')
    .option('--label <key=value>', 'a label, for the record; may be repeated', collect)
    .option('--workdir <dir>', 'where the command runs (default: here)')
    .option('--record <file>', 'write every event as JSON Lines')
    .addOption(new Option('--summary <form>', 'at the end, on stderr (default: text)').choices(SUMMARY_FORMS))
    .option(
      '--fail-on <what>',
      'exit 3 if the command succeeded but policy refused something, or would have (deny), or something odd was noticed (detection)',
    )
    .addOption(
      new Option('--events [view]', 'show events on stderr as they come (default: notable)').choices(LIVE_VIEWS),
    )
    .option('-q, --quiet', 'nothing of ours on stderr but errors, and the summary only if --summary asks for it')
    .option('--user <name>', 'run as this user; root also keeps the right to gain privileges')
    .option('--own', 'bring sensor and engine along, even where an agent runs; needs root')
  exitsWith(command, EXIT_OWN_FAILURE, finish)
  command.action((words: string[], raw: RawRunOptions) =>
    finishing(finish, EXIT_OWN_FAILURE, async () => {
      const settings = await settingsOf(command)
      const { environment, config, color, logLevel, socket } = settings
      const resolvers = config.gateway?.resolvers ?? null
      const options = parseRunOptions(raw, words, workingDirectory)
      const { run } = await import('./commands/run.js')
      const { journalPlace } = await import('./config/journal-config.js')
      const { policyPaths } = await import('./config/policy-paths.js')
      const journal = journalPlace(config, environment)
      return run(options, {
        environment,
        color,
        logLevel: logLevel ?? 'error',
        socket,
        resolvers,
        journal,
        policyPaths: policyPaths(config),
      })
    }),
  )
}

function addAgent(program: Command, finish: Finish): void {
  const command = withGlobals(program.command('agent'))
    .summary('watch this machine until told to stop')
    .description(
      'Keeps sensor and engine running for all runs and sandboxes of this machine; one a machine. Logs JSON lines to stderr, tells ' +
        'systemd when it is ready, stops on SIGTERM or SIGINT. Needs root.',
    )
    .option(
      '--watch <pattern>',
      'watch cgroups that others make, by path below the cgroup v2 root; may be repeated',
      collect,
    )
  exitsWith(command, EXIT_USAGE, finish)
  command.action((raw: { watch?: string[] }) =>
    finishing(finish, EXIT_USAGE, async () => {
      const { environment, config, logLevel, socket } = await settingsOf(command)
      const { agent } = await import('./commands/agent.js')
      const given = socket.isGiven ? socket.path : null
      const { notifySocket } = environment
      const reread = async () => (await settingsOf(command)).config
      return agent({ config, environment, socket: given, logLevel, notifySocket, watch: raw.watch ?? [], reread })
    }),
  )
}

/** One role of the agent alone. */
function addRoles(program: Command, finish: Finish): void {
  const add = (role: 'engine' | 'sensor', summary: string, description: string) => {
    const command = withGlobals(program.command(role)).summary(summary).description(description)
    exitsWith(command, EXIT_USAGE, finish)
    command.action(() =>
      finishing(finish, EXIT_USAGE, async () => {
        const { environment, config, logLevel, socket } = await settingsOf(command)
        const roles = await import('./commands/role-alone.js')
        const given = socket.isGiven ? socket.path : null
        const { notifySocket } = environment
        const reread = async () => (await settingsOf(command)).config
        return roles[role]({ config, environment, socket: given, logLevel, notifySocket, watch: [], reread })
      }),
    )
  }
  add(
    'engine',
    "the agent's engine alone, for a sensor on another machine",
    'Listens at engine.uplink of the configuration for the sensor of another machine, over TLS with certificates on both sides. Needs root ' +
      'to start.',
  )
  add(
    'sensor',
    "the agent's sensor alone, with its engine on another machine",
    'Watches this machine for the engine at sensor.uplink of the configuration; keeps what happens in a bounded spool while that is away. ' +
      'Needs root.',
  )
}

function addEvents(program: Command, finish: Finish): void {
  const command = withGlobals(program.command('events'))
    .summary('show the events of a recording, or live ones')
    .description(
      'Shows a recording (run --record), or with -f and no file what the agent of this machine sees from now on, one line an event. ' +
        'Times are UTC. - is stdin.',
    )
    .usage('[options] [FILE|-]')
    .argument('[file]', 'the recording')
    .option('-f, --follow', 'go on as the file grows; without a file: live')
    .option('--since <time>', 'from then on: 2026-01-31T14:23:07Z, or 5m for five minutes ago')
    .option('--until <time>', 'up to then')
    .option('--last <n>', 'the last n that match')
    .option('--type <kind>', 'only these kinds: exec, exit, fileOpen, connect, gap, …', collect)
    .option('--verdict <decision>', 'only these verdicts: allow, deny, would-deny, redirect', collect)
    .option('--process <process>', 'only these: a pid, an execId, a program or its path', collect)
    .option('--sandbox <sandbox>', 'only these: an id or a name', collect)
    .option('--session <id>', 'only these sessions', collect)
    .option('--host <host>', 'only connections to these: an address or a name, with :port or without', collect)
    .option('-o, --output <form>', 'compact (the default), json, ocsf, ecs or cef')
  exitsWith(command, EXIT_USAGE, finish)
  command.action((file: string | undefined, raw: RawEventsOptions) =>
    finishing(finish, EXIT_USAGE, async () => {
      const { color, socket } = await settingsOf(command)
      const { events, parseEventsOptions } = await import('./commands/events.js')
      return events(parseEventsOptions(raw, file), raw, { color, socket: socket.path })
    }),
  )
}

function addSandboxes(program: Command, finish: Finish): void {
  const group = withGlobals(program.command('sandboxes'))
    .summary("what the machine's agent watches, and what is done to it")
    .description(
      'Shows and changes the sandboxes of the agent that runs here: yours, or all of them for root and administrators. A sandbox is named ' +
        'by its name or its id.',
    )
  exitsWith(group, EXIT_USAGE, finish)
  const add = (
    usage: string,
    summary: string,
    act: (command: Command, context: SandboxesContext) => Promise<number>,
  ) => {
    const whole = (command: Command, { socket, environment }: Settings) =>
      act(command, { socket: socket.path, json: isJsonWanted(command), environment })
    return withForm(subcommand({ group, finish }, [usage, summary], whole))
  }
  const loaded = () => import('./commands/sandboxes.js')
  add('ls', 'list the sandboxes', async (_, context) => (await loaded()).listSandboxes(context))
  add('show <sandbox>', 'show one sandbox', async ({ args }, context) =>
    (await loaded()).showSandbox(args[0] ?? '', context),
  )
  add('add <cgroup>', 'watch a cgroup that is there already, with every process in it', async (command, context) =>
    (await loaded()).addSandbox(command.args[0] ?? '', command.opts<RawAddOptions>(), context),
  )
    .option('--name <name>', "the sandbox's name (default: the last part of the path)")
    .option('--agent <name>', 'who the agent is, for the record')
    .option('--task <name>', 'what it works on, for the record')
    .option(
      '--label <key=value>',
      'a label, for the record and for policies that select by it; may be repeated',
      collect,
    )
    .option('--policy <file>', 'what it may reach, below the policies of this node; may be repeated', collect)
  add('policy <sandbox>', 'hold a sandbox to other policies of its own', async (command, context) =>
    (await loaded()).policySandbox(command.args[0] ?? '', command.opts<RawPolicyOptions>(), context),
  )
    .option('--policy <file>', 'what it may reach, below the policies of this node; may be repeated', collect)
    .option('--none', 'none: only what this node says holds')
  for (const [change, summary] of SANDBOX_CHANGES) {
    add(`${change} <sandbox...>`, summary, async ({ args }, context) =>
      (await loaded()).changeSandboxes(change, args, context),
    )
  }
}

const SANDBOX_CHANGES: readonly [change: Change, summary: string][] = [
  ['freeze', 'stop every process of a sandbox where it is'],
  ['thaw', 'let a frozen sandbox go on'],
  ['throttle', 'hold a sandbox to little of everything'],
  ['unthrottle', 'hold it to no more than its policy says'],
  ['deny', 'let nothing out of a sandbox'],
  ['undeny', 'let out what its policy allows'],
  ['kill', 'end every process of a sandbox'],
  ['release', 'watch a sandbox no longer, and hold it to no policy; it goes on'],
]

function addPolicy(program: Command, finish: Finish): void {
  const group = withGlobals(program.command('policy'))
    .summary('write, check and understand policies')
    .description(
      'Reads policy files, and recordings to hold them against. Nothing is applied to anything. Several policy files count as one policy; ' +
        '- is stdin.',
    )
  exitsWith(group, EXIT_USAGE, finish)
  const add = (usage: string, summary: string, ask: (command: Command) => PolicyQuestion) =>
    subcommand({ group, finish }, [usage, summary], async (command, { environment }) => {
      const { policy } = await import('./commands/policy.js')
      return policy(ask(command), environment)
    })
  for (const [command, summary] of POLICY_VIEWS) {
    const view = add(`${command} <file...>`, summary, (given) => {
      const { here } = given.opts<{ here?: boolean }>()
      return { command, files: given.args, json: wantsJson(given), ...(here === true ? { here } : {}) }
    })
    view.option('--json', 'JSON')
    if (command === 'check') view.option('--here', 'also what this machine can not enforce')
  }
  add('schema', 'print the JSON Schema of policy files, for editors', () => ({ command: 'schema' }))
  add('init', 'write a first policy, from what a project shows: lockfiles, git remotes, chosen bundles', (given) => {
    const { bundle, mode, workdir } = given.opts<{ bundle?: string[]; mode: string; workdir?: string }>()
    return { command: 'init', bundles: bundle ?? [], mode, workdir: resolve(workdir ?? workingDirectory()) }
  })
    .option('--bundle <name>', 'one more: claude, github, node, …; may be repeated', collect)
    .addOption(
      new Option('--mode <mode>', 'of the policy (default: enforce)')
        .choices(['monitor', 'enforce'])
        .default('enforce'),
    )
    .option('--workdir <dir>', "the project's folder (default: here)")
  add('learn <record...>', 'propose the smallest policy that allows what was recorded', (given) => {
    return { command: 'learn', files: given.args, name: given.opts<{ name: string }>().name }
  }).option('--name <name>', 'of the policy', 'learnt')
  add(
    'replay <record...>',
    'show what a policy would change for a recording; exits 3 if it denies what got through',
    (given) => {
      return { command: 'replay', files: given.args, policies: policyFiles(given), json: wantsJson(given) }
    },
  )
    .requiredOption('--policy <file>', 'the policy; may be repeated', collect)
    .option('--json', 'JSON')
  add('why <uid> <record...>', 'show the verdict of one event, and every rule that was considered for it', (given) => {
    const [uid = '', ...files] = given.args
    return { command: 'why', uid, files, policies: policyFiles(given), json: wantsJson(given) }
  })
    .option('--policy <file>', 'the policy; may be repeated', collect)
    .option('--json', 'JSON')
}

function wantsJson(command: Command): boolean {
  return command.opts<{ json?: boolean }>().json === true
}

function policyFiles(command: Command): string[] {
  return command.opts<{ policy?: string[] }>().policy ?? []
}

const POLICY_VIEWS: readonly [name: string, summary: string][] = [
  ['check', 'find mistakes, with line and column; exits 1 if there is one'],
  ['expand', 'show every host and address, and where it came from'],
  ['explain', 'say each rule in a sentence'],
]

function addReplay(program: Command, finish: Finish): void {
  const command = withGlobals(program.command('replay <file>'))
    .summary('look for odd behaviour in a recording')
    .description(
      'Reads a recording (- is stdin) and writes it again, as JSON Lines, with the tool calls in it and what the detectors noticed, on the ' +
        "recording's own clock. The same recording gives the same output.",
    )
    .addOption(new Option('--fail-on <what>', 'exit 3 if one was of medium or high severity').choices(['detection']))
    .option('--policy <file>', "a policy whose detect: and respond: hold; its rules are policy replay's")
    .option('--baselines <file>', "an engine's baselines.db: its agents are measured by what was usual for them")
  exitsWith(command, EXIT_USAGE, finish)
  command.action((file: string, { failOn = null, policy = null, baselines = null }: Partial<ReplayQuestion>) =>
    finishing(finish, EXIT_USAGE, async () => {
      await settingsOf(command)
      const { replay } = await import('./commands/replay.js')
      return replay({ file, failOn, policy, baselines })
    }),
  )
}

function addDoctor(program: Command, finish: Finish): void {
  const command = withGlobals(program.command('doctor'))
    .summary('what this kernel and host can do')
    .description('Checks what this kernel and host can do, names what is lost and the fix. Exits 1 if something is.')
    .option(
      '--clean',
      'instead: remove what parts of sluice that are gone have left (cgroups, pins, folders); needs root',
    )
    .option('--json', 'one JSON object')
  exitsWith(command, EXIT_USAGE, finish)
  command.action((raw: { json?: boolean; clean?: boolean }) =>
    finishing(finish, EXIT_USAGE, async () => {
      const { environment, config, color, socket } = await settingsOf(command)
      const { doctor, doctorClean } = await import('./commands/doctor.js')
      const { agentFolders } = await import('./commands/agent.js')
      const { journalPlace } = await import('./config/journal-config.js')
      const { startDeadlineMs } = environment
      const journalDir = journalPlace(config, environment)?.dir ?? null
      const shown = { json: raw.json ?? false, color, startDeadlineMs, journalDir }
      const options = { ...shown, socket: socket.path, ...agentFolders(config) }
      return raw.clean === true ? doctorClean(options) : doctor(options)
    }),
  )
}

/** Throws IO where it has been deleted. */
function workingDirectory(): string {
  try {
    return process.cwd()
  } catch (error) {
    throw new SluiceError('IO', 'the directory you are in does not exist any more', {
      hint: 'go to another one, or name one with --workdir',
      cause: error,
    })
  }
}
