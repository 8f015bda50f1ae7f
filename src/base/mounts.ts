/** What is mounted where, as a process sees it: /proc/PID/mountinfo of proc_pid_mountinfo(5), parsed. */
import { readFileSync } from 'node:fs'
import { errnoCode, SluiceError } from './error.js'

const OWN = '/proc/self/mountinfo'

export interface Mount {
  readonly path: string
  readonly fsType: string
  /** The folder of the file system that is mounted here; `/` where it is the whole one. */
  readonly root: string
  /** Of the file system as such. */
  readonly options: readonly string[]
}

/** Of this process. Throws IO with the next step. */
export function readMountinfo(): string {
  try {
    return readFileSync(OWN, 'utf8')
  } catch (error) {
    throw new SluiceError('IO', `${OWN} can't be read (${errnoCode(error)})`, {
      hint: 'is /proc mounted? mount -t proc proc /proc',
      cause: error,
    })
  }
}

/** In the order of mounting; lines that can't be read are left out. */
export function parseMounts(mountinfo: string): Mount[] {
  return mountinfo.split('\n').flatMap((line): Mount[] => {
    const [before, after] = line.split(' - ')
    const [, , , root, path] = before?.split(' ') ?? []
    const [fsType, , options = ''] = after?.split(' ') ?? []
    if (root === undefined || path === undefined || fsType === undefined) return []
    return [{ path: unescapeOctal(path), fsType, root: unescapeOctal(root), options: options.split(',') }]
  })
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}
