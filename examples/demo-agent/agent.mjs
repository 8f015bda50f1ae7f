#!/usr/bin/env node
/**
 * A scripted stand-in for a coding agent: a fixed table of steps, no model behind it. It exists so that `npm start` has something
 * to watch that needs no account and harms nothing: it works in a temporary directory that it removes, and talks to loopback only.
 * It guards nothing; what keeps it in bounds is its own table.
 *
 * Usage: agent.mjs [--fast]. Exit: 0 every step went as planned or was skipped, 1 one did not, 2 usage, 128+n stopped by signal n.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { steps } from './steps.mjs'
import { createScreen, createToolbox, startModelServer } from './tools.mjs'

const PAUSE_MS = 230 // between two steps, so that a person can follow
const AGENT_LIMIT_MS = 60_000 // for all steps together

function makeWorkspace() {
  try {
    return mkdtempSync(join(tmpdir(), 'sluice-demo-agent-'))
  } catch (cause) {
    throw new Error(`no workspace under ${tmpdir()} (${cause.code}); set TMPDIR to a directory you may write to`, {
      cause,
    })
  }
}

/** Runs one step. Resolves to false if it had to be skipped; throws if it did not go as planned. */
async function runStep(step, { screen, toolbox, world }) {
  screen.say(step.say)
  if (step.act) {
    screen.show(await step.act(world))
    return true
  }
  const argv = step.tool(world)
  const missing = toolbox.missing([argv[0], ...(step.needs ?? [])])
  if (missing.length > 0) {
    screen.show(`skipped: ${missing.join(', ')} not found on PATH`)
    return false
  }
  screen.command(step.shown ?? argv)
  const { status, output } = await toolbox.run(argv)
  if (status === 'exit 127') {
    screen.show(`skipped: ${argv[0]} is on PATH but does not start`)
    return false
  }
  screen.show(output, step.lines)
  if (status !== `exit ${step.exit ?? 0}`) throw new Error(`“${step.say}” ended with ${status}, which was not the plan`)
  return true
}

async function work({ workspace, signal, fast }) {
  const screen = createScreen(process.stdout, process.env)
  const toolbox = createToolbox({ workspace, env: process.env, signal })
  const world = { workspace, model: await startModelServer(signal) }
  let done = 0
  screen.say('hello: I am a script that acts like a coding agent; there is no model behind me')
  for (const step of steps) {
    if (!fast) await sleep(PAUSE_MS, null, { signal })
    signal.throwIfAborted()
    if (await runStep(step, { screen, toolbox, world })) done += 1
  }
  screen.say(`done: ${done} steps, ${steps.length - done} skipped; my workspace is removed`)
}

async function main(args) {
  const unknown = args.find((arg) => arg !== '--fast')
  if (unknown !== undefined) {
    process.stderr.write(`demo-agent: unknown argument ${unknown}; usage: agent.mjs [--fast]\n`)
    return 2
  }
  process.env.no_proxy = '*' // newer Node versions can send `fetch` through a proxy, and that would leave loopback
  const stop = new AbortController()
  let failure = 1
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(name, () => {
      failure = 128 + constants.signals[name]
      stop.abort(new Error(`stopped by ${name}`))
    })
  }
  process.stdout.on('error', () => stop.abort(new Error('nobody reads the output')))
  setTimeout(() => stop.abort(new Error(`not done after ${AGENT_LIMIT_MS} ms`)), AGENT_LIMIT_MS)
  try {
    const workspace = makeWorkspace()
    // At exit rather than in a `finally`: so it also goes after an error that nobody caught.
    process.once('exit', () => rmSync(workspace, { recursive: true, force: true, maxRetries: 3 }))
    await work({ workspace, signal: stop.signal, fast: args.includes('--fast') })
    return 0
  } catch (error) {
    process.stderr.write(`demo-agent: ${(stop.signal.aborted ? stop.signal.reason : error).message}\n`)
    return failure
  }
}

process.exit(await main(process.argv.slice(2)))
