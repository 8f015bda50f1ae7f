/**
 * Names that are the same in two sessions that did the same: the workspace and what is made up anew each time (process ids, ids, temporary names,
 * ports that the kernel chose) are taken out. Guards nothing; what is taken out is shown as `*`.
 */

/** Linux's own: net.ipv4.ip_local_port_range. */
const CHOSEN_PORT_MIN = 32_768
const CHOSEN_PORT_MAX = 60_999
const UUID = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/gi
const LONG_HEX = /(?<![0-9a-z])(?=[a-f]*\d)[0-9a-f]{12,}(?![0-9a-z])/gi
const LONG_NUMBER = /\d{5,}/g
const PROCESS_FOLDER = /^\/proc\/\d+(?=\/|$)/
const TASK_FOLDER = /\/task\/\d+(?=\/|$)/
const TEMPORARY = /^(\/tmp|\/var\/tmp|\/dev\/shm|\/run\/user\/\d+)\/(.+)$/
/** As mkstemp and its like end a name: letters of both cases or digits among letters. */
const MADE_UP = /[.\-_]?(?=[A-Za-z0-9]*(?:\d|[a-z][A-Z]|[A-Z][a-z]))[A-Za-z0-9]{6,}(?=\.[A-Za-z]+$|$)/

/** @param workdir of the session; empty: unknown */
export function normalPath(path: string, workdir: string): string {
  const isOwn = workdir.length > 1 && (path === workdir || path.startsWith(`${workdir}/`))
  if (isOwn) return `$WORKDIR${volatileOut(path.slice(workdir.length))}`
  const [, folder, rest] = TEMPORARY.exec(path) ?? []
  if (folder === undefined || rest === undefined) {
    return volatileOut(path.replace(PROCESS_FOLDER, '/proc/*').replace(TASK_FOLDER, '/task/*'))
  }
  const [name = '', ...more] = rest.split('/')
  return volatileOut([folder, name.replace(MADE_UP, '*'), ...more].join('/'))
}

/** @returns e.g. `tcp example.com:443` */
export function normalHost(to: { protocol: string; address: string; port: number; hostname: string }): string {
  const { protocol, address, port, hostname } = to
  const kind = protocol.toLowerCase()
  if (protocol === 'UNIX') return `${kind} ${normalPath(address, '')}`
  const host = hostname === '' ? address : hostname.toLowerCase().replace(/\.$/, '')
  const isChosen = hostname === '' && isLoopback(address) && port >= CHOSEN_PORT_MIN && port <= CHOSEN_PORT_MAX
  return `${kind} ${host.includes(':') ? `[${host}]` : host}:${isChosen ? '*' : port}`
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.')
}

function volatileOut(path: string): string {
  return path.replace(UUID, '*').replace(LONG_HEX, '*').replace(LONG_NUMBER, '*')
}
