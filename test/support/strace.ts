/** Reads what `strace -f -y -xx` saw: a second witness of the same processes. Only the calls that Sluice records are read. */
import { posix } from 'node:path'

export interface StraceExec {
  tid: number
  path: string
  argv: string[]
}

export interface StraceOpen {
  tid: number
  /** As passed. */
  userPath: string
  /** Where the descriptor led, by the kernel; null if the call failed. */
  path: string | null
  /** `ENOENT` …, null if it succeeded. */
  error: string | null
}

export interface StraceConnect {
  tid: number
  address: string
  port: number
  error: string | null
}

export interface StraceExecFailed {
  tid: number
  path: string
  error: string
}

export interface StraceChange {
  tid: number
  op: string
  /** As far as strace knows: absolute, or relative to a directory it does not name. */
  path: string
  newPath: string
  error: string | null
}

export interface StraceReport {
  execs: StraceExec[]
  failedExecs: StraceExecFailed[]
  changes: StraceChange[]
  opens: StraceOpen[]
  connects: StraceConnect[]
}

/** The options that this parser understands the output of. */
export const STRACE_ARGS = ['-f', '-qq', '-y', '-xx', '-s', '1000000', '-e', 'signal=none'] as const
const CHANGES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    rename: 'RENAME',
    renameat: 'RENAME',
    renameat2: 'RENAME',
    unlink: 'UNLINK',
    unlinkat: 'UNLINK',
    link: 'LINK',
    linkat: 'LINK',
    symlink: 'SYMLINK',
    symlinkat: 'SYMLINK',
    truncate: 'TRUNCATE',
    ftruncate: 'TRUNCATE',
    chmod: 'CHMOD',
    fchmod: 'CHMOD',
    fchmodat: 'CHMOD',
    mkdir: 'MKDIR',
    mkdirat: 'MKDIR',
    rmdir: 'RMDIR',
    mknod: 'MKNOD',
    mknodat: 'MKNOD',
  }),
)
export const STRACE_CALLS = `trace=execve,execveat,open,openat,openat2,creat,connect,${[...CHANGES.keys()].join(',')}`

const UNFINISHED = ' <unfinished ...>'
const RESUMED = /^<\.\.\. \w+ resumed>(.*)$/
const CALL = /^(\w+)\((.*)\)\s+= (-?\d+)(?:<([^>]*)>(?:\(deleted\))?)?(?: (E[A-Z0-9]+) .*)?$/
const STRING = /"((?:\\x[0-9a-f]{2})*)"/g

export function parseStrace(text: string): StraceReport {
  const report: StraceReport = { execs: [], failedExecs: [], changes: [], opens: [], connects: [] }
  for (const [tid, line] of wholeCalls(text)) {
    const match = CALL.exec(line)
    if (match === null) throw new Error(`strace line not understood: ${line.slice(0, 300)}`)
    const [, name = '', args = '', , target, error = null] = match
    if (name === 'execve' || name === 'execveat') {
      if (error === null) report.execs.push(parseExec(tid, args))
      else report.failedExecs.push({ tid, path: parseExec(tid, args).path, error })
    } else if (CHANGES.has(name)) {
      report.changes.push({ tid, ...parseChange(name, args), error })
    } else if (name === 'connect') {
      const connect = parseConnect(args)
      if (connect !== null) report.connects.push({ tid, ...connect, error })
    } else {
      const userPath = unhex(args.match(STRING)?.[0] ?? '""')
      report.opens.push({ tid, userPath, path: target === undefined ? null : unhex(target), error })
    }
  }
  return report
}

/** Puts the two halves of interrupted calls together. */
function* wholeCalls(text: string): Generator<[number, string]> {
  const pending = new Map<number, string>()
  for (const raw of text.split('\n')) {
    const match = /^(\d+)\s+(.*)$/.exec(raw)
    if (match === null) continue
    const tid = Number(match[1])
    let line = match[2] ?? ''
    if (line.startsWith('+++') || line.startsWith('---')) continue
    if (line.endsWith(UNFINISHED)) {
      pending.set(tid, line.slice(0, -UNFINISHED.length))
      continue
    }
    const resumed = RESUMED.exec(line)
    if (resumed !== null) {
      line = (pending.get(tid) ?? '') + (resumed[1] ?? '')
      pending.delete(tid)
    }
    yield [tid, line]
  }
}

function parseExec(tid: number, args: string): StraceExec {
  const [path = '', ...argv] = [...args.matchAll(STRING)].map((match) => unhex(match[0]))
  return { tid, path, argv }
}

/** A place: an optional directory, `AT_FDCWD<dir>` or `3<dir>`, then a string; or a descriptor alone. */
const PLACE = /(?:(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>(?:, )?)?("(?:\\x[0-9a-f]{2})*")?/g

function parseChange(name: string, args: string): { op: string; path: string; newPath: string } {
  const places = [...args.matchAll(PLACE)]
    .filter(([whole]) => whole !== '')
    .map(([, dir = '', text]) => {
      const path = text === undefined ? '' : unhex(text)
      return path.startsWith('/') || dir === '' ? path : posix.join(unhex(dir), path)
    })
  const [path = '', newPath = ''] = places
  const op = name === 'unlinkat' && args.includes('AT_REMOVEDIR') ? 'RMDIR' : (CHANGES.get(name) ?? '')
  if (op !== 'SYMLINK') return { op, path, newPath }
  return { op, path: unhex(args.match(STRING)?.[0] ?? '""'), newPath }
}

function parseConnect(args: string): { address: string; port: number } | null {
  const port = /sin6?_port=htons\((\d+)\)/.exec(args)
  const address = /(?:inet_addr\(|inet_pton\(AF_INET6, )("[^"]*")/.exec(args)
  if (port === null || address === null) return null
  return { address: unhex(address[1] ?? ''), port: Number(port[1]) }
}

function unhex(text: string): string {
  return Buffer.from(text.replaceAll('"', '').replaceAll('\\x', ''), 'hex').toString('utf8')
}
