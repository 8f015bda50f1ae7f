/** lockdown=confidentiality: `doctor` and `run` say what is forbidden and how to allow it, and nothing is run unwatched. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { outDir, runChecks, sluice } from './checks.mjs'

const FIX = 'boot without lockdown=confidentiality (integrity is fine)'

runChecks({
  'run says what forbids it, and runs nothing'() {
    const made = join(outDir, 'made')
    const { status, said } = sluice(['run', '--', 'touch', made])
    const why = 'lockdown=confidentiality forbids them to read kernel memory'
    assert.equal(said, `sluice: the kernel refused our programs: ${why}; ${FIX}\n`)
    assert.equal(status, 125)
    assert.equal(existsSync(made), false)
  },

  'doctor names the mode, each hook that does not load, and what is lost'() {
    const { status, stdout, said } = sluice(['doctor', '--json'])
    assert.equal(status, 1, said)
    const { checks } = JSON.parse(stdout)
    const lockdown = checks.find((check) => check.name === 'lockdown')
    assert.deepEqual([lockdown.state, lockdown.found, lockdown.fix], ['fail', 'confidentiality', FIX])
    const hook = checks.find((check) => check.name === 'tp_btf/sched_process_exec')
    assert.deepEqual([hook.state, hook.fix], ['fail', 'see lockdown'])
    assert.match(hook.lost, /programs that are run/)
  },
})
