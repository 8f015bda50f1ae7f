/**
 * What an agent's short sessions were like is what the next one is measured by: kept by a real engine on disk, through its kill -9; what is far from it
 * is told from the first windows on, of this agent alone, and teaches nothing. A replay tells the same where it is given what the engine had.
 */
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { readBaselines } from '../../src/engine/baselines.js'
import type { EventJson } from '../../src/proto/event-json.js'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { privileged } from '../support/privileged.js'
import { isAlive, startSluice, until } from '../support/sluice-process.js'
import { readRecord, SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const WINDOW_MS = 500
const POLICY = `version: 1
name: quick
mode: monitor
detect:
  loop: {off: true}
  volume: {window: ${WINDOW_MS}ms, windows: 2, min_sessions: 3, calls: 1000000/min}
`
/** Two calls a window. */
const CALM = 'for n in 1 2 3 4 5 6 7; do /bin/true; sleep 0.5; done; :'
/** As many as there can be, until the file is gone. */
const busy = (go: string, calls: number) =>
  `n=0; while [ -e ${go} ] && [ $n -lt ${calls} ]; do /bin/true; n=$((n+1)); done; :`

const volumes = (events: EventJson[]) =>
  events.flatMap((event) =>
    'detection' in event && event.detection.detector === 'volume' ? [{ ...event.detection, uid: event.uid }] : [],
  )

/** Told by what the agent's sessions before had: on a machine that is slow at times a session may stray from itself, too. */
const byEarlier = (events: EventJson[]) => volumes(events).filter((each) => each.reason.includes('earlier sessions'))

const baselines = (...args: string[]) => execa(SLUICE_BIN, ['baselines', ...args], { reject: false })

/** Its lines so far. */
function soFar(record: string): EventJson[] {
  try {
    return readRecord(record)
  } catch {
    return []
  }
}

describe.skipIf(skip)(`an agent that was seen before ${reason}`, () => {
  async function killEngine(agent: TestAgent): Promise<void> {
    const before = agent.pids().engine
    process.kill(before, 'SIGKILL')
    await until('another engine is there', () => agent.pids().engine !== before && isAlive(agent.pids().engine))
  }

  test('is told when it is unlike itself, by an engine that never saw it', async () => {
    const agent = await startTestAgent()
    try {
      await withTempDir(async (dir) => {
        const [policy, go] = [join(dir, 'policy.yaml'), join(dir, 'go')]
        writeFileSync(policy, POLICY)
        writeFileSync(go, '')
        const options = (name: string) => ['--socket', agent.socket, '--policy', policy, '--agent', name]
        const run = (name: string, script: string) => sluiceRun(['bash', '-c', script], { options: options(name) })
        const calm = await Promise.all([1, 2, 3].map(() => run('builder', CALM)))
        expect(calm.map(({ exitCode, events }) => [exitCode, volumes(events)])).toEqual(Array(3).fill([0, []]))
        await killEngine(agent)

        const unknown = await run('stranger', busy(go, 100))
        expect(byEarlier(unknown.events)).toEqual([])

        const unlike = startSluice(['bash', '-c', busy(go, 20_000)], { dir, options: options('builder') })
        await until('it is told', () => byEarlier(soFar(unlike.record)).length > 0)
        rmSync(go)
        await unlike.result
        const [told] = byEarlier(readRecord(unlike.record))
        expect(told).toMatchObject({
          severity: 'MEDIUM',
          reason: expect.stringContaining('tool-call volume: observed'),
        })
        expect(told?.reason).toContain('from 3 earlier sessions), window 0.5 s')
        expect(told?.measured).toBeGreaterThan(Number(told?.baseline) + 5)

        const file = join(agent.dir, 'run/state/baselines/baselines.db')
        expect(statSync(file).mode & 0o777).toBe(0o600)
        const known = readBaselines(file).history('builder')
        expect(known?.sessions).toBe(3)
        expect(known?.usual(WINDOW_MS).calls).toMatchObject({ windows: expect.any(Number), mean: expect.any(Number) })

        const replay = (...args: string[]) => execa(SLUICE_BIN, ['replay', '--policy', policy, ...args, unlike.record])
        const again = (text: string) => text.split('\n').map((line) => JSON.parse(line) as EventJson)
        const { stdout: alone } = await replay()
        expect(byEarlier(again(alone))).toEqual([])
        const { stdout: measured } = await replay('--baselines', file)
        expect(byEarlier(again(measured))[0]).toEqual(told)
        expect(existsSync(`${file}.bad`)).toBe(false)

        const asked = (...args: string[]) => baselines('--socket', agent.socket, ...args)
        expect((await asked('ls')).stdout).toMatch(
          /^AGENT +OWNER .*\nbuilder +\S+ +3 +\S+Z +\d+ +[1-9]\d* +\d+ +\d+\nstranger +\S+ +1 /,
        )
        expect((await asked('forget', 'stranger')).stdout).toMatch(/^stranger of \S+: forgotten; sessions: 1$/)
        expect((await asked('forget', 'stranger')).stderr).toContain("nothing is kept of the agent 'stranger'")
        process.kill(agent.child.pid ?? 0, 'SIGTERM')
        await agent.exited

        // Nobody answers any more: the file itself, as the user whose it is.
        const config = join(dir, 'config.yaml')
        writeFileSync(config, `agent: {stateDir: ${join(agent.dir, 'run/state')}, runtimeDir: ${dir}}\n`)
        const inFile = (...args: string[]) => baselines('--config', config, ...args)
        const left = await inFile('ls', '-o', 'json')
        expect(left.stdout.split('\n').map((line) => JSON.parse(line))).toMatchObject([
          { agent: 'builder', ownerUid: process.getuid?.(), sessions: 3, binaries: expect.any(Number) },
        ])
        expect((await inFile('forget', 'builder', '--owner', '4294967294')).exitCode).not.toBe(0)
        expect((await inFile('forget', 'builder')).stdout).toContain('forgotten; sessions: 3')
        expect((await inFile('ls')).stdout).toMatch(/^AGENT[^\n]*$/)
        expect(readBaselines(file).history('builder')).toBeNull()
      })
    } finally {
      await agent.stop()
    }
  })
})
