/** Enforce mode begins only where Unix sockets are judged, covered, or meant to be open. */
import { expect, it } from 'vitest'
import { brokerProblem } from '../../../src/engine/broker-reach.js'
import { Mode } from '../../../src/proto/codec.js'

const MISSING = ['unix: Unix sockets have no verdict, as this kernel has no cgroup/connect_unix']
const policy = { mode: Mode.MODE_ENFORCE }

it('refuses a run by name where the kernel has no hook and nobody covers the sockets', () => {
  const problem = brokerProblem({ policy, callerUid: 1000, degraded: MISSING })
  expect(problem).toMatch(/^local\.unix: this kernel has no hook .*allow_brokers: true/)
})

it.each([
  ['the kernel has the hook', { policy, callerUid: 1000, degraded: ['io_uring: goes unseen'] }],
  ['root runs it', { policy, callerUid: 0, degraded: MISSING }],
  ['the policy means it', { policy: { ...policy, allowBrokers: true }, callerUid: 1000, degraded: MISSING }],
  ['it only monitors', { policy: { mode: Mode.MODE_MONITOR }, callerUid: 1000, degraded: MISSING }],
  ['there is no policy', { policy: null, callerUid: 1000, degraded: MISSING }],
])('lets it begin where %s', (_, options) => {
  expect(brokerProblem(options)).toBeNull()
})
