/**
 * What `strace -f -xx` saw of calls on sockets: where each connect and send went, which sockets were made, what was listened on. The
 * options are those of strace.ts. Destinations of sendmmsg are told one by one, as far as the call says that they were tried.
 */
import { constants } from 'node:os'

export const STRACE_SOCKET_CALLS = 'trace=socket,connect,bind,listen,sendto,sendmsg,sendmmsg'

/** A sendmmsg that had sent something keeps the error of the message it stopped at to itself. */
const EIO = 5

export interface StraceEndpoint {
  tid: number
  via: 'CONNECT' | 'SENDMSG'
  address: string
  port: number
  errno: number
}

export interface StraceSockets {
  endpoints: StraceEndpoint[]
  /** errno of each socket(2). */
  made: number[]
  /** errno of each listen(2), and of each bind(2) that failed. */
  listens: number[]
}

const LINE = /^(\d+)\s+(\w+)\((.*)\)\s+= (-?\d+)(?:<[^>]*>)?(?: (E[A-Z0-9]+) .*)?$/
const ADDRESS = /\{sa_family=AF_(\w+)(?:, ((?:[^{}"]|"[^"]*")*))?\}/g

/** No call of the traced program may have been interrupted by another thread's. */
export function parseStraceSockets(text: string): StraceSockets {
  const seen: StraceSockets = { endpoints: [], made: [], listens: [] }
  for (const line of text.split('\n')) {
    const match = LINE.exec(line)
    if (match === null) continue
    const [, tid = '', name = '', args = '', result = '', error] = match
    const errno = error === undefined ? 0 : ((constants.errno as Record<string, number>)[error] ?? -1)
    if (name === 'socket') seen.made.push(errno)
    else if (name === 'listen' || (name === 'bind' && errno !== 0)) seen.listens.push(errno)
    else if (name === 'connect' || name.startsWith('send')) {
      seen.endpoints.push(...endpointsOf({ tid: Number(tid), name, args, result: Number(result), errno }))
    }
  }
  return seen
}

function endpointsOf(call: {
  tid: number
  name: string
  args: string
  result: number
  errno: number
}): StraceEndpoint[] {
  const { tid, name, args, result, errno } = call
  const via = name === 'connect' ? 'CONNECT' : 'SENDMSG'
  const all = [...args.matchAll(ADDRESS)].map(([, family = '', fields = '']) => addressOf(family, fields))
  const tried = name === 'sendmmsg' ? all.slice(0, Math.max(result, 0) + 1) : all
  return tried.map((address, index) => ({
    ...{ tid, via, ...address },
    errno: name === 'sendmmsg' && result >= 0 && index === result ? EIO : errno,
  }))
}

function addressOf(family: string, fields: string): { address: string; port: number } {
  if (family === 'NETLINK') return { address: /nl_pid=(\d+)/.exec(fields)?.[1] ?? '', port: 0 }
  const text = unhex(/"([^"]*)"/.exec(fields)?.[1] ?? '')
  const port = Number(/port=htons\((\d+)\)/.exec(fields)?.[1] ?? 0)
  return { address: family === 'UNIX' && fields.includes('=@"') ? `@${text}` : text, port }
}

function unhex(text: string): string {
  return Buffer.from(text.replaceAll('\\x', ''), 'hex').toString('utf8')
}
