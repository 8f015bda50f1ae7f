/**
 * `sluice replay`: hands a recording to the engine's replay, a process of its own, and shows what it writes. Guards the terminal where stdout is
 * one: elsewhere the lines go through as they are. What is derived is engine/replay's.
 */
import { existsSync } from 'node:fs'
import { execa } from 'execa'
import { SluiceError } from '../../base/error.js'
import { programFile } from '../../base/installation.js'
import { writeStderr } from '../../base/stderr.js'
import { ROLE_ENVIRONMENT, ROLE_NODE_OPTIONS } from '../../supervise/role.js'
import { neutralise, neutraliseJson } from '../display-text.js'
import { EXIT_OWN_FAILURE } from '../exit-code.js'
import { passOnLines } from '../pass-on-lines.js'

export interface ReplayQuestion {
  /** `-` is stdin. */
  readonly file: string
  readonly failOn: 'detection' | null
  /** A file whose `detect:` and `respond:` hold. */
  readonly policy: string | null
  /** A file of an engine's. */
  readonly baselines: string | null
}

/** The exit code. Throws NOT_BUILT. */
export async function replay(asked: ReplayQuestion): Promise<number> {
  const main = programFile('engine/replay/main')
  if (!existsSync(main)) throw new SluiceError('NOT_BUILT', `${main} is missing`, { hint: 'run npm run build' })
  const subprocess = execa(process.execPath, [...ROLE_NODE_OPTIONS, main, JSON.stringify(asked)], {
    ...{ env: ROLE_ENVIRONMENT, extendEnv: false, buffer: false, reject: false },
    stdio: ['inherit', process.stdout.isTTY ? 'pipe' : 'inherit', 'pipe'],
  })
  const told = passOnLines(subprocess.stderr, (line) => writeStderr(`${neutralise(line)}\n`))
  const { stdout } = subprocess
  if (stdout !== null) process.stdout.on('error', () => subprocess.kill('SIGTERM'))
  const shown =
    stdout === null ? null : passOnLines(stdout, (line) => process.stdout.write(`${neutraliseJson(line)}\n`))
  const [{ exitCode }] = await Promise.all([subprocess, told, shown])
  return exitCode ?? EXIT_OWN_FAILURE
}
