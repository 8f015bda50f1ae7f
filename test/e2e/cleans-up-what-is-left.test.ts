/** `sluice doctor --clean`: what dead parts left goes, of every version; what a live part holds, and what is not ours, stays. */
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { loadAddon } from '../../src/native/addon.js'
import { pinSchema } from '../../src/sensor/pin-folder.js'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { mountOwnBpfFs } from '../support/bpf-fs.js'
import { cgroupMount, freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { privileged } from '../support/privileged.js'
import { untilThere } from '../support/shell-loops.js'
import { cgroupOf, isAlive, startSluice, until } from '../support/sluice-process.js'
import { readRecord, SLUICE_BIN, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const OLD = new Date(Date.now() - 600_000)

interface Cleaned {
  ok: boolean
  steps: { what: string; outcome: string; detail: string }[]
}

/** Only what concerns `dir` or `also`: others on the machine are no business of a test. */
async function clean(config: string, places: readonly string[]): Promise<{ exitCode: number | undefined } & Cleaned> {
  const result = await execa(SLUICE_BIN, ['doctor', '--clean', '--json', '--config', config], { reject: false })
  expect(result.stderr).toBe('')
  const { ok, steps } = JSON.parse(result.stdout) as Cleaned
  const ours = steps.filter(({ what }) => places.some((place) => what === place || what.startsWith(`${place}/`)))
  return { exitCode: result.exitCode, ok, steps: ours }
}

/** Everything of it at once, so that nobody can clean up. */
async function killAgent(agent: TestAgent): Promise<void> {
  const { sensor, engine } = agent.pids()
  const pids = [agent.child.pid ?? 0, sensor, engine]
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  await until('it is gone', () => !pids.some(isAlive))
}

function configIn(dir: string, agent: Record<string, unknown>): string {
  const config = join(dir, 'config.yaml')
  writeFileSync(config, JSON.stringify({ agent }))
  return config
}

describe.skipIf(skip)(`doctor --clean ${reason}`, () => {
  test('removes what a dead agent left, and lets its processes go on where they came from', async () => {
    const agent = await startTestAgent()
    const path = freeCgroupPath()
    mkdirSync(path)
    try {
      await withTempDir(async (dir) => {
        const script = `echo $$ > pid; touch started; ${untilThere('go')}; touch done`
        const run = startSluice(['sh', '-c', script], { dir, cwd: dir, options: ['--socket', agent.socket] })
        await until('it runs', () => existsSync(join(dir, 'started')))
        const command = Number(readFileSync(join(dir, 'pid'), 'utf8'))
        await execa(SLUICE_BIN, ['sandboxes', 'add', path, '--socket', agent.socket])
        const cgroup = join(cgroupMount() ?? '', cgroupOf(command))
        const origin = cgroupOf(process.pid)
        process.kill(run.child.pid ?? 0, 'SIGKILL')
        await killAgent(agent)
        expect(readdirSync(join(agent.dir, 'bpf', 'sluice'))).toHaveLength(1)
        const cleaned = await clean(agent.config, [agent.dir])
        const pins = join(agent.dir, 'bpf', 'sluice', pinSchema(loadAddon()))
        expect(cleaned.steps).toEqual([
          { what: join(agent.dir, 'run', 'agent'), outcome: 'removed', detail: expect.stringContaining('unwatched') },
          { what: pins, outcome: 'removed', detail: expect.stringMatching(/^\d\d+ pins: the programs/) },
        ])
        expect(readdirSync(join(agent.dir, 'bpf'))).not.toContain('sluice')
        expect([existsSync(cgroup), existsSync(path)]).toEqual([false, true])
        expect(isAlive(command)).toBe(true)
        expect(cgroupOf(command)).toBe(origin)
        writeFileSync(join(dir, 'go'), '')
        await until('it has gone on', () => existsSync(join(dir, 'done')))
        expect((await clean(agent.config, [agent.dir])).steps).toEqual([])
      })
    } finally {
      await removeCgroupTree(path)
      await agent.stop()
    }
  })

  test('touches nothing of an agent that lives, not even while its sensor is away', async () => {
    const agent = await startTestAgent()
    try {
      const inUse = [{ what: join(agent.dir, 'run', 'agent.lock'), outcome: 'inUse', detail: 'an agent runs here' }]
      await withTempDir(async (dir) => {
        const script = `touch started; ${untilThere('go')}; /bin/true late`
        const run = startSluice(['sh', '-c', script], { dir, cwd: dir, options: ['--socket', agent.socket] })
        await until('it runs', () => existsSync(join(dir, 'started')))
        expect((await clean(agent.config, [agent.dir])).steps).toEqual(inUse)
        const before = agent.pids().sensor
        process.kill(before, 'SIGKILL')
        expect((await clean(agent.config, [agent.dir])).steps).toEqual(inUse)
        await until('the sensor is back', () => agent.pids().sensor !== before)
        writeFileSync(join(dir, 'go'), '')
        expect((await run.result).exitCode).toBe(0)
        const told = readRecord(run.record).some((event) => 'exec' in event && event.process?.args.includes('late'))
        expect(told).toBe(true)
      })
    } finally {
      await agent.stop()
    }
  })

  test('touches nothing of a run that goes on', async () => {
    await withTempDir(async (dir) => {
      const config = configIn(dir, { runtimeDir: join(dir, 'none'), pinDir: join(dir, 'none') })
      const script = `touch started; ${untilThere('go')}; exit 3`
      const run = startSluice(['sh', '-c', script], { dir, cwd: dir, options: ['--own'] })
      try {
        await until('it runs', () => existsSync(join(dir, 'started')))
        const { command } = await run.running()
        const cgroup = join(cgroupMount() ?? '', cgroupOf(command))
        utimesSync(cgroup, OLD, OLD)
        expect((await clean(config, [cgroup])).steps).toEqual([])
        expect(existsSync(cgroup)).toBe(true)
      } finally {
        writeFileSync(join(dir, 'go'), '')
        expect((await run.result).exitCode).toBe(3)
      }
    })
  })

  test('removes pins of every version, and leaves what is not ours', async () => {
    await withTempDir(async (dir) => {
      const bpfFs = mountOwnBpfFs(dir)
      try {
        const config = configIn(dir, { runtimeDir: join(dir, 'run'), pinDir: bpfFs.pinDir })
        const other = join(bpfFs.pinDir, '0-0123abcd')
        const foreign = join(bpfFs.pinDir, 'cilium')
        mkdirSync(foreign, { recursive: true })
        mkdirSync(other)
        const addon = loadAddon()
        const object = addon.openObject('core')
        object.load()
        object.pinMap('sl_state', join(other, 'sl_state'))
        object.pinMap('sl_state', join(foreign, 'theirs'))
        object.close()
        const cleaned = await clean(config, [dir])
        expect(cleaned.steps).toEqual([{ what: other, outcome: 'removed', detail: expect.stringMatching(/^1 pins/) }])
        expect(readdirSync(bpfFs.pinDir)).toEqual(['cilium'])
        expect(readdirSync(foreign)).toEqual(['theirs'])
      } finally {
        bpfFs.unmount()
      }
    })
  })

  test('never removes anything of a folder that is in no BPF file system', async () => {
    await withTempDir(async (dir) => {
      const theirs = join(dir, 'pins', '0-0123abcd')
      mkdirSync(theirs, { recursive: true })
      writeFileSync(join(theirs, 'link_letter'), 'dear')
      const config = configIn(dir, { runtimeDir: join(dir, 'run'), pinDir: join(dir, 'pins') })
      const cleaned = await clean(config, [dir])
      expect(cleaned).toMatchObject({ exitCode: 1, ok: false })
      expect(cleaned.steps).toEqual([
        { what: join(dir, 'pins'), outcome: 'kept', detail: `${join(dir, 'pins')} is not in a BPF file system` },
      ])
      expect(readFileSync(join(theirs, 'link_letter'), 'utf8')).toBe('dear')
    })
  })

  test('removes cgroups of ours that nobody lists, and says which are in use', async () => {
    await withTempDir(async (dir) => {
      const config = configIn(dir, { runtimeDir: join(dir, 'run'), pinDir: join(dir, 'none') })
      const parent = join(cgroupMount() ?? '', 'sluice')
      const [empty, busy, young] = ['empty', 'busy', 'young'].map((name) => join(parent, `${name}-${process.pid}`))
      if (empty === undefined || busy === undefined || young === undefined) throw new Error('three')
      mkdirSync(join(empty, 'below'), { recursive: true })
      mkdirSync(busy, { recursive: true })
      mkdirSync(young)
      const sleeper = execa('sh', ['-c', 'echo 0 > "$0/cgroup.procs"; exec sleep 60', busy], { reject: false })
      try {
        await until('it is there', () => readFileSync(join(busy, 'cgroup.procs'), 'utf8') !== '')
        for (const path of [empty, busy]) utimesSync(path, OLD, OLD)
        const cleaned = await clean(config, [empty, busy, young])
        const byName = (a: { what: string }, b: { what: string }) => a.what.localeCompare(b.what)
        expect(cleaned.steps.sort(byName)).toEqual([
          { what: busy, outcome: 'kept', detail: expect.stringContaining('(processes: 1)') },
          { what: empty, outcome: 'removed', detail: 'a cgroup that no run lists' },
        ])
        expect(cleaned.exitCode).toBe(1)
        expect([empty, busy, young].map((path) => existsSync(path))).toEqual([false, true, true])
      } finally {
        sleeper.kill('SIGKILL')
        await sleeper
        for (const path of [busy, young]) if (existsSync(path)) await removeCgroupTree(path)
      }
    })
  })

  test('a list of another version is told, and nothing of it is lost', async () => {
    await withTempDir(async (dir) => {
      const agentDir = join(dir, 'run', 'agent')
      mkdirSync(agentDir, { recursive: true })
      writeFileSync(join(agentDir, 'lock'), '')
      writeFileSync(join(agentDir, 'sandboxes.json'), '{"version": 99}')
      const config = configIn(dir, { runtimeDir: join(dir, 'run'), pinDir: join(dir, 'none') })
      const cleaned = await clean(config, [dir])
      expect(cleaned.steps).toEqual([
        { what: agentDir, outcome: 'kept', detail: expect.stringContaining("sandboxes.json can't be understood") },
      ])
      expect(existsSync(join(agentDir, 'sandboxes.json'))).toBe(true)
    })
  })

  test('takes root', async () => {
    const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups', SLUICE_BIN, 'doctor', '--clean']
    const { exitCode, stderr, stdout } = await execa('setpriv', asNobody, { reject: false })
    expect({ exitCode, stderr, stdout }).toEqual({
      exitCode: 1,
      stderr: 'sluice: doctor --clean needs root; run it with sudo',
      stdout: '',
    })
  })
})
