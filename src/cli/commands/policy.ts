/**
 * `sluice policy`: hands a question to the engine's policy compiler, a process of its own, and shows what it says. Guards the terminal: what
 * comes from policies and recordings is neutralised line by line. What the words mean is engine/policy's.
 */
import { execa } from 'execa'
import { readPolicyHost } from '../../base/policy-host.js'
import { writeStderr } from '../../base/stderr.js'
import { ROLE_ENVIRONMENT } from '../../supervise/role.js'
import { neutralise } from '../display-text.js'
import type { Environment } from '../environment.js'
import { EXIT_OWN_FAILURE } from '../exit-code.js'
import { passOnLines } from '../pass-on-lines.js'
import { type Here, type PolicyQuestion, policyCompiler } from '../policy-compiler.js'
import { landlockAbi } from '../run/launch-layers.js'

const ROOT_UID = 0

/** For a command that this user would start, as a user who is not root. */
async function readHere(): Promise<Here> {
  const byRoot = process.geteuid?.() === ROOT_UID
  return { ...readPolicyHost(await landlockAbi()), asRoot: false, byRoot }
}

/** The exit code of the answer. Throws NOT_BUILT. */
export async function policy(asked: PolicyQuestion, environment: Environment): Promise<number> {
  const { file, args } = policyCompiler(asked.here === true ? { ...asked, here: await readHere() } : asked, environment)
  const subprocess = execa(file, args, {
    env: ROLE_ENVIRONMENT,
    extendEnv: false,
    stdio: ['inherit', 'pipe', 'pipe'],
    buffer: false,
    reject: false,
  })
  process.stdout.on('error', () => subprocess.kill('SIGTERM'))
  const told = passOnLines(subprocess.stderr, (line) => writeStderr(`${neutralise(line)}\n`))
  const shown = passOnLines(subprocess.stdout, (line) => process.stdout.write(`${neutralise(line)}\n`))
  const [{ exitCode }] = await Promise.all([subprocess, told, shown])
  return exitCode ?? EXIT_OWN_FAILURE
}
