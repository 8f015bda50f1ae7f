/**
 * After kill -9 of an agent's engine and of its sensor: processes and cgroups that went on meanwhile are known as before, and nothing is left
 * behind when the agent stops. Side by side, each with an agent of its own: most of the time they wait.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { SandboxAction } from '../../src/proto/codec.js'
import { type ControlClient, connectControl } from '../../src/proto/rpc.js'
import { type TestAgent, withAgent } from '../support/agent-process.js'
import { programLookup } from '../support/bpf-programs.js'
import { cgroupMount, freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { execs, opens } from '../support/events.js'
import { KILLED, killedInTheMiddle, killParts, type Part } from '../support/hurt-agent.js'
import { privileged } from '../support/privileged.js'
import { goOn, untilHolds, untilThere } from '../support/shell-loops.js'
import { isAlive, programsOf, startSluice, until } from '../support/sluice-process.js'
import { readRecord } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const CONNECT_DEADLINE_MS = 20_000
const ROUNDS = 60
/** Of them, whatever was lost while nobody read. */
const WRITES_MIN = 50

describe.skipIf(skip)(`after parts of an agent were killed it ${reason}`, () => {
  test.concurrent.each(KILLED.map((parts) => [parts] as const))(
    'knows the programs that went on meanwhile, as one that had been there all the time: %s killed',
    async (parts) => {
      await withAgent(async (agent, dir) => {
        const over = join(dir, 'over')
        const loop = untilHolds(`[ -e ${over} ] && [ $round -ge ${ROUNDS} ]`, ': > /dev/null; sleep 0.05')
        const command = ['sh', '-c', loop, 'told']
        const { events } = await killedInTheMiddle(agent, { dir, command, kills: [parts, parts], over })
        const [first] = execs(events)
        const writes = opens(events).filter(({ fileOpen }) => fileOpen.path === '/dev/null')
        expect(writes.length).toBeGreaterThan(WRITES_MIN)
        for (const { process } of writes) expect(process).toMatchObject({ ...first?.process, tid: process.tid })
        const orphans = execs(events).filter(({ process }) => process.parentExecId === '')
        expect(orphans).toEqual([first])
        // What was said of those that ran is no event.
        expect(events.filter((event) => 'exec' in event && event.exec.adopted)).toEqual([])
      })
    },
  )

  test.concurrent.each(KILLED.map((parts) => [parts] as const))(
    'leaves no process, program, pin or cgroup when it stops, whatever was killed before: %s',
    async (parts) => {
      await withAgent(async (agent, dir) => {
        const programs: number[] = []
        const pids: number[] = []
        const look = () => {
          const { sensor, engine } = agent.pids()
          pids.push(sensor, engine)
          programs.push(...programsOf(sensor))
        }
        look()
        const over = join(dir, 'over')
        const loop = untilThere(over, '/bin/true; sleep 0.1')
        const run = startSluice(['sh', '-c', loop], { dir, options: ['--socket', agent.socket] })
        await until('the record begins', () => existsSync(run.record))
        await killParts(agent, parts)
        look()
        writeFileSync(over, '')
        const { exitCode } = await run.result
        expect(exitCode).toBe(0)
        const cgroup = join(cgroupMount() ?? '', readRecord(run.record)[0]?.sandbox.cgroupPath ?? '/none')
        expect(programs.length).toBeGreaterThan(20)
        agent.child.kill('SIGTERM')
        await agent.exited
        expect(pids.filter(isAlive)).toEqual([])
        expect(readdirSync(join(agent.dir, 'bpf'))).not.toContain('sluice')
        expect(existsSync(cgroup)).toBe(false)
        const exists = programLookup(dir)
        // The kernel takes a detached program away a little later.
        await until('no program is left', () => !programs.some(exists))
      })
    },
  )

  test.concurrent.each(KILLED)(
    'goes on with a cgroup that somebody else made, and ends it when that is removed: %s',
    async (...parts) => {
      await withAgent((agent) => goesOnWithTheirs(agent, parts))
    },
  )
})

async function goesOnWithTheirs(agent: TestAgent, parts: readonly Part[]): Promise<void> {
  const { asked, untilListed } = controlOf(agent)
  const path = freeCgroupPath()
  mkdirSync(path)
  const loop = `echo 0 > "$0/cgroup.procs"; ${goOn('/bin/true; sleep 0.05')}`
  const inside = spawn('sh', ['-c', loop, path], { stdio: 'ignore' })
  const change = (action: SandboxAction) => asked((client) => client.changeSandbox({ sandbox: 'theirs', action }))
  try {
    await asked((client) => client.addSandbox({ cgroupPath: path.slice((cgroupMount() ?? '').length), name: 'theirs' }))
    const first = await untilListed('there are events', ([one]) => (one?.events ?? 0) > 5)
    await killParts(agent, parts)
    const again = await untilListed('it is there again', ([one]) => one !== undefined)
    const { id } = first?.sandbox ?? {}
    expect(again).toMatchObject({ sessionId: first?.sessionId, sandbox: { id, name: 'theirs' }, adopted: true })
    expect(again?.events).toBeGreaterThanOrEqual(5)
    await untilListed('it goes on', ([one]) => (one?.events ?? 0) > (again?.events ?? 0) + 5)
    await change(SandboxAction.SANDBOX_ACTION_FREEZE)
    await killParts(agent, parts)
    await untilListed('it is still frozen', ([one]) => one?.frozen === true)
    await change(SandboxAction.SANDBOX_ACTION_THAW)
    await removeCgroupTree(path)
    await untilListed('it is over', (found) => found.length === 0)
  } finally {
    inside.kill('SIGKILL')
    await removeCgroupTree(path)
  }
}

/** While no sensor is there the engine lets nobody in: the client tries again. */
function controlOf({ socket }: TestAgent) {
  async function asked<T>(ask: (client: ControlClient) => Promise<T>): Promise<T> {
    const client = await connectControl(socket, CONNECT_DEADLINE_MS)
    try {
      return await ask(client)
    } finally {
      client.close()
    }
  }

  async function listed() {
    const { sandboxes = [] } = await asked((client) => client.listSandboxes({}))
    return sandboxes?.map((status) => ({ ...status, events: Number(status.events) })) ?? []
  }

  async function untilListed(what: string, holds: (found: Awaited<ReturnType<typeof listed>>) => boolean) {
    let found: Awaited<ReturnType<typeof listed>> = []
    for (const end = performance.now() + CONNECT_DEADLINE_MS; performance.now() < end; await sleep(50)) {
      found = await listed()
      if (holds(found)) return found[0]
    }
    throw new Error(`in vain waited that ${what}: ${JSON.stringify(found)}`)
  }
  return { asked, untilListed }
}
