/** An event in its JSON form as detection sees it. Null for one that says nothing to it. */
import type {
  ConnectJson,
  EventJson,
  ExecJson,
  FileChangeJson,
  FileOpenJson,
  KindJson,
  ProcessJson,
} from '../../proto/event-json.js'
import { clipped, copied } from './bounded.js'
import type { Fact, FactBody, MutationHow, ProcessFact } from './fact.js'

const HOWS: ReadonlySet<string> = new Set<MutationHow>([
  ...(['RENAME', 'UNLINK', 'LINK', 'SYMLINK', 'TRUNCATE', 'CHMOD', 'MKDIR', 'RMDIR'] as const),
])

export function factOf(event: EventJson): Fact | null {
  const { uid, time, sandbox } = event
  const process = event.process ? processFactOf(event.process) : null
  return factFrom({ uid, time, process, sandbox }, event)
}

/** What every fact has, and who was started. */
interface FactHead {
  readonly uid: string
  readonly time: string
  readonly process: ProcessFact | null
  readonly sandbox: StartedFor
}

export function factFrom({ uid, time, process, sandbox }: FactHead, event: KindJson): Fact | null {
  const body = bodyOf(event, sandbox)
  if (body === null) return null
  return { uid: clipped(uid, UID_CHARS_MAX), timeMs: timeMsOf(time), time, process, ...body }
}

export function processFactOf(process: ProcessJson): ProcessFact {
  const { execId, parentExecId, spawnerExecId = '', pid, exe, args, cwd } = process
  return { execId, parentExecId, spawnerExecId, pid, exe, args, cwd }
}

/** Ours have 36. */
const UID_CHARS_MAX = 64

/** Who was started. */
export interface StartedFor {
  readonly id?: string | null
  readonly task?: string | null
}

/** What it did; null where that is nothing to detection. */
export function bodyOf(event: KindJson, sandbox: StartedFor): FactBody | null {
  if ('fileOpen' in event) return openBody(event.fileOpen)
  if ('exec' in event) return execBody(event.exec)
  if ('exit' in event) return { kind: 'exit', code: event.exit.code, signal: event.exit.signal }
  if ('connect' in event) return connectBody(event.connect)
  if ('connectionClosed' in event) return { kind: 'closed', bytes: Number(event.connectionClosed.bytesSent) || 0 }
  if ('fileChange' in event) return changeBody(event.fileChange)
  if ('stdin' in event) return { kind: 'stdin', text: event.stdin.text }
  if ('dns' in event) return { kind: 'name', name: event.dns.name, denied: isDenied(event.dns.verdict) }
  if ('cgroupChange' in event) return { kind: 'cgroup', op: event.cgroupChange.op, path: event.cgroupChange.path }
  if ('limitHit' in event) return limitBody(event.limitHit)
  if ('sandboxStarted' in event) return startedBody(event.sandboxStarted.workdir, sandbox)
  return 'sandboxEnded' in event ? { kind: 'ended' } : null
}

function limitBody({ what, verdict }: { readonly what?: string; readonly verdict: Verdict }): FactBody {
  return { kind: 'limit', what: what ?? '', throttled: verdict?.rule === 'throttle' }
}

function startedBody(workdir: string | undefined, { id, task }: StartedFor): FactBody {
  return { kind: 'started', workdir: (workdir ?? '').replace(/\/+$/, ''), sandbox: id ?? '', task: task ?? '' }
}

function execBody({ script, memfd, exeDev, exeInode, adopted }: ExecJson): FactBody {
  return {
    kind: 'exec',
    script: script ?? '',
    memfd: memfd ?? false,
    file: idOf(exeDev, exeInode),
    adopted: adopted ?? false,
  }
}

/** A recording of an earlier version has none. */
function idOf(dev: string | undefined, inode: string | undefined): string {
  return inode === undefined || inode === '0' ? '' : `${dev}:${inode}`
}

/** EPERM, EACCES, EROFS: somebody said no. What is not there tells nothing. */
const REFUSED: ReadonlySet<number> = new Set([1, 13, 30])

