/** A real Prometheus asks a real agent: what its numbers say of a session is what the session's record says. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { startTestAgent } from '../support/agent-process.js'
import { freePort } from '../support/free-port.js'
import { patient } from '../support/patience.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const root = fileURLToPath(new URL('../..', import.meta.url))
const RULES = join(root, 'deploy/prometheus/rules.yaml')
const WAIT = { timeout: patient(30_000), interval: 200 }
const POLICY = `version: 1
name: shut
mode: enforce
allow_brokers: true
egress: []
`
/** One more than none, and another that is refused besides. */
const REFUSED = `import socket
for port in (81, 82):
    try: socket.create_connection(("198.51.100.7", port), 1)
    except OSError: pass
`

interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [time: number, value: string]
}

async function withPrometheus(
  dir: string,
  target: number,
  body: (query: (text: string) => Promise<Sample[]>, rules: () => Promise<unknown[]>) => Promise<void>,
): Promise<void> {
  const port = await freePort()
  const config = join(dir, 'prometheus.yml')
  const job = { job_name: 'sluice', scrape_interval: '500ms', static_configs: [{ targets: [`127.0.0.1:${target}`] }] }
  writeFileSync(
    config,
    JSON.stringify({ global: { evaluation_interval: '1s' }, rule_files: [RULES], scrape_configs: [job] }),
  )
  const child: ChildProcess = spawn(
    'prometheus',
    [`--config.file=${config}`, `--storage.tsdb.path=${join(dir, 'tsdb')}`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: 'ignore' },
  )
  const gone = new Promise((resolve) => child.once('exit', resolve))
  const asked = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)
    return ((await response.json()) as { data: Record<string, unknown> }).data
  }
  try {
    await body(
      async (text) => (await asked(`query?query=${encodeURIComponent(text)}`)).result as Sample[],
      async () => (await asked('rules')).groups as unknown[],
    )
  } finally {
    child.kill('SIGKILL')
    await gone
  }
}

describe('what deploy/ has for Prometheus and Grafana', () => {
  const known = readFileSync(join(root, 'docs/reference/metrics.md'), 'utf8')

  test.each(['deploy/prometheus/rules.yaml', 'deploy/grafana/sluice.json'])('asks for what there is: %s', (path) => {
    const asked = readFileSync(join(root, path), 'utf8').match(/\bsluice_[a-z_]+/g) ?? []
    const own = asked.filter((name) => !name.startsWith('sluice_engine_')).map((name) => name.replace(/_bucket$/, ''))
    expect(own.length).toBeGreaterThan(5)
    for (const name of own) expect(known).toContain(`| \`${name}\` |`)
  })

  test('are rules that Prometheus takes', async () => {
    const { stdout } = await execa('promtool', ['check', 'rules', RULES])
    expect(stdout).toMatch(/SUCCESS: \d+ rules found/)
  })
})

describe.skipIf(skip)(`an agent that Prometheus asks ${reason}`, () => {
  test('says of a session what its record says', async () => {
    const port = await freePort()
    const agent = await startTestAgent({ config: { metrics: { listen: `127.0.0.1:${port}` } } })
    try {
      await withTempDir(async (dir) => {
        const policy = join(dir, 'policy.yaml')
        writeFileSync(policy, POLICY)
        await withPrometheus(dir, port, async (query, rules) => {
          const { events } = await sluiceRun(['python3', '-c', REFUSED], {
            options: ['--socket', agent.socket, '--policy', policy, '--name', 'asked'],
          })
          const denied = events.filter((event) => 'connect' in event && event.connect.verdict.decision === 'DENY')
          expect(denied.length).toBeGreaterThan(1)
          const all = async () => Number((await query('sum(sluice_events_total)'))[0]?.value[1])
          await expect.poll(all, WAIT).toBe(events.length)
          const [found] = await query('sluice_verdicts_total{kind="connect",decision="DENY"}')
          expect(found).toMatchObject({ metric: { sandbox: 'asked', job: 'sluice' } })
          expect(found?.value[1]).toBe(String(denied.length))
          expect((await query('sluice_sensor_connected'))[0]?.value[1]).toBe('1')
          const watched = async () => (await query('sluice_sandboxes'))[0]?.value[1]
          await expect.poll(watched, WAIT).toBe('0')
          expect((await query('up{job="sluice"}'))[0]?.value[1]).toBe('1')
          expect(await rules()).toMatchObject([{ name: 'sluice', rules: expect.arrayContaining([expect.anything()]) }])
        })
      })
    } finally {
      await agent.stop()
    }
  })
})
