/**
 * The last field of a compact line: what happened, by kind, in a few words. Guards the terminal as display-text.ts does: every string
 * of an event goes through it. Pure.
 */
import { formatDuration, neutralise, neutraliseWord, shellLine, shellWord } from './display-text.js'
import { describeStatus } from './exit-code.js'
import type {
  ShownConnect,
  ShownConnectionClosed,
  ShownDetection,
  ShownDns,
  ShownEvent,
  ShownFileChange,
  ShownFileOpen,
  ShownGap,
  ShownLimitHit,
  ShownListen,
  ShownPolicyChange,
  ShownResponse,
  ShownStdin,
  ShownToolCall,
  ShownVerdict,
} from './shown-event.js'
import { errnoName } from './system-names.js'

export function eventText(event: ShownEvent): string {
  if (event.exit !== undefined) {
    return `${describeStatus(event.exit)} after ${formatDuration(Number(event.exit.runtimeMs))}`
  }
  if (event.stdin !== undefined) return stdinText(event.stdin)
  if (event.fileOpen !== undefined) return fileOpenText(event.fileOpen)
  if (event.fileChange !== undefined) return fileChangeText(event.fileChange)
  if (event.connect !== undefined) return connectText(event.connect)
  if (event.connectionClosed !== undefined) return connectionClosedText(event.connectionClosed)
  if (event.listen !== undefined) return listenText(event.listen)
  if (event.dns !== undefined) return dnsText(event.dns)
  if (event.toolCall !== undefined) return toolCallText(event.toolCall)
  if (event.detection !== undefined) return detectionText(event.detection)
  if (event.response !== undefined) return responseText(event.response)
  if (event.execFailed !== undefined) {
    return `${shellWord(event.execFailed.path)} → ${errnoName(event.execFailed.errno)}`
  }
  if (event.policyChanged !== undefined) return policyChangedText(event.policyChanged)
  if (event.limitHit !== undefined) return limitHitText(event.limitHit)
  if (event.cgroupChange !== undefined) return cgroupChangeText(event.cgroupChange, event.process?.pid)
  if (event.quarantine !== undefined) return quarantineText(event.quarantine)
  if (event.checkpoint !== undefined) return checkpointText(event.checkpoint)
  if (event.gap !== undefined) return gapText(event.gap)
  if (event.sandboxStarted !== undefined) {
    const { mode, policyName, user, workdir, command } = event.sandboxStarted
    const policy = policyName === '' ? 'no policy' : `policy ${neutralise(policyName)}`
    // Nobody started a command in a cgroup that was there before us.
    if (command.length === 0) return `${neutralise(mode)}, ${policy}, adopted`
    return `${neutralise(mode)}, ${policy}, as ${neutralise(user)}, in ${shellWord(workdir)}: ${shellLine(command)}`
  }
  if (event.sandboxEnded !== undefined) return sandboxEndedText(event.sandboxEnded.summary ?? null)
  return execText(event)
}

function execText(event: ShownEvent): string {
  const process = event.process ?? null
  if (process === null) return '-'
  const line = process.args.length === 0 ? shellWord(process.exe) : shellLine(process.args)
  const script = event.exec?.script ?? ''
  // Nearly always it is an argument of its interpreter's.
  const shown = script === '' || process.args.includes(script) ? line : `${line} (script ${shellWord(script)})`
  const whole = process.argsTruncated ? `${shown} …` : shown
  return event.exec?.adopted === true ? `${whole} (was running)` : whole
}

/** Mostly one line, whose end is no news. */
function stdinText({ text, originalBytes, truncated, unshown }: ShownStdin): string {
  if (unshown === true) return `[redacted] (${neutralise(originalBytes)} bytes, typed without echo)`
  const shown = shellWord(text.replace(/[\r\n]+$/, ''))
  return truncated ? `${shown} … (${neutralise(originalBytes)} bytes)` : shown
}

