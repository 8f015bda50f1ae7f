/**
 * Which configuration files count, and in what order: one that `--config` or SLUICE_CONFIG names counts alone; else the user's own beats
 * the machine's, key by key. Guards that root does not take orders from a file that somebody else may write.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, messageOf, SluiceError } from '../../base/error.js'
import type { NodeConfig } from './node-config.js'

export const MACHINE_CONFIG = '/etc/sluice/config.yaml'
const FILE_BYTES_MAX = 1024 * 1024
const ROOT_UID = 0
const GROUP_OR_OTHERS_WRITE = 0o022

export interface ConfigSource {
  /** By flag or variable; null: the usual places. */
  readonly named: string | null
  /** $XDG_CONFIG_HOME, or what stands for it; null: there is no home. */
  readonly userConfigHome: string | null
}

/** Throws USAGE for what a file says, IO for one that can't be read, or that was named and is not there. */
export async function loadNodeConfig({ named, userConfigHome }: ConfigSource): Promise<NodeConfig> {
  if (named !== null) return parse(named, read(named, 'named') ?? '')
  const places: [file: string, kind: Kind][] = [[MACHINE_CONFIG, 'machine']]
  if (userConfigHome !== null) places.push([join(userConfigHome, 'sluice', 'config.yaml'), 'user'])
  let config: NodeConfig = {}
  for (const [file, kind] of places) {
    const text = read(file, kind)
    if (text === null) continue
    const next = await parse(file, text)
    config = { ...config, ...next, ...(next.agent === undefined ? {} : { agent: { ...config.agent, ...next.agent } }) }
  }
  return config
}

/** The parser is loaded only where there is a file. */
async function parse(file: string, text: string): Promise<NodeConfig> {
  const { parseNodeConfig } = await import('./node-config.js')
  return parseNodeConfig(text, file)
}

type Kind = 'named' | 'machine' | 'user'

/** Null where there is no such file and none was asked for. The file of a user whose home sudo left in place is not root's. */
function read(file: string, kind: Kind): string | null {
  let fd: number
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch (error) {
    const code = errnoCode(error)
    if (kind !== 'named' && (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES')) return null
    const reason = code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'permission denied' : messageOf(error)
    throw new SluiceError('IO', `the configuration ${file}: ${reason}`, { cause: error })
  }
  try {
    const found = fstatSync(fd)
    if (!found.isFile()) throw new SluiceError('IO', `the configuration ${file} is not a regular file`)
    if (found.size > FILE_BYTES_MAX) {
      throw new SluiceError('LIMIT', `the configuration ${file} has more than ${FILE_BYTES_MAX} bytes`)
    }
    if (process.geteuid?.() === ROOT_UID && (found.uid !== ROOT_UID || (found.mode & GROUP_OR_OTHERS_WRITE) !== 0)) {
      if (kind === 'user') return null
      throw new SluiceError('PRIVILEGE', `the configuration ${file} may be written by others than root`, {
        hint: `chown root ${file} && chmod 644 ${file}`,
      })
    }
    return readFileSync(fd, 'utf8')
  } finally {
    closeSync(fd)
  }
}
