/**
 * `npm start`: sets up and builds whatever is missing, then runs the demo agent under watch. With arguments it runs those
 * through the built CLI instead: `npm start -- run -- CMD`. Messages go to stderr, so stdout is the command's alone.
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from './build.mjs'
import { root } from './project.mjs'
import { exitOnFailure, passThrough, StepFailure, say } from './run-command.mjs'
import { setup } from './setup.mjs'

const DEMO_AGENT = 'examples/demo-agent/agent.mjs'

async function main() {
  const args = process.argv.slice(2)
  const isDemo = args.length === 0
  if (isDemo && process.getuid() !== 0) {
    throw new StepFailure(
      'start: watching needs root (it loads BPF programs); run: sudo env "PATH=$PATH" npm start\n' +
        'start: without root, `npm start -- events FILE` shows a recording and `npm start -- --help` the commands',
    )
  }
  await setup({ purposes: isDemo ? ['build', 'demo'] : ['build'] })
  await build()
  return isDemo ? runDemo() : sluice(args)
}

async function runDemo() {
  const recording = join(mkdtempSync(join(tmpdir(), 'sluice-demo-')), 'demo.jsonl')
  say('start: running the demo agent under watch; each line is an event as it happens')
  const watch = ['run', '--events', '--name', 'demo-agent', '--agent', 'demo', '--task', 'tour', '--record', recording]
  const code = await sluice([...watch, '--', process.execPath, join(root, DEMO_AGENT)])
  if (code === 0) {
    say(`start: recorded in ${recording}; look at it again:  npm start -- events ${recording}`)
    say('start: watch a command of your own:  npm start -- run --events -- bash')
  }
  return code
}

/** Where the caller is: npm itself goes to the project's folder first. */
function sluice(args) {
  return passThrough(process.execPath, [join(root, 'bin/sluice'), ...args], {
    cwd: process.env.INIT_CWD ?? process.cwd(),
  })
}

await exitOnFailure(main)
