/** Receivers of alerts for tests: a double as strict as Alertmanager's API v2, and a real Alertmanager on loopback with a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.js'
import type { Asked } from './http-receiver.js'
import { patient } from './patience.js'

export interface PostedAlert {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly startsAt: string
  readonly endsAt: string
}

/** As Debian calls it. */
const PROGRAM = 'prometheus-alertmanager'
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/
const READY_MS = patient(20_000)

/** Throws what the real one answers 400 for. */
export function strictAlerts({ path, headers, body }: Asked): PostedAlert[] {
  const alerts = JSON.parse(body) as PostedAlert[]
  if (path !== '/api/v2/alerts') throw new Error(`no such path: ${path}`)
  if (headers['content-type'] !== 'application/json') throw new Error('unsupported media type')
  for (const { labels, annotations, startsAt, endsAt } of alerts) {
    if (Object.keys(labels).length === 0) throw new Error('at least one label pair required')
    for (const [name, value] of [...Object.entries(labels), ...Object.entries(annotations)]) {
      if (!LABEL.test(name) || typeof value !== 'string') throw new Error(`invalid label ${name}`)
    }
    const [start, end] = [Date.parse(startsAt), Date.parse(endsAt)]
    if (Number.isNaN(start) || Number.isNaN(end)) throw new Error('not a time')
    if (end < start) throw new Error('start time must be before end time')
  }
  return alerts
}

export interface RealAlertmanager {
  readonly url: string
  /** That it holds now. */
  alerts(): Promise<
    { labels: Record<string, string>; annotations: Record<string, string>; status: { state: string } }[]
  >
  stop(): Promise<void>
}

/** @param notified a webhook that it tells at once */
export async function startAlertmanager(notified: string): Promise<RealAlertmanager> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-alertmanager-'))
  const port = await freePort()
  const config = join(folder, 'config.yml')
  const route = { receiver: 'test', group_by: ['...'], group_wait: '0s', group_interval: '1s', repeat_interval: '1h' }
  const receivers = [{ name: 'test', webhook_configs: [{ url: notified, send_resolved: true }] }]
  writeFileSync(config, JSON.stringify({ route, receivers }))
  const child: ChildProcess = spawn(
    PROGRAM,
    [
      ...[
        `--config.file=${config}`,
        `--storage.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      '--cluster.listen-address=',
    ],
    { stdio: 'ignore' },
  )
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const url = `http://127.0.0.1:${port}`
  const stop = async () => {
    child.kill('SIGKILL')
    await gone
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await ready(`${url}/-/ready`, child)
  } catch (error) {
    await stop()
    throw error
  }
  return { url, stop, alerts: async () => (await (await fetch(`${url}/api/v2/alerts`)).json()) as never }
}

async function ready(url: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_MS
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`alertmanager ended with ${child.exitCode}`)
    const ok = await fetch(url).then(
      (answer) => answer.ok,
      () => false,
    )
    if (ok) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('alertmanager does not answer')
}
