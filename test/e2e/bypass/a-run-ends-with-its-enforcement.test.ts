/** A run brings its own sensor, whose programs end with it: a command that nothing holds any more does not go on. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { privileged } from '../../support/privileged.js'
import { untilThere } from '../../support/shell-loops.js'
import { startSluice, until } from '../../support/sluice-process.js'
import { withTempDir } from '../../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const KILLED = 128 + 9
/** The background child writes this much later. */
const LATE_MS = 1_500

/** What came of a run under a policy of this mode whose sensor was killed: its exit code, and whether the command and its child went on. */
async function afterSensorDeath(mode: 'enforce' | 'monitor') {
  return withTempDir(async (dir) => {
    const policy = join(dir, 'policy.yaml')
    writeFileSync(policy, `version: 1\nname: nothing\nmode: ${mode}\n`)
    const script = `(touch begun; ${untilThere('go')}; touch child) & ${untilThere('go')}; touch done`
    const run = startSluice(['sh', '-c', script], { dir, cwd: dir, options: ['--own', '--policy', policy] })
    const { sensor } = await run.running()
    await until('the child runs', () => existsSync(join(dir, 'begun')))
    process.kill(sensor, 'SIGKILL')
    if (mode === 'enforce') await run.result
    writeFileSync(join(dir, 'go'), '')
    const { exitCode, stderr } = await run.result
    await sleep(LATE_MS)
    const left = ['done', 'child'].filter((name) => existsSync(join(dir, name)))
    return { exitCode, stderr, left }
  })
}

describe.skipIf(skip)(`a run whose sensor is killed ${reason}`, () => {
  it('is killed with all its processes where its policy is enforced, and says so', async () => {
    const { exitCode, stderr, left } = await afterSensorDeath('enforce')
    expect({ exitCode, left }).toEqual({ exitCode: KILLED, left: [] })
    expect(stderr).toMatch(
      /the sensor died: killed by SIGKILL; the command was killed, as nothing holds its policy any more/,
    )
  }, 60_000)

  it('goes on where its policy is only monitored', async () => {
    const { exitCode, stderr, left } = await afterSensorDeath('monitor')
    expect({ exitCode, left }).toEqual({ exitCode: 0, left: ['done', 'child'] })
    expect(stderr).not.toMatch(/was killed, as/)
  }, 60_000)
})
