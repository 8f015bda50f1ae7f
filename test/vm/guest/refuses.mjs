/** A kernel below the floor: `doctor` and `run` say so in a line, with the right exit code, and nothing is begun. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { outDir, runChecks, sluice } from './checks.mjs'

const TOO_OLD = `Linux ${release()} is too old: 5.15 or newer is needed`

runChecks({
  'run says that the kernel is too old, and runs nothing'() {
    const made = join(outDir, 'made')
    const { status, said } = sluice(['run', '--', 'touch', made])
    assert.equal(said, `sluice: ${TOO_OLD}; boot a newer kernel\n`)
    assert.equal(status, 125)
    assert.equal(existsSync(made), false)
    assert.equal(existsSync('/run/sluice'), false)
  },

  'doctor says that the kernel is too old, and tries no program'() {
    const { status, stdout, said } = sluice(['doctor', '--json'])
    assert.equal(status, 1, said)
    const { ok, checks } = JSON.parse(stdout)
    assert.equal(ok, false)
    const bad = checks.filter((check) => check.state === 'fail')
    assert.deepEqual(
      bad.map(({ name, found }) => [name, found]),
      [['kernel', TOO_OLD]],
    )
    assert.equal(checks.find((check) => check.name === 'programs').found, 'not tried: the kernel is too old')
  },
})