function fileOpenText(open: ShownFileOpen): string {
  const parts = [neutraliseWord(open.access.toLowerCase().replace('_', '-')), shellWord(open.path)]
  if (open.created) parts.push('(created)')
  if (open.errno !== 0) parts.push(`→ ${errnoName(open.errno)}`)
  if (open.count !== '1' && open.count !== '0') parts.push(`×${neutralise(open.count)}`)
  return parts.join(' ')
}

function fileChangeText({ op, path, newPath, errno }: ShownFileChange): string {
  const parts = [neutraliseWord(op.toLowerCase()), shellWord(path)]
  if (newPath !== '') parts.push(op === 'SYMLINK' || op === 'MOUNT' ? 'at' : 'to', shellWord(newPath))
  if (errno !== 0) parts.push(`→ ${errnoName(errno)}`)
  return parts.join(' ')
}

function connectText(connect: ShownConnect): string {
  const { via, count = '1' } = connect
  const target = via === 'SOCKET' ? 'socket' : endpoint(connect)
  const parts = [neutraliseWord(connect.protocol.toLowerCase()), target]
  if (connect.hostname !== '') parts.push(`(${neutralise(connect.hostname)})`)
  if (connect.errno !== 0) parts.push(`→ ${errnoName(connect.errno)}`)
  parts.push(...ruleOf(connect.verdict))
  if (count !== '1' && count !== '0') parts.push(`×${neutralise(count)}`)
  return parts.join(' ')
}

/** What refused it, or would have: the verdict itself is a column of its own. */
function ruleOf(verdict: ShownVerdict | null | undefined): string[] {
  const isRefusal = verdict?.decision === 'DENY' || verdict?.decision === 'WOULD_DENY'
  return isRefusal ? [`(${neutralise(verdict.rule)})`] : []
}

function connectionClosedText(closed: ShownConnectionClosed): string {
  const direction = closed.incoming ? `from ${endpoint(closed)} to port ${closed.localPort}` : endpoint(closed)
  const bytes = `${neutralise(closed.bytesSent)} bytes sent, ${neutralise(closed.bytesReceived)} received`
  const duration = formatDuration(Number(closed.durationMs))
  return `${neutraliseWord(closed.protocol.toLowerCase())} ${direction} after ${duration}: ${bytes}`
}

function listenText(listen: ShownListen): string {
  const parts = [neutraliseWord(listen.protocol.toLowerCase()), endpoint(listen)]
  if (listen.errno !== 0) parts.push(`→ ${errnoName(listen.errno)}`)
  return parts.join(' ')
}

/** Names and answers are the resolvers' text. */
function dnsText({ name, type, rcode, answers }: ShownDns): string {
  const told = rcode === 'NOERROR' ? answers.map(neutralise).join(', ') || 'no such record' : neutraliseWord(rcode)
  return `${neutraliseWord(type)} ${neutraliseWord(name || '.')} → ${told}`
}

