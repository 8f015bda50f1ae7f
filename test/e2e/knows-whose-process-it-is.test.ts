/** A record holds what the sandbox's processes did, all of them however they came to be, and nobody else's. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { compileC } from '../support/c-program.js'
import { cgroupMount } from '../support/cgroup-folder.js'
import { execs, exits, expectComplete, hasExecWith, opens, tcpConnects } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { startSluice } from '../support/sluice-process.js'
import { readRecord, sluiceRun, tempDirForAll, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const NOT_ALLOWED = 77
const outside = promisify(execFile)

/** Follows `parentExecId` from an exec to the run's first, by execIds that the record has. */
function chainOf(events: EventJson[], start: string): string[] {
  const parents = new Map(events.flatMap(({ process }) => (process ? [[process.execId, process.parentExecId]] : [])))
  const chain = [start]
  for (let at = parents.get(start); at !== undefined && at !== ''; at = parents.get(at)) {
    if (chain.includes(at)) throw new Error(`${at} is its own parent`)
    chain.push(at)
  }
  return chain
}

describe.skipIf(skip)(`a record ${reason}`, () => {
  const dir = tempDirForAll()
  let identity = ''

  beforeAll(() => {
    identity = compileC('identity', dir())
  })

  test.each([
    { how: 'fork' },
    { how: 'daemon' },
    { how: 'thread-exec' },
    { how: 'thread-fork' },
    { how: 'thread-race' },
    { how: 'leader-gone' },
    { how: 'vfork' },
    { how: 'spawn' },
    { how: 'pid-namespace' },
    { how: 'leave', to: cgroupMount() ?? '' },
    { how: 'into', to: cgroupMount() ?? '' },
  ])('has a process that came to be by $how', async ({ how, to }) => {
    const run = await sluiceRun([identity, how, 'the-mark', ...(to === undefined ? [] : [to])])
    if (run.exitCode === NOT_ALLOWED && how === 'pid-namespace') return
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    const [first] = execs(run.events)
    const marked = execs(run.events).filter((event) => event.process.args[1] === 'the-mark')
    expect(marked.length).toBe(1)
    const [found] = marked
    expect(found?.process).toMatchObject({ exe: '/usr/bin/true', args: ['true', 'the-mark'] })
    const chain = chainOf(run.events, found?.process.execId ?? '')
    if (how === 'thread-exec' || how === 'thread-race') expect(found?.process.pid).toBe(first?.process.pid)
    else expect(chain.at(-1)).toBe(first?.process.execId)
    expect(opens(run.events).some((event) => event.process.execId === found?.process.execId)).toBe(true)
    const ended = exits(run.events).filter((event) => event.process.execId === found?.process.execId)
    expect(ended.map((event) => event.exit)).toMatchObject([{ code: 0, signal: 0 }])
  })

  test('has nothing of a stranger that does the same at the same time', async () => {
    await withTempDir(async (dir) => {
      const [mine, foreign] = [join(dir, 'mine'), join(dir, 'foreign')]
      for (const file of [mine, foreign]) writeFileSync(file, '')
      const same = (file: string, port: number) =>
        `for i in 1 2 3 4 5; do cat ${file}; (exec 3<>/dev/tcp/127.0.0.1/${port}) 2>/dev/null; sleep 0.1; done; true`
      const run = startSluice(['bash', '-c', same(mine, 7)], { dir })
      await run.running()
      await outside('bash', ['-c', same(foreign, 9)])
      expect((await run.result).exitCode).toBe(0)
      const events = readRecord(run.record)
      expectComplete(events)
      expect(execs(events).filter((event) => event.process.args.includes(mine)).length).toBe(5)
      expect(tcpConnects(events).map((event) => event.connect.port)).toEqual([7, 7, 7, 7, 7])
      expect(JSON.stringify(events)).not.toContain(foreign)
    })
  })

  test('has what is put into the sandbox from outside, from its next exec on', async () => {
    await withTempDir(async (dir) => {
      const stranger = spawn('sh', ['-c', 'read go; /bin/true before; read go; /bin/true after'], { stdio: 'pipe' })
      const run = startSluice(['sh', '-c', 'echo ready; sleep 1'], { dir })
      const { command } = await run.running()
      const exited = once(stranger, 'exit')
      stranger.stdin.write('go\n')
      await outside('sleep', ['0.2'])
      const cgroup = join(
        cgroupMount() ?? '',
        (await outside('sed', ['s/^0:://;t;d', `/proc/${command}/cgroup`])).stdout.trim(),
      )
      writeFileSync(join(cgroup, 'cgroup.procs'), String(stranger.pid))
      stranger.stdin.end('go\n')
      await exited
      await run.result
      const events = readRecord(run.record)
      expect(hasExecWith(events, 'after')).toBe(true)
      expect(hasExecWith(events, 'before')).toBe(false)
    })
  })

  test('tells every process apart, in the order of time', async () => {
    const script = 'for i in 1 2 3; do sh -c "cat /etc/hostname; (exec /bin/true x) & wait"; done'
    const run = await sluiceRun(['sh', '-c', script])
    expectComplete(run.events)
    const all = execs(run.events)
    expect(new Set(all.map((event) => event.process.execId)).size).toBe(all.length)
    expect(new Set(run.events.map((event) => event.uid)).size).toBe(run.events.length)
    const [first] = all
    expect(first?.process.parentExecId).toBe('')
    for (const event of all) {
      const { execId, startTime } = event.process
      expect(chainOf(run.events, execId).at(-1)).toBe(first?.process.execId)
      expect(startTime <= event.time).toBe(true)
    }
    const times = run.events.map((event) => event.time)
    expect(times).toEqual([...times].sort())
    const inner = all.filter((event) => event.process.args[0] === '/bin/true')
    const shells = all.filter((event) => event.process.args[0] === 'sh').slice(1)
    expect(inner.map((event) => event.process.ppid)).toEqual(shells.map((event) => event.process.pid))
    expect(inner.map((event) => event.process.parentExecId)).toEqual(shells.map((event) => event.process.execId))
  })

  test('has one exec and one exit for each program, with the time it took', async () => {
    const run = await sluiceRun(['sh', '-c', 'sleep 0.3; sh -c "exit 7"; sh -c "kill -TERM \\$\\$"; true'])
    const ended = (word: string) => exits(run.events).filter((event) => event.process.args.join(' ').includes(word))
    const slept = ended('sleep 0.3').find((event) => event.process.exe.endsWith('/sleep'))
    expect(Number(slept?.exit.runtimeMs)).toBeGreaterThanOrEqual(300)
    expect(ended('exit 7').filter((event) => event.process.args[2] === 'exit 7')).toMatchObject([{ exit: { code: 7 } }])
    expect(ended('kill').filter((event) => event.process.args[2]?.startsWith('kill'))).toMatchObject([
      { exit: { code: 0, signal: 15 } },
    ])
  })
})
