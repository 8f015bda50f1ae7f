/** A role that is kept running: started again, later each time, and never once it is to stop. */
import { describe, expect, it } from 'vitest'
import { createLog } from '../../../src/base/log.js'
import { BACKOFF_MAX_MS, BACKOFF_MIN_MS, backoffMs, KeptRole } from '../../../src/supervise/kept-role.js'
import type { Role } from '../../../src/supervise/role.js'
import { until } from '../../support/sluice-process.js'

const log = createLog({ role: 'test', level: 'silent' })

/** A role as a process would be: it ends when it is stopped, or when the test says so. */
function roleOf(pid: number): Role & { die(): void } {
  let end: (exit: Awaited<Role['exited']>) => void = () => {}
  const exited = new Promise<Awaited<Role['exited']>>((resolve) => {
    end = resolve
  })
  return {
    ...{ name: 'engine', pid, exited, alive: () => true, tell() {} },
    die: () => end({ expected: false, detail: 'killed by SIGKILL', exitCode: null }),
    kill: () => end({ expected: false, detail: 'killed by SIGKILL', exitCode: null }),
    stop: async () => end({ expected: true, detail: 'exit code 0', exitCode: 0 }),
  }
}

function scene(failing: (attempt: number) => boolean = () => false) {
  const started: (Role & { die(): void })[] = []
  let attempts = 0
  const kept = new KeptRole({
    name: 'engine',
    log,
    async start() {
      attempts += 1
      if (failing(attempts)) throw new Error('it does not start')
      const role = roleOf(attempts)
      started.push(role)
      return role
    },
  })
  return { kept, started, attempts: () => attempts }
}

describe('a kept role', () => {
  it('is started again when it dies, after a wait', async () => {
    const { kept, started } = scene()
    await kept.start()
    const began = performance.now()
    started[0]?.die()
    await until('it is back', () => kept.pid === 2)
    expect(performance.now() - began).toBeGreaterThanOrEqual(BACKOFF_MIN_MS - 5)
    await kept.stop()
    expect(kept.pid).toBeNull()
  })

  it('is started anew where it is asked for, and only where it runs', async () => {
    const { kept, attempts } = scene()
    kept.renew('nobody runs yet')
    await kept.start()
    kept.renew('a test')
    await until('it is another', () => kept.pid === 2)
    await kept.stop()
    kept.renew('it is gone')
    expect(attempts()).toBe(2)
  })

  it('that does not start the first time is an error, later it is tried again', async () => {
    await expect(scene(() => true).kept.start()).rejects.toThrow('it does not start')
    const { kept, started, attempts } = scene((attempt) => attempt === 2)
    await kept.start()
    started[0]?.die()
    await until('it is back', () => kept.pid === 3)
    expect(attempts()).toBe(3)
    await kept.stop()
  })

  it('is not started once it is to stop, not even in the middle of a wait', async () => {
    const { kept, started, attempts } = scene()
    await kept.start()
    started[0]?.die()
    await until('it is gone', () => kept.pid === null)
    await kept.stop()
    await new Promise((resolve) => setTimeout(resolve, 2 * BACKOFF_MIN_MS))
    expect(attempts()).toBe(1)
  })

  it('waits longer each time, up to a bound', () => {
    const waits = Array.from({ length: 40 }, (_, deaths) => backoffMs(deaths))
    expect(waits[0]).toBe(BACKOFF_MIN_MS)
    expect(waits).toEqual([...waits].sort((a, b) => a - b))
    expect(waits.at(-1)).toBe(BACKOFF_MAX_MS)
  })
})
