/**
 * The file at a program's path, below the root of whoever runs it. It guards that a name stands for a file only as long as root alone can say
 * which: every folder on the way, every link and the file itself are root's and nobody else's to write. What a user may write, so may what
 * runs in the user's sandbox.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, type Stats } from 'node:fs'
import { errnoCode } from './error.js'

const LINKS_MAX = 40
const WRITABLE_BY_OTHERS = 0o022
const STICKY = 0o1000
const ROOT_UID = 0
const NOT_THERE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ESRCH'])

/** `problem` null: there is nothing. */
interface NoProgram {
  readonly problem: string | null
}

/** Opened for reading; the caller closes it. @param root a folder that stands for / */
export function openProgramFile(
  root: string,
  path: string,
): { readonly fd: number } | ({ readonly fd: null } & NoProgram) {
  const found = findProgramFile(root, path)
  if (found.path === null) return { fd: null, problem: found.problem }
  try {
    const fd = openSync(`${root}${found.path}`, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const problem = fileProblem(fstatSync(fd), path)
    if (problem === null) return { fd }
    closeSync(fd)
    return { fd: null, problem }
  } catch (error) {
    return { fd: null, problem: failure(error, path) }
  }
}

/** Where it is, all links resolved. */
export function findProgramFile(
  root: string,
  path: string,
): { readonly path: string } | ({ readonly path: null } & NoProgram) {
  try {
    const place = resolve(root, path)
    const problem = place.problem ?? fileProblem(lstatSync(`${root}${place.path}`), path)
    return problem === null ? { path: place.path } : { path: null, problem }
  } catch (error) {
    return { path: null, problem: failure(error, path) }
  }
}

/** Null: it is not there. */
function failure(error: unknown, path: string): string | null {
  const code = errnoCode(error) ?? ''
  return NOT_THERE.has(code) ? null : `${path} can not be read (${code})`
}

/** Null: root alone can change what is in it. */
export function fileProblem(file: Stats, path: string): string | null {
  if (!file.isFile()) return `${path} is no file`
  return isRootsAlone(file) ? null : `others than root may write ${path}`
}

function isRootsAlone({ uid, mode }: Stats): boolean {
  return uid === ROOT_UID && (mode & WRITABLE_BY_OTHERS) === 0
}

/** As the kernel goes, but below `root`: a link's absolute target is there too. */
function resolve(root: string, path: string): { readonly path: string; readonly problem: string | null } {
  const waiting = path.split('/').filter((part) => part !== '')
  let folders: string[] = []
  let links = 0
  for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
    if (part === '.') continue
    if (part === '..') {
      folders.pop()
      continue
    }
    const problem = folderProblem(root, folders)
    if (problem !== null) return { path, problem }
    const at = [...folders, part]
    const found = lstatSync(`${root}/${at.join('/')}`)
    if (!found.isSymbolicLink()) {
      folders = at
      continue
    }
    links += 1
    if (links > LINKS_MAX) return { path, problem: `${path} leads through too many links` }
    if (found.uid !== ROOT_UID) return { path, problem: `a link on the way to ${path} is not root's` }
    const target = readlinkSync(`${root}/${at.join('/')}`)
    if (target.startsWith('/')) folders = []
    waiting.unshift(...target.split('/').filter((each) => each !== ''))
  }
  return { path: `/${folders.join('/')}`, problem: null }
}

/** In a sticky folder only its owner removes a name. */
function folderProblem(root: string, folders: readonly string[]): string | null {
  const folder = lstatSync(`${root}/${folders.join('/')}`.replace(/\/$/, '/.'))
  const isHeld = folder.uid === ROOT_UID && ((folder.mode & WRITABLE_BY_OTHERS) === 0 || (folder.mode & STICKY) !== 0)
  return isHeld ? null : `others than root may write the folder /${folders.join('/')}`
}
