/** What a policy limits besides the network: processes, memory, CPU, time and bytes, held on real commands, and told in their record. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { EventJson, LimitHitJson } from '../../src/proto/event-json.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, tempDirForAll } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const SIGKILL_EXIT = 137

/** Makes threads or processes until it can't, but not more than so many, prints how many they were, and holds them for some seconds. */
const FORKS = `
import os, sys, threading, time
kind, most = sys.argv[1], int(sys.argv[2])
made = 0
wait = threading.Event()
for _ in range(most):
    try:
        if kind == "threads":
            threading.Thread(target=wait.wait, args=(20,), daemon=True).start()
        else:
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
        made += 1
    except (OSError, RuntimeError):
        break
print(made, flush=True)
time.sleep(float(sys.argv[3]))
os._exit(0)
`

const EATS = 'held = []\nfor _ in range(300):\n    held.append(bytearray(b"x" * (1 << 20)))\nprint("all of it")\n'

/** Four processes; each tells its times by one write, which nothing of the others comes between. */
const SPINS = `
import os, time
for _ in range(3):
    if os.fork() == 0:
        break
begin = time.monotonic()
used = time.process_time()
while time.monotonic() < begin + 3:
    pass
os.write(1, f"{time.process_time() - used} {time.monotonic() - begin}\\n".encode())
`

describe.skipIf(skip)(`a run under a policy with limits ${reason}`, () => {
  const dir = tempDirForAll()
  let policies = 0

  async function limited(limits: string, command: string[], mode = 'enforce') {
    policies += 1
    const policy = join(dir(), `policy-${policies}.yaml`)
    const egress = 'local: {listeners: any}'
    writeFileSync(
      policy,
      `version: 1\nname: limited\nmode: ${mode}\n${egress}\nallow_brokers: true\nlimits: ${limits}\n`,
    )
    return sluiceRun(command, { options: ['--policy', policy, '--own'] })
  }

  it.each(['processes', 'threads'])(
    'makes no more %s at once',
    async (kind) => {
      const { stdout, stderr, events } = await limited('{processes: 40}', ['python3', '-c', FORKS, kind, '200', '0'])
      expect(stderr).toBe('')
      expect(Number(stdout)).toBeLessThan(40)
      expect(Number(stdout)).toBeGreaterThan(20)
      expect(hit(events, 'processes')).toMatchObject({ verdict: { decision: 'DENY', rule: 'limits.processes' } })
    },
    60_000,
  )

  it('makes as many as it likes where the policy only looks on, which is told', async () => {
    const { stdout, events } = await limited(
      '{processes: 40}',
      ['python3', '-c', FORKS, 'processes', '100', '3'],
      'monitor',
    )
    expect(Number(stdout)).toBe(100)
    expect(hit(events, 'processes')).toMatchObject({ verdict: { decision: 'WOULD_DENY', rule: 'limits.processes' } })
  }, 60_000)

  it('has no more memory', async () => {
    const { stdout, exitCode, events } = await limited('{memory: 64MiB}', ['python3', '-c', EATS])
    expect(stdout).toBe('')
    expect(exitCode).toBe(SIGKILL_EXIT)
    expect(hit(events, 'memory')).toMatchObject({ refused: expect.stringMatching(/^[1-9]/) })
  }, 60_000)

  it('has no more CPU time', async () => {
    const { stdout, events } = await limited('{cpu: 0.05}', ['python3', '-c', SPINS])
    const spun = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number))
    const used = spun.reduce((sum, [seconds = 0]) => sum + seconds, 0)
    const longest = Math.max(...spun.map(([, seconds = 0]) => seconds))
    expect(used).toBeGreaterThan(0)
    // What was given at the begin of each period, of those that it spun in.
    expect(used).toBeLessThan(0.05 * longest * 1.5 + 0.1)
    expect(hit(events, 'cpu')).toMatchObject({ verdict: { rule: 'limits.cpu' } })
  }, 60_000)

  it('is over when its time is', async () => {
    const begin = performance.now()
    const { exitCode, events } = await limited('{wall_clock: 2s}', ['sh', '-c', 'sleep 60 & sleep 60'])
    expect(exitCode).toBe(SIGKILL_EXIT)
    expect(performance.now() - begin).toBeLessThan(30_000)
    expect(hit(events, 'wall_clock')).toMatchObject({ verdict: { decision: 'DENY', rule: 'limits.wall_clock' } })
  }, 60_000)
})

function hit(events: readonly EventJson[], what: string): LimitHitJson | undefined {
  return events.flatMap((event) => ('limitHit' in event ? [event.limitHit] : [])).find((each) => each.what === what)
}