/** Whether an open that ended like this says something. */
export function isTelling(errno: number, verdict: Verdict): boolean {
  return errno === 0 || REFUSED.has(errno) || isDenied(verdict)
}

/** Of an open what is asked for here. */
export type OpenFacts = Pick<FileOpenJson, 'errno' | 'access' | 'path' | 'userPath' | 'dev' | 'inode'> & {
  readonly verdict: Verdict
}
type Verdict = { readonly decision?: string; readonly rule?: string } | null | undefined

export function openBody({ errno, access, path, userPath, dev, inode, verdict }: OpenFacts): FactBody | null {
  const isRead = access === 'READ'
  if (!isTelling(errno, verdict)) return null
  if (errno !== 0) return { kind: 'refused', path, asked: userPath ?? '', write: !isRead }
  if (isRead) return { kind: 'read', path, asked: userPath ?? '' }
  if (DEVICE.test(path)) return { kind: 'special', path, asked: userPath ?? '' }
  return { kind: 'mutation', how: 'WRITE', paths: [path], file: idOf(dev, inode) }
}

/** What is written there changes no file. */
const DEVICE = /^\/dev\/(?!shm\/)|^\/proc\//

function changeBody({ errno, op, path, newPath, verdict }: FileChangeJson): FactBody | null {
  if (op === 'MOUNT') return { kind: 'mount', path: newPath, done: errno === 0 }
  if (!isTelling(errno, verdict)) return null
  if (errno !== 0) return { kind: 'refused', path: newPath === '' ? path : newPath, asked: '', write: true }
  const how = HOWS.has(op) ? (op as MutationHow) : 'OTHER'
  // What a link leads to stays as it was.
  const paths = newPath === '' ? [path] : how === 'RENAME' ? [path, newPath] : [newPath]
  return { kind: 'mutation', how, paths, file: '' }
}

/** ENOENT, ECONNREFUSED: nobody is there. */
const ABSENT: ReadonlySet<number> = new Set([2, 111])

/** A socket that was only made reaches nobody. */
function connectBody({ via, protocol, address, port, hostname, verdict, count, errno }: ConnectJson): FactBody | null {
  const denied = isDenied(verdict)
  if ((via === 'SOCKET' && !denied) || protocol === 'NETLINK' || protocol === 'ALG') return null
  const isUnix = protocol === 'UNIX'
  const target = isUnix ? `unix ${address}` : `${protocol.toLowerCase()} ${address}:${port}`
  const { decision, rule = 'none' } = verdict ?? {}
  const isNamed = decision === 'ALLOW' && rule !== 'none' && rule !== 'default'
  const isAbsent = isUnix && ABSENT.has(errno)
  return {
    ...{ kind: 'attempt', target, host: hostname, denied, count: Number(count ?? 1) || 1 },
    ...(isNamed ? { rule } : {}),
    ...(isAbsent ? { isAbsent } : {}),
  }
}

function isDenied(verdict: Verdict): boolean {
  return verdict?.decision === 'DENY' || verdict?.decision === 'WOULD_DENY'
}

const SECOND_CHARS = '2006-01-02T15:04:05'.length
const TIME_CHARS = '2006-01-02T15:04:05.000000000Z'.length
const MS_CHARS = '2006-01-02T15:04:05.000'.length

/** Events come in order: the second of the latest one, and what that is in ms. */
const latest = { second: '', ms: Number.NaN }

/** Of the form that events have; NaN for another one. */
export function timeMsOf(time: string): number {
  if (time.length !== TIME_CHARS || time[SECOND_CHARS] !== '.') return Number.NaN
  if (latest.second === '' || !time.startsWith(latest.second)) {
    // Not a view into somebody's line, which would keep all of it.
    latest.second = copied(time.slice(0, SECOND_CHARS))
    latest.ms = Date.parse(`${latest.second}Z`)
  }
  return latest.ms + Number(time.slice(SECOND_CHARS + 1, MS_CHARS)) + Number(time.slice(MS_CHARS, -1)) / 1_000_000
}
