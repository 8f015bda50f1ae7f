/**
 * Which events `run --events` shows on stderr while the command runs, and how. Not how they get there: live-lines.ts.
 */
import { compactLine } from '../compact-line.js'
import type { ColorMode } from '../environment.js'
import {
  decisionOf,
  type ShownConnect,
  type ShownEvent,
  type ShownFileChange,
  type ShownFileOpen,
} from '../shown-event.js'
import { terminalColumns, wantsColor } from '../terminal.js'
import type { LiveView } from './run-options.js'

const STDERR = 2

/** Notable: programs started, what they were told to do, failed ends, connections and listeners, files written, created or changed, who moved, what policy would refuse, what was lost. */
export function isShownLive(event: ShownEvent, view: LiveView): boolean {
  if (view === 'all') return true
  if (
    event.exec !== undefined ||
    event.stdin !== undefined ||
    event.gap !== undefined ||
    event.listen !== undefined ||
    event.dns !== undefined ||
    event.detection !== undefined ||
    event.response !== undefined ||
    event.policyChanged !== undefined ||
    event.limitHit !== undefined
  )
    return true
  if (event.connect !== undefined && isNotableConnect(event.connect)) return true
  if (event.cgroupChange !== undefined || event.quarantine !== undefined) return true
  if (event.exit !== undefined) return event.exit.code !== 0 || event.exit.signal !== 0
  if (event.fileOpen !== undefined && isNotableOpen(event.fileOpen)) return true
  if (event.fileChange !== undefined && isNotableChange(event.fileChange)) return true
  const decision = decisionOf(event)
  return decision !== null && decision !== 'ALLOW'
}

/** Nearly every script writes to /dev/null, and one commit makes dozens of files that nobody looks at by name. */
const NOT_NOTABLE = /^\/dev\/|\/\.git(?:\/|$)/
const EPERM = 1
const EACCES = 13

/** Written or created, or refused by the system; a lock or a cache that is just not there yet is no news. */
function isNotableOpen({ created, access, path, errno }: ShownFileOpen): boolean {
  if (NOT_NOTABLE.test(path)) return false
  if (errno !== 0) return errno === EPERM || errno === EACCES
  return created || access !== 'READ'
}

/** Sockets that any program makes, and questions to the kernel by netlink: looking up a name asks two. */
const ORDINARY_SOCKETS: ReadonlySet<string> = new Set(['TCP', 'UDP', 'UNIX', 'NETLINK'])

function isNotableConnect({ protocol, via, errno }: ShownConnect): boolean {
  if (errno === EPERM || errno === EACCES) return true
  if (via === 'SOCKET') return !ORDINARY_SOCKETS.has(protocol)
  return protocol !== 'NETLINK'
}

/** Of a rename or a link either end can be what counts. */
function isNotableChange({ op, path, newPath, errno }: ShownFileChange): boolean {
  if (errno !== 0) return errno === EPERM || errno === EACCES
  return [op === 'SYMLINK' ? '' : path, newPath].some((name) => name !== '' && !NOT_NOTABLE.test(name))
}

/** What `consumeEvents` calls with every event: hands on the lines of those that are shown. */
export function liveView(view: LiveView, color: ColorMode, write: (line: string) => void): (event: ShownEvent) => void {
  const style = { color: wantsColor(color, STDERR), columns: terminalColumns(STDERR) }
  return (event) => {
    if (isShownLive(event, view)) write(compactLine(event, style))
  }
}
