/** The quick look at a kernel: every program of the plan by itself, then the whole stack once. What it watches is another job's. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { release } from 'node:os'
import { runChecks, sluice } from './checks.mjs'

const PROBE = 'dist/sensor/probe-main.js'
const [MAJOR, MINOR] = release().split('.').map(Number)
const HAS_UNIX_HOOKS = MAJOR > 6 || (MAJOR === 6 && MINOR >= 7)
const NO_UNIX_HOOKS =
  'unix: Unix sockets have no verdict, as this kernel has no cgroup/connect_unix and cgroup/sendmsg_unix'

runChecks({
  'every program loads and attaches'() {
    const { stdout, stderr } = spawnSync(process.execPath, [PROBE], { encoding: 'utf8' })
    const { programs, degraded, error } = JSON.parse(stdout || '{ "programs": [] }')
    assert.equal(error, null, error ?? stderr)
    for (const { name, verifiedInstructions, attached } of programs) {
      console.log(`     ${attached ? 'attaches' : 'FAILS   '} ${name}, ${verifiedInstructions} instructions verified`)
    }
    const refused = programs.filter((program) => !program.attached)
    assert.equal(refused.length, 0, refused.map((program) => `${program.name}: ${program.error}`).join('\n\n'))
    assert.notEqual(programs.length, 0)
    assert.deepEqual(degraded, HAS_UNIX_HOOKS ? [] : [NO_UNIX_HOOKS], 'programs that are optional load here too')
  },

  'they load together, and a command runs watched'() {
    const { status, said } = sluice(['run', '--quiet', '--', 'sh', '-c', 'exit 7'])
    assert.deepEqual([status, said], [7, ''])
  },
})