function toolCallText(call: ShownToolCall): string {
  const { class: kind, command, exitCode, signal, ended, processes, filesChanged } = call
  const end = ended ? describeStatus({ code: exitCode, signal }) : 'not ended'
  const changed = filesChanged.length === 0 ? '' : `, ${counted(filesChanged.length, 'file')} changed`
  return `${neutraliseWord(kind.toLowerCase().replace('_', '-'))} ${shellWord(command)} → ${end}, ${counted(processes, 'program')}${changed}`
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function detectionText({ detector, severity, reason }: ShownDetection): string {
  return `${neutraliseWord(severity.toLowerCase())} ${neutraliseWord(detector)}: ${neutralise(reason)}`
}

/** What is so, why, and until when. */
function responseText({ action, trigger, state, observed, undoneBy, until }: ShownResponse): string {
  const parts = [`${neutraliseWord(action.toLowerCase())} ${neutraliseWord(state.toLowerCase())}`]
  if (undoneBy !== '') parts.push(`by ${neutralise(undoneBy)}`)
  if (until !== null) parts.push(`until ${neutraliseWord(until.slice(11, 19))}`)
  const why = trigger === 'operator' ? 'by an operator' : `for ${neutraliseWord(trigger)}`
  return `${parts.join(' ')} (${why})${observed === '' ? '' : `: ${neutralise(observed)}`}`
}

/** Families whose addresses have no port. */
const PORTLESS: ReadonlySet<string> = new Set(['UNIX', 'NETLINK', 'ALG', 'OTHER'])

/** The address of a Unix socket is a path, in byte text; the others are plain. */
function endpoint({ protocol, address, port }: { protocol: string; address: string; port: number }): string {
  if (protocol === 'UNIX') return address === '' ? '-' : shellWord(address)
  const shown = neutraliseWord(address)
  if (PORTLESS.has(protocol)) return shown
  return address.includes(':') ? `[${shown}]:${port}` : `${shown}:${port}`
}

function cgroupChangeText({ op, path, actorPid }: NonNullable<ShownEvent['cgroupChange']>, pid: number | undefined) {
  const text = `${neutraliseWord(op.toLowerCase())} ${shellWord(path)}`
  return actorPid === pid ? text : `${text} by ${actorPid}`
}

const QUARANTINE_TEXTS: Readonly<Record<string, string>> = {
  FORK: 'a new process could not be marked as the sandbox’s',
  MOVED: 'a process that came in could not be marked as the sandbox’s',
  CGROUPS: 'the sandbox has more cgroups than are kept',
}

function quarantineText({ cause, pid, stopped }: NonNullable<ShownEvent['quarantine']>): string {
  const why = QUARANTINE_TEXTS[cause] ?? neutraliseWord(cause.toLowerCase())
  const whom = pid === 0 ? '' : ` (${pid})`
  return `${why}${whom}: its connections are refused${stopped ? ', and this process was stopped' : ''}`
}

function checkpointText({ sessionId, records, isSeal }: NonNullable<ShownEvent['checkpoint']>): string {
  return `${isSeal ? 'sealed' : 'signed'}: ${records} records of ${neutraliseWord(sessionId)}`
}

function policyChangedText({ from, to, by }: ShownPolicyChange): string {
  const text = (policy: ShownPolicyChange['to']) =>
    policy ? `${neutralise(policy.name)} (${neutralise(policy.mode)})` : 'no policy'
  const held = to ? '' : ', nothing is refused any more'
  return `${text(from)} → ${text(to)}${held}: ${neutralise(by)}`
}

function limitHitText({ what, refused, windowMs }: ShownLimitHit): string {
  return `${neutraliseWord(what)}: ${refused} over the limit in ${formatDuration(Number(windowMs))}`
}

function lostBetween(least: string, most: string): string {
  if (most !== '0') return least === '0' ? `lost at most ${most}` : `lost ${least} to ${most}`
  return least === '0' ? 'lost an unknown number of' : `lost at least ${least}`
}

function gapText(gap: ShownGap): string {
  const count = neutralise(gap.count)
  const lost = gap.exact ? `lost ${count}` : lostBetween(count, neutralise(gap.countMax ?? '0'))
  const kind = gap.kind === '' ? '' : ` ${neutralise(gap.kind)}`
  const noun = gap.exact && count === '1' ? 'event' : 'events'
  return `${lost}${kind} ${noun} (${neutralise(gap.stage)}): ${neutralise(gap.cause)}`
}

function sandboxEndedText(summary: NonNullable<ShownEvent['sandboxEnded']>['summary'] | null): string {
  if (summary === null || summary === undefined) return '-'
  const status = describeStatus({ code: summary.exitCode, signal: summary.signal })
  const whole = summary.complete ? 'complete' : `incomplete, lost ${neutralise(summary.lost)}`
  const duration = formatDuration(Number(summary.durationMs))
  return `${status} after ${duration}: ${neutralise(summary.events)} events, ${whole}`
}
