/** An agent without sinks that is given one while it works: what runs goes on, and from then on every event arrives. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { withAgent } from '../support/agent-process.js'
import { privileged } from '../support/privileged.js'
import { startSluice, until } from '../support/sluice-process.js'
import { readRecord, sluiceRun } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

test.skipIf(skip)(`an agent takes its first sink while a run goes on ${reason}`, async () => {
  await withAgent(async (agent, dir) => {
    const options = ['--socket', agent.socket]
    const out = join(agent.dir, 'out')
    const path = join(out, 'events.jsonl')
    const arrived = () => {
      const lines = existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : []
      return new Set(lines.map((line) => JSON.parse(line).uid as string))
    }
    const script = 'touch started; while ! [ -e go ]; do sleep 0.1; done; /bin/true; exit 3'
    const before = startSluice(['sh', '-c', script], { dir, cwd: dir, options })
    await until('it runs', () => existsSync(join(dir, 'started')))
    mkdirSync(out)
    // The sinks' user writes there.
    chmodSync(out, 0o777)
    const config = JSON.parse(readFileSync(agent.config, 'utf8'))
    writeFileSync(agent.config, JSON.stringify({ ...config, sinks: { lines: { type: 'file', path } } }))
    const { engine } = agent.pids()
    agent.child.kill('SIGHUP')
    await until('another engine runs', () => ![0, engine].includes(agent.pids().engine))
    writeFileSync(join(dir, 'go'), '')
    expect((await before.result).exitCode).toBe(3)
    // As at any death of an engine: what it had not passed on is told as missing.
    expect(readRecord(before.record).some((event) => 'sandboxEnded' in event)).toBe(true)
    const after = await sluiceRun(['sh', '-c', ':'], { options })
    await until('all of the next run has arrived', () => {
      const uids = arrived()
      return after.events.every(({ uid }) => uids.has(uid))
    })
  })
})
