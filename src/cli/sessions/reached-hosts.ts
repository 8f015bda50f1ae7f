/**
 * The auditor's question: which hosts were reached, or tried, by what process, under what rule, when. Connections of one process to one place under
 * one verdict are one row, with its first and last time. Bounded: what finds no row is counted.
 */
import type { EventJson } from '../../proto/event-json.js'
import { neutralise, neutraliseJson, neutraliseWord } from '../display-text.js'

const ROWS_MAX = 100_000

interface Row {
  readonly sessionId: string
  readonly sandbox: string
  readonly agent: string
  readonly task: string
  readonly host: string
  readonly address: string
  readonly port: number
  readonly protocol: string
  readonly decision: string
  readonly rule: string
  readonly policy: string
  readonly exe: string
  readonly pid: number
  readonly execId: string
  readonly toolCallId: string
  readonly first: string
  last: string
  count: number
}

export class ReachedHosts {
  private readonly rows = new Map<string, Row>()
  private left = 0

  add(event: EventJson): void {
    if (!('connect' in event)) return
    const { connect, sandbox, process, sessionId, toolCallId, time } = event
    // A socket that was made and no more: it has no other end.
    if (connect.via === 'SOCKET') return
    const { hostname: host, address, port, protocol, verdict } = connect
    const count = 'count' in connect ? Number(connect.count) : 1
    const execId = process?.execId ?? ''
    const key = JSON.stringify([sessionId, execId, host, address, port, protocol, verdict.decision, verdict.rule])
    const known = this.rows.get(key)
    if (known !== undefined) {
      known.last = time
      known.count += count
    } else if (this.rows.size >= ROWS_MAX) this.left++
    else {
      const { decision, rule, policy } = verdict
      this.rows.set(key, {
        ...{ sessionId, sandbox: sandbox.id, agent: sandbox.agent, task: sandbox.task, host, address, port, protocol },
        ...{ decision, rule, policy, exe: process?.exe ?? '', pid: process?.pid ?? 0, execId, toolCallId },
        ...{ first: time, last: time, count },
      })
    }
  }

  *jsonLines(): Generator<string> {
    for (const row of this.rows.values()) yield neutraliseJson(JSON.stringify(row))
    if (this.left > 0) yield JSON.stringify({ left: this.left })
  }

  *lines(): Generator<string> {
    for (const row of this.rows.values()) {
      const name = row.host === '' ? '' : ` (${neutraliseWord(row.host)})`
      const address = row.address.includes(':') ? `[${row.address}]` : row.address
      const when = row.count === 1 ? row.first : `${row.first}..${row.last} ×${row.count}`
      const by = `${neutraliseWord(row.exe) || '-'}(${row.pid})`
      const who = `${neutraliseWord(row.agent) || '-'}/${neutraliseWord(row.task) || '-'}`
      yield neutralise(`${when} ${who} ${by} ${row.protocol} ${address}:${row.port}${name} ${row.decision} ${row.rule}`)
    }
    if (this.left > 0) yield `${this.left} more connections are not shown: narrow it down with --since and --until`
  }
}
