/** A kernel whose active security modules lack `bpf`: all that there is works, and `doctor` says what will not. */
import assert from 'node:assert/strict'
import { runChecks, sluice } from './checks.mjs'

runChecks({
  'doctor says that the BPF LSM is not active, and that nothing is lost by it yet'() {
    const { status, stdout, said } = sluice(['doctor', '--json'])
    assert.equal(status, 0, said)
    const checks = new Map(JSON.parse(stdout).checks.map((check) => [check.name, check]))
    assert.equal(checks.get('lsm').found.split(', ').includes('bpf'), false)
    assert.equal(checks.get('bpf lsm').state, 'note')
    assert.match(checks.get('bpf lsm').found, /^not active/)
    assert.equal(checks.get('programs').state, 'ok')
  },

  'a command runs watched'() {
    const { status, said } = sluice(['run', '--quiet', '--', 'sh', '-c', 'exit 7'])
    assert.deepEqual([status, said], [7, ''])
  },
})
