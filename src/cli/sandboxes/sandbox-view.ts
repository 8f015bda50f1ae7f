/**
 * Sandboxes as people and as machines see them: a table, the lines of one, a JSON object. Guards the terminal: every text of a sandbox is
 * neutralised. Pure.
 */
import type { IPolicyRef, ISandboxStatus } from '../../proto/codec.js'
import { toBigInt } from '../../proto/codec.js'
import { unixNsToText } from '../../proto/time-text.js'
import { neutralise, neutraliseWord } from '../display-text.js'

const NS_PER_S = 1_000_000_000n
const COLUMN_GAP = 3
const UNITS: [seconds: number, name: string][] = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'm'],
  [1, 's'],
]
const LABEL_WIDTH = 12
/** Of a digest. */
const HASH_SHOWN = 12

/** One JSON object, in the names of an event's JSON. */
export function sandboxJson(status: ISandboxStatus) {
  const { sandbox } = status
  return {
    id: sandbox?.id ?? '',
    name: sandbox?.name ?? '',
    state: stateOf(status),
    adopted: status.adopted ?? false,
    ownerUid: status.ownerUid ?? 0,
    started: unixNsToText(toBigInt(status.startedUnixNs)),
    sessionId: status.sessionId ?? '',
    processes: status.processes ?? 0,
    events: String(toBigInt(status.events)),
    lost: String(toBigInt(status.lost)),
    cgroupId: String(toBigInt(sandbox?.cgroupId)),
    cgroupPath: sandbox?.cgroupPath ?? '',
    agent: sandbox?.agent ?? '',
    task: sandbox?.task ?? '',
    labels: { ...sandbox?.labels },
    degraded: [...(status.degraded ?? [])],
    policy: status.policy ? refJson(status.policy) : null,
    policyProblems: [...(status.policyProblems ?? [])],
    responses: [...(status.responses ?? [])],
  }
}

export type SandboxView = ReturnType<typeof sandboxJson>

function refJson({ name, hash, mode }: IPolicyRef) {
  return { name: name ?? '', hash: hash ?? '', mode: mode ?? '' }
}

/** What it is held to. */
export function policyText({ policy }: Pick<SandboxView, 'policy'>): string {
  return policy === null ? 'no policy' : `policy ${policy.name} (${policy.mode})`
}

function stateOf(status: ISandboxStatus): 'frozen' | 'running' {
  return status.frozen === true ? 'frozen' : 'running'
}

/** Whole lines, the heading first. `userName`: of a uid. */
export function sandboxTable(
  sandboxes: readonly SandboxView[],
  userName: (uid: number) => string,
  nowUnixNs: bigint,
): string {
  const rows = [
    ['NAME', 'ID', 'STATE', 'OWNER', 'PROCESSES', 'EVENTS', 'LOST', 'AGE'],
    ...sandboxes.map((one) => [
      neutraliseWord(one.name),
      neutraliseWord(one.id),
      one.adopted ? `${one.state},adopted` : one.state,
      neutraliseWord(userName(one.ownerUid)),
      String(one.processes),
      one.events,
      one.lost,
      ageText(one, nowUnixNs),
    ]),
  ]
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (row: string[]) => row.map((cell, column) => cell.padEnd((widths[column] ?? 0) + COLUMN_GAP)).join('')
  return rows.map((row) => `${line(row).trimEnd()}\n`).join('')
}

/** Whole lines. */
export function sandboxText(one: SandboxView, userName: (uid: number) => string, nowUnixNs: bigint): string {
  const labels = Object.entries(one.labels).map(([key, value]) => `${key}=${value}`)
  const lines: [label: string, text: string][] = [
    ['name', one.name],
    ['id', one.id],
    ['state', one.adopted ? `${one.state}, adopted` : one.state],
    ['owner', userName(one.ownerUid)],
    ['started', `${one.started} (${ageText(one, nowUnixNs)} ago)`],
    ['session', one.sessionId],
    ['processes', String(one.processes)],
    ['events', `${one.events}, ${one.lost === '0' ? 'none lost' : `${one.lost} lost`}`],
    ['cgroup', `${one.cgroupPath} (${one.cgroupId})`],
    ...(one.agent === '' ? [] : [['agent', one.agent] as [string, string]]),
    ...(one.task === '' ? [] : [['task', one.task] as [string, string]]),
    ...(labels.length === 0 ? [] : [['labels', labels.join(', ')] as [string, string]]),
    [
      'policy',
      one.policy === null ? 'none' : `${one.policy.name}, ${one.policy.mode} (${one.policy.hash.slice(0, HASH_SHOWN)})`,
    ],
    ...one.policyProblems.map((problem): [string, string] => ['', problem]),
    ...one.responses.map((response, index): [string, string] => [index === 0 ? 'responses' : '', response]),
    ...one.degraded.map((problem, index): [string, string] => [index === 0 ? 'degraded' : '', problem]),
  ]
  return lines.map(([label, text]) => `${label.padEnd(LABEL_WIDTH)}${neutralise(text)}\n`).join('')
}

/** In the largest two units that are not 0: `3d4h`, `12s`. */
function ageText(one: SandboxView, nowUnixNs: bigint): string {
  const seconds = Number((nowUnixNs - BigInt(Date.parse(one.started)) * 1_000_000n) / NS_PER_S)
  const parts: string[] = []
  let rest = Math.max(0, seconds)
  for (const [unit, name] of UNITS) {
    const count = Math.floor(rest / unit)
    rest -= count * unit
    if (count > 0 && parts.length < 2) parts.push(`${count}${name}`)
    else if (parts.length === 1) break
  }
  return parts.join('') || '0s'
}
