/** The commands of `sluice sessions`: their options and help. What they do is loaded when one is called. */
import type { Command } from 'commander'
import { SluiceError } from '../../base/error.js'
import { collect, exitsWith, type Finish, subcommand, withGlobals } from '../command-parts.js'
import { journalDir } from '../config/journal-config.js'
import { EXIT_USAGE } from '../exit-code.js'
import type { RawExportOptions } from './export-events.js'
import type { JournalContext } from './journal-context.js'
import type { RawReviewOptions } from './review-session.js'
import type { RawSelection } from './selection.js'
import type { RawVerifyOptions } from './verify-sessions.js'

interface Place {
  dir?: string
  json?: boolean
}

export function addSessions(program: Command, finish: Finish): void {
  const group = withGlobals(program.command('sessions'))
    .summary('the signed history of sessions')
    .description(
      'Reads the journals that every session leaves. Nothing here changes one: root may read them, and a folder that was copied can be read ' +
        'anywhere. `review` writes who read it beside it.',
    )
  exitsWith(group, EXIT_USAGE, finish)
  const add: Add = (usage, summary, act) => {
    return subcommand({ group, finish }, [usage, summary], (command, settings) => {
      const { dir, json = false } = command.opts<Place>()
      const { config, environment } = settings
      return act(command, { dir: dir ?? journalDir(config, environment), json, settings })
    })
      .option('--dir <folder>', "the journal's folder (default: this machine's)")
      .option('--json', 'JSON, one object a line')
  }
  withSelection(
    add('ls', 'list the sessions, oldest first', async (command, context) =>
      (await import('./list-sessions.js')).listSessions(command.opts<RawSelection>(), context),
    ),
  )
  add('show <session>', 'tell what happened in one session, call by call', async ({ args }, context) =>
    (await import('./show-session.js')).showSession(args[0] ?? '', context),
  )
  add('tree <session>', 'show which process of a session started which', async ({ args }, context) =>
    (await import('./show-tree.js')).showTree(args[0] ?? '', context),
  )
  add('diff <session> <other>', "show what one session did that the other didn't", async ({ args }, context) =>
    (await import('./diff-sessions.js')).diffSessions(args[0] ?? '', args[1] ?? '', context),
  )
  addReview(add)
  withSelection(
    add('export [session...]', 'write the events of sessions as JSON Lines', async (command, context) =>
      (await import('./export-events.js')).exportEvents(command.args, command.opts<RawExportOptions>(), context),
    ),
  )
    .option('--type <kind>', 'only these kinds: exec, exit, fileOpen, connect, gap, …', collect)
    .option('--verdict <decision>', 'only these verdicts: allow, deny, would-deny, redirect', collect)
    .option('--process <process>', 'only these: a pid, an execId, a program or its path', collect)
    .option('--host <host>', 'only connections to these: an address or a name, with :port or without', collect)
    .option(
      '-o, --output <form>',
      'json (the default), ocsf, ecs, cef, compact, or reached: which hosts, by what, under what rule',
    )
  withKeys(
    add(
      'verify [session...]',
      'check that journals are what was written; exits 1 if one is not',
      async (command, context) =>
        (await import('./verify-sessions.js')).verifySessions(command.args, command.opts<RawVerifyOptions>(), context),
    ),
  )
}

type Add = (
  usage: string,
  summary: string,
  act: (command: Command, context: JournalContext) => Promise<number>,
) => Command

function addReview(add: Add): void {
  const command = add('review [session]', 'show one session on one screen, or pick sessions to read', reviewed)
    .option('--keep', 'look into it: it is kept until --done')
    .option('--done', 'it was looked into')
    .option('--note <text>', 'recorded with who read it')
    .option('--sample <share>', 'instead: pick so many sessions that nobody read, e.g. 5%, and say why these')
  withKeys(withSelection(command))
}

async function reviewed(command: Command, context: JournalContext): Promise<number> {
  const raw = command.opts<RawReviewOptions & RawSelection>()
  const [session] = command.args
  if ((session === undefined) === (raw.sample === undefined)) {
    throw new SluiceError('USAGE', 'name one session, or a share to pick: --sample 5%')
  }
  if (session === undefined) return (await import('./sample-sessions.js')).sampleSessions(raw, context)
  return (await import('./review-session.js')).reviewSession(session, raw, context)
}

function withKeys(command: Command): Command {
  return command
    .option(
      '--key <file>',
      "the node's public key, or a folder of such; may be repeated (default: the journal's own)",
      collect,
    )
    .option('--witness <file>', 'checkpoints that were kept elsewhere: what was cut here is found by them')
}

function withSelection(command: Command): Command {
  return command
    .option('--agent <name>', 'only of this agent; may be repeated', collect)
    .option('--task <name>', 'only on this task; may be repeated', collect)
    .option('--sandbox <sandbox>', 'only in these: an id or a name', collect)
    .option('--since <time>', 'from then on: 2026-01-31T14:23:07Z, or 5m for five minutes ago')
    .option('--until <time>', 'up to then')
}
