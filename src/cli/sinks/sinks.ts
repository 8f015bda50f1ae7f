/**
 * `sluice sinks`: what the process that runs them wrote down of itself, an attempt of its own as that process would make it, and the order to send again
 * what a receiver refused. Guards the terminal: what a receiver answered is shown without control characters.
 */
import { existsSync, linkSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { errnoCode, messageOf, reasonOf, SluiceError } from '../../base/error.js'
import { programFile } from '../../base/installation.js'
import { readStatus, type SinkStatus, statusPath } from '../../proto/spool/sinks-status.js'
import { ROLE_ENVIRONMENT, ROLE_NODE_OPTIONS } from '../../supervise/role.js'
import { engineUserOf } from '../../supervise/stack-parts.js'
import { agentFolders } from '../commands/agent.js'
import type { NodeConfig } from '../config/node-config.js'
import { spoolPlace } from '../config/sinks-config.js'
import { neutralise } from '../display-text.js'
import { ENGINE_USER } from '../environment.js'
import { ownVersion } from '../version.js'

const TRIAL_DEADLINE_MS = 60_000
const STALE_MS = 10_000

export async function listSinks(config: NodeConfig, json: boolean): Promise<number> {
  const sinks = namesOf(config, [])
  const { time, told } = status(spoolFolder(config))
  const isOld = time === null || Date.now() - Date.parse(time) > STALE_MS
  for (const name of sinks) {
    const { type } = config.sinks?.[name] ?? { type: '' }
    const known = told.find((each) => each.name === name)
    const state = isOld || known === undefined ? 'STOPPED' : known.isFailing ? 'FAILING' : 'OK'
    if (json) say(JSON.stringify({ ...known, name, type, state, asOf: time }))
    else say(neutralise(line(name, type, state, known)))
  }
  return 0
}

/** Empty: all of them. */
export async function testSinks(config: NodeConfig, wanted: readonly string[]): Promise<number> {
  const main = programFile('sinks/trial-main')
  if (!existsSync(main)) throw new SluiceError('NOT_BUILT', `${main} is missing`, { hint: 'run npm run build' })
  const { user } = await engineUserOf(config.agent?.engineUser ?? ENGINE_USER)
  let failed = 0
  for (const name of namesOf(config, wanted)) {
    const trial = { name, settings: config.sinks?.[name], user, version: ownVersion() }
    const { exitCode, stdout, stderr } = await execa(
      process.execPath,
      [...ROLE_NODE_OPTIONS, main, JSON.stringify(trial)],
      {
        ...{ env: ROLE_ENVIRONMENT, extendEnv: false, reject: false, stdin: 'ignore', timeout: TRIAL_DEADLINE_MS },
      },
    )
    say(neutralise(stdout === '' ? `${name}: ${stderr || 'no answer in time'}` : stdout))
    if (exitCode !== 0) failed++
  }
  return failed === 0 ? 0 : 1
}

export async function replayDead(config: NodeConfig, name: string): Promise<number> {
  namesOf(config, [name])
  const folder = join(spoolFolder(config), 'dead')
  const [dead, again] = [join(folder, `${name}.jsonl`), join(folder, `${name}.again.jsonl`)]
  try {
    const count = readFileSync(dead, 'utf8').split('\n').length - 1
    // Fails where one is there: those are still on their way.
    linkSync(dead, again)
    rmSync(dead)
    say(`${name}: ${count} events are sent again`)
    return 0
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') {
      say(`${name}: nothing was refused`)
      return 0
    }
    if (errnoCode(error) === 'EEXIST') throw new SluiceError('IO', `${name}: the last ones are still being sent again`)
    throw new SluiceError('IO', `${dead} can't be sent again: ${reasonOf(error)}`, { cause: error })
  }
}

/** Throws USAGE for one that there is not. */
function namesOf({ sinks = {} }: NodeConfig, wanted: readonly string[]): readonly string[] {
  const names = Object.keys(sinks)
  if (names.length === 0)
    throw new SluiceError('USAGE', 'the configuration has no sinks', { hint: 'docs/sinks.md has examples' })
  const unknown = wanted.find((name) => !names.includes(name))
  if (unknown === undefined) return wanted.length === 0 ? names : wanted
  throw new SluiceError('USAGE', `there is no sink ${unknown}`, { hint: `there are: ${names.join(', ')}` })
}

function spoolFolder(config: NodeConfig): string {
  return spoolPlace(config, agentFolders(config).stateDir).dir
}

function status(folder: string): { time: string | null; told: readonly SinkStatus[] } {
  try {
    const { time, sinks } = readStatus(folder)
    return { time, told: sinks }
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return { time: null, told: [] }
    throw new SluiceError('IO', `${statusPath(folder)} can't be read: ${messageOf(error)}`, {
      hint: 'it is root’s and the agent’s',
    })
  }
}

function line(name: string, type: string, state: string, told: SinkStatus | undefined): string {
  const head = `${name} ${type} ${state}`
  if (told === undefined) return head
  const { behind, delivered, dead, filtered, failures, lastError } = told
  const counts = `behind=${behind ?? '?'} delivered=${delivered} filtered=${filtered} failures=${failures} dead=${dead}`
  return `${head} ${counts}${state === 'FAILING' ? ` ${lastError ?? ''}` : ''}`
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
