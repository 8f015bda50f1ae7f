/**
 * The engine's policy compiler as a process of its own: policies are read with the rights and the tools' configuration of whoever runs us, and
 * by nobody who stays. What its words mean is engine/policy's.
 */
import { existsSync, lstatSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { errnoCode, reasonOf, SluiceError } from '../base/error.js'
import { programFile } from '../base/installation.js'
import type { PolicyHost } from '../base/policy-host.js'
import { CompiledPolicy, type ICompiledPolicy, type IPolicySources, PolicySources } from '../proto/codec.js'
import { ROLE_ENVIRONMENT, ROLE_NODE_OPTIONS } from '../supervise/role.js'
import { neutralise } from './display-text.js'
import type { Environment } from './environment.js'

/** Of the tools whose configuration bundles read. Others may hold secrets and are not handed on. */
const TOOL_VARIABLES =
  /^(npm_config_registry|NPM_CONFIG_REGISTRY|YARN_NPM_REGISTRY_SERVER|PIP_(EXTRA_)?INDEX_URL|UV_(DEFAULT_|EXTRA_)?INDEX(_URL)?|CARGO_HOME|CARGO_REGISTRIES_\w+_INDEX|GOPROXY|GOSUMDB)$/
const COMPILE_DEADLINE_MS = 60_000

/** As engine/policy takes it. */
export interface Here extends PolicyHost {
  readonly asRoot: boolean
  readonly byRoot: boolean
}

export interface PolicyQuestion {
  readonly command: string
  readonly files?: readonly string[]
  readonly json?: boolean
  readonly [option: string]: unknown
}

/** Its program and arguments. Throws NOT_BUILT. */
export function policyCompiler(asked: PolicyQuestion, { variables }: Environment): { file: string; args: string[] } {
  const main = programFile('engine/policy/main')
  if (!existsSync(main)) throw new SluiceError('NOT_BUILT', `${main} is missing`, { hint: 'run npm run build' })
  const machine = {
    root: '',
    home: variables.HOME?.startsWith('/') === true ? variables.HOME : null,
    variables: Object.fromEntries(Object.entries(variables).filter(([name]) => TOOL_VARIABLES.test(name))),
  }
  return { file: process.execPath, args: [...ROLE_NODE_OPTIONS, main, JSON.stringify({ ...asked, machine })] }
}

const WORKDIR_POLICY = '.sluice.yaml'

/** The policy that is found in a working directory; null: there is none. Throws IO where that can't be told. */
export function workdirPolicy(workdir: string): string | null {
  const path = join(workdir, WORKDIR_POLICY)
  try {
    return lstatSync(path, { throwIfNoEntry: false }) === undefined ? null : path
  } catch (error) {
    // Whoever starts the command in it says that it is none.
    if (errnoCode(error) === 'ENOTDIR') return null
    throw new SluiceError('IO', `whether there is a policy at ${path} can't be told: ${reasonOf(error)}`)
  }
}

export interface CompiledFiles {
  readonly policy: ICompiledPolicy
  /** The files themselves; null: they are too long to be sent. */
  readonly sources: IPolicySources | null
}

export interface CompileOptions {
  readonly mode: 'monitor' | 'enforce' | null
  /** Found in the working directory. */
  readonly workdir: string | null
  readonly environment: Environment
  /** The machine, and who is to run there; null: only the sensor can tell. */
  readonly here: Here | null
  /** Is told what is no error. */
  warn(line: string): void
}

/**
 * The policy of a sandbox: several files count as one.
 * @throws SluiceError USAGE for a policy with errors.
 */
export async function compileFiles(files: readonly string[], options: CompileOptions): Promise<CompiledFiles> {
  const { mode, workdir, here } = options
  const { file, args } = policyCompiler({ command: 'compile', files, mode, workdir, here }, options.environment)
  const { exitCode, stdout, stderr } = await execa(file, args, {
    ...{ env: ROLE_ENVIRONMENT, extendEnv: false, reject: false, stdin: 'ignore', timeout: COMPILE_DEADLINE_MS },
    maxBuffer: { stdout: 256 * 1024 * 1024, stderr: 1024 * 1024 },
  })
  const told = stderr.split('\n').filter((line) => line !== '')
  for (const line of told) options.warn(neutralise(line))
  if (exitCode !== 0) {
    throw new SluiceError(
      'USAGE',
      `the policy can't be used: ${[...files, ...(workdir === null ? [] : [workdir])].join(', ')}`,
      {
        hint: 'sluice policy check says what is wrong with it',
      },
    )
  }
  const [policy = '', sources = ''] = stdout.split('\n')
  return {
    policy: CompiledPolicy.decode(Buffer.from(policy, 'base64')),
    sources: sources === '' ? null : PolicySources.decode(Buffer.from(sources, 'base64')),
  }
}
