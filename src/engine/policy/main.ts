/**
 * Answers one question about policies and exits: the engine's compiler as a process of its own, for `sluice policy`. Argument: the question
 * as JSON. Data goes to stdout, words for people to stderr. Only composes; nothing here is privileged or stays.
 */
import { z } from 'zod'
import { messageOf, SluiceError } from '../../base/error.js'
import { compile } from './commands/compile.js'
import { type Context, EXIT_FOUND } from './commands/context.js'
import { init } from './commands/init.js'
import { learn } from './commands/learn.js'
import { replay } from './commands/replay.js'
import { check, expand, explain, schema } from './commands/show.js'
import { why } from './commands/why.js'

const EXIT_USAGE = 2
const EXIT_OWN_FAILURE = 125

const files = z.array(z.string())
const json = z.boolean()
const machine = z.object({
  root: z.string(),
  home: z.string().nullable(),
  variables: z.record(z.string(), z.string()),
})

/** Null: the machine is not asked. */
const here = z
  .object({
    ...{ landlock: z.int(), ptraceScope: z.int(), unixHooks: z.boolean() },
    ...{ asRoot: z.boolean(), byRoot: z.boolean() },
  })
  .nullable()

const question = z.discriminatedUnion('command', [
  z.object({ command: z.literal('check'), files, json, machine, here: here.default(null) }),
  z.object({ command: z.enum(['expand', 'explain']), files, json, machine }),
  z.object({
    ...{ command: z.literal('compile'), files, workdir: z.string().nullable(), machine, here },
    mode: z.enum(['monitor', 'enforce']).nullable(),
  }),
  z.object({ command: z.literal('schema'), machine }),
  z.object({
    command: z.literal('init'),
    workdir: z.string(),
    bundles: z.array(z.string()),
    mode: z.enum(['monitor', 'enforce']),
    machine,
  }),
  z.object({ command: z.literal('learn'), files, name: z.string(), machine }),
  z.object({ command: z.literal('replay'), policies: files, files, json, machine }),
  z.object({ command: z.literal('why'), uid: z.string(), policies: files, files, json, machine }),
])

async function answer(asked: z.output<typeof question>): Promise<number> {
  const context: Context = {
    machine: asked.machine,
    here: 'here' in asked ? asked.here : null,
    out: (line) => void process.stdout.write(`${line}\n`),
    err: (line) => void process.stderr.write(`${line}\n`),
  }
  switch (asked.command) {
    case 'check':
      return check(asked, context)
    case 'compile':
      return compile(asked, context)
    case 'expand':
      return expand(asked, context)
    case 'explain':
      return explain(asked, context)
    case 'schema':
      return schema(context)
    case 'init':
      return init(asked, context)
    case 'learn':
      return learn(asked, context)
    case 'replay':
      return replay(asked, context)
    case 'why':
      return why(asked, context)
  }
}

async function main(): Promise<number> {
  try {
    return await answer(question.parse(JSON.parse(process.argv[2] ?? 'null')))
  } catch (error) {
    if (!(error instanceof SluiceError)) {
      process.stderr.write(`sluice: internal error: ${messageOf(error)}\n`)
      return EXIT_OWN_FAILURE
    }
    process.stderr.write(`sluice: ${error.message}${error.hint === null ? '' : `; ${error.hint}`}\n`)
    return error.code === 'USAGE' ? EXIT_USAGE : EXIT_FOUND
  }
}

// A reader who has seen enough is no error.
process.stdout.on('error', () => {})
process.exitCode = await main()
