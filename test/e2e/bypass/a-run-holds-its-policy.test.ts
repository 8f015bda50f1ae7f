/** `sluice run --policy`: the command starts under the policy or not at all, and its record says what came of each try. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ConnectJson, EventJson } from '../../../src/proto/event-json.js'
import { compileC } from '../../support/c-program.js'
import { privileged } from '../../support/privileged.js'
import { sluiceRun, tempDirForAll } from '../../support/sluice-run.js'
import { ALLOWED, DENIED, openTestNetwork, PORT, type TestNetwork } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const EPERM = 1
const OWN_FAILURE = 125
const FAILED_ON = 3

const POLICY = `version: 1
name: one-neighbour
mode: enforce
egress:
  - cidr: ${ALLOWED.v4}/32
    ports: [${PORT}]
  - deny: {cidr: ${DENIED.v4}/32}
    reason: this neighbour is not to be talked to
`

describe.skipIf(skip)(`a run with a policy ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let reach = ''

  beforeAll(async () => {
    reach = compileC('reach', dir())
    network = await openTestNetwork()
  }, 60_000)

  afterAll(() => network?.close(), 60_000)

  function policyFile(text: string): string {
    const file = join(dir(), 'policy.yaml')
    writeFileSync(file, text)
    return file
  }

  /** One try at each neighbour. */
  function tries(token: string): string[] {
    const one = (address: string) => ['tcp', address, String(PORT), token]
    return [reach, ...one(ALLOWED.v4), ...one(DENIED.v4)]
  }

  const connects = (events: readonly EventJson[]): ConnectJson[] =>
    events.flatMap((event) => ('connect' in event && event.connect.via === 'CONNECT' ? [event.connect] : []))

  it('reaches what it allows and nothing else, and says by which rule', async () => {
    const { exitCode, stdout, events } = await sluiceRun(tries('run-enforced'), {
      ...{ options: ['--policy', policyFile(POLICY)], through: ['nsenter', `--net=${network.inside}`] },
    })
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `tcp ${ALLOWED.v4} 0\ntcp ${DENIED.v4} ${EPERM}` })
    expect(await network.arrives(ALLOWED.v4, 'run-enforced')).toBe(true)
    expect(network.hasArrived(DENIED.v4, 'run-enforced')).toBe(false)
    const policy = 'one-neighbour'
    expect(connects(events).filter(({ address }) => address === ALLOWED.v4)).toMatchObject([
      { errno: 0, verdict: { decision: 'ALLOW', rule: 'egress[0]', policy } },
    ])
    expect(connects(events).filter(({ address }) => address === DENIED.v4)).toMatchObject([
      {
        errno: EPERM,
        verdict: {
          ...{ decision: 'DENY', rule: 'egress[1]', policy, enforcedBy: 'cgroup/connect' },
          reason: 'this neighbour is not to be talked to',
        },
      },
    ])
    expect(events[0]).toMatchObject({ sandboxStarted: { policyName: policy, mode: 'enforce' } })
  }, 60_000)

  it('refuses nothing with --mode monitor, says what it would have, and --fail-on deny counts that', async () => {
    const { exitCode, events } = await sluiceRun(tries('run-monitored'), {
      options: ['--policy', policyFile(POLICY), '--mode', 'monitor', '--fail-on', 'deny'],
      through: ['nsenter', `--net=${network.inside}`],
    })
    expect(exitCode).toBe(FAILED_ON)
    for (const { v4 } of [ALLOWED, DENIED]) expect(await network.arrives(v4, 'run-monitored')).toBe(true)
    expect(connects(events).find(({ address }) => address === DENIED.v4)).toMatchObject({
      ...{ errno: 0, verdict: { decision: 'WOULD_DENY', rule: 'egress[1]', enforcedBy: 'none' } },
    })
    expect(events[0]).toMatchObject({ sandboxStarted: { mode: 'monitor' } })
  }, 60_000)

  it.each([['that can not be read', 'mode: enforce\n', /can't be used/]])(
    'starts nothing under a policy %s',
    async (_, text, why) => {
      const file = policyFile(text)
      const command = ['sh', '-c', 'echo started']
      const run = await sluiceRun(command, { options: ['--policy', file] }).catch((error: unknown) => String(error))
      // The record was never begun.
      expect(run).toMatch(/ENOENT/)
      const { execa } = await import('execa')
      const { SLUICE_BIN } = await import('../../support/sluice-run.js')
      const told = await execa(SLUICE_BIN, ['run', '--policy', file, '--', ...command], { reject: false })
      expect(told).toMatchObject({ exitCode: OWN_FAILURE, stdout: '' })
      expect(told.stderr).toMatch(why)
    },
    60_000,
  )
})
