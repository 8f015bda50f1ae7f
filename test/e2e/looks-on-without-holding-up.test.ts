/** What an agent watches without being asked each time: cgroups by pattern; and those who look on, who hold up nobody. */
import { spawn } from 'node:child_process'
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { toBigInt } from '../../src/proto/codec.js'
import { connectControl } from '../../src/proto/rpc.js'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { compileC } from '../support/c-program.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { until } from '../support/sluice-process.js'
import { SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const CONNECT_MS = 5_000
/** Several times what waits for one who looks on. */
const STORM_OPENS = 60_000

describe.skipIf(skip)(`an agent ${reason}`, () => {
  const parent = skip ? '/none' : freeCgroupPath()
  const pattern = `/${basename(parent)}/*`
  let agent: TestAgent
  beforeAll(async () => {
    mkdirSync(parent)
    agent = await startTestAgent({ args: ['--watch', pattern] })
  })
  afterAll(async () => {
    await agent?.stop()
    await removeCgroupTree(parent)
  })
  const sandboxes = async (): Promise<Record<string, unknown>[]> => {
    const { stdout } = await execa(SLUICE_BIN, ['sandboxes', 'ls', '-o', 'json', '--socket', agent.socket])
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
  }
  const saw = (msg: string) => agent.log().filter((line) => line.msg === msg).length

  test('finds a cgroup that matches, shows it while it is there, and lets it go with it', async () => {
    const path = join(parent, 'box')
    mkdirSync(path)
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    writeFileSync(join(path, 'cgroup.procs'), String(child.pid))
    await until('it was found', () => saw('sandbox found') === 1)
    expect(await sandboxes()).toMatchObject([{ name: 'box', adopted: true, ownerUid: 0, state: 'running' }])
    child.kill('SIGKILL')
    await until('the cgroup can go', () => {
      try {
        rmdirSync(path)
        return true
      } catch {
        return false
      }
    })
    await until('it is gone', () => saw('the cgroup of a sandbox is gone') === 1)
    expect(await sandboxes()).toEqual([])
  })

  test('lets one who does not read hold up no run, and counts what it missed', async () => {
    const control = await connectControl(agent.socket, CONNECT_MS)
    try {
      const messages = control.watch({})
      const reader = messages.messages[Symbol.asyncIterator]()
      expect((await reader.next()).value?.started).toBeTruthy()
      const total = await withTempDir(async (dir) => {
        const run = await sluiceRun([compileC('storm', dir), 'writes', String(STORM_OPENS)], {
          options: ['--socket', agent.socket],
        })
        expect(run.exitCode).toBe(0)
        expectComplete(run.events)
        return run.events.length
      })
      let shown = 0
      let dropped = 0n
      while (shown + Number(dropped) < total) {
        const { value } = await reader.next()
        shown += value?.events?.length ?? 0
        dropped += toBigInt(value?.dropped?.count)
      }
      expect(shown + Number(dropped)).toBe(total)
      expect(dropped).toBeGreaterThan(0n)
    } finally {
      control.close()
    }
  })
})
