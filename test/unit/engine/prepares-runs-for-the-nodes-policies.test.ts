/** What a launcher is told of the policies that the node has for its run, and that no other is believed when the run starts. */
import { describe, expect, it } from 'vitest'
import { createLog } from '../../../src/base/log.js'
import { NodePolicies } from '../../../src/engine/policy/node-policies.js'
import { PolicyDesk } from '../../../src/engine/policy-desk.js'
import { PolicyKeeper } from '../../../src/engine/policy-keeper.js'
import { PolicyVerdicts } from '../../../src/engine/policy-verdicts.js'
import { planRun } from '../../../src/engine/run-plan.js'
import { SandboxBook } from '../../../src/engine/sandbox-book.js'

const log = createLog({ role: 'test', level: 'silent' })
const CGROUP = '/sluice/build-00000000'
const file = (mode: string, more = '') => ({
  name: `${mode}.yaml`,
  text: `version: 1\nname: ${mode}\nmode: ${mode}\nselect: {labels: {team: a}}\n${more}`,
})
const FOR_PERL = 'egress: [{cidr: 203.0.113.7/32, ports: [7], binary: [/usr/bin/perl]}]\n'
const labels = { team: 'a' }

function prepared(...files: { name: string; text: string }[]) {
  const node = new NodePolicies(files)
  expect(node.problems).toEqual([])
  const names = { serve: async () => {}, drop: () => null }
  const desk = new PolicyDesk({ verdicts: new PolicyVerdicts(), names, log, sensor: () => null, onComplete() {} })
  const keeper = new PolicyKeeper({ node, desk, book: new SandboxBook(), log, nowUnixNs: () => 0n, holdFound() {} })
  return { node, keeper }
}
const run = (planned: string) => ({ labels, policy: null, sources: null, planned })

describe('a run that is prepared', () => {
  it('is told the policy of the node, and what of it concerns its launcher', () => {
    const { keeper } = prepared(file('enforce', `${FOR_PERL}local: {unix: [/run/one.sock]}\n`))
    const plan = planRun(keeper, { name: 'build', labels })
    expect(plan).toMatchObject({
      policy: { name: 'enforce', mode: 'enforce' },
      namesPrograms: true,
      allowBrokers: false,
    })
    expect(plan.unix?.map(({ path }) => Buffer.from(path ?? []).toString())).toEqual(['/run/one.sock'])
    expect(planRun(keeper, { name: 'build', labels: { team: 'b' } })).toEqual({})
    expect(() => planRun(keeper, { name: 'a\nb', labels })).toThrow(/^name: control characters/)
  })

  it('starts under that policy and no other', () => {
    const { node, keeper } = prepared(file('enforce'))
    const hash = planRun(keeper, { name: 'build', labels }).policy?.hash ?? ''
    expect(keeper.forRun(run(hash), CGROUP)).toMatchObject({ ok: true, policy: { digest: hash } })
    // One that asked nobody, as there was none for it then.
    const changed = { ok: false, problem: expect.stringContaining('changed while the run was prepared') }
    expect(keeper.forRun(run(''), CGROUP)).toEqual(changed)
    node.update([file('enforce', FOR_PERL)])
    keeper.changed('a test')
    expect(keeper.forRun(run(hash), CGROUP)).toEqual(changed)
    // Nothing that it was prepared for is needed any more.
    node.update([])
    keeper.changed('a test')
    expect(keeper.forRun(run(hash), CGROUP)).toMatchObject({ ok: true, policy: null })
  })

  it('needs no preparation for what is only looked at', () => {
    const { keeper } = prepared(file('monitor'))
    expect(planRun(keeper, { name: 'build', labels }).policy).toMatchObject({ mode: 'monitor' })
    expect(keeper.forRun(run(''), CGROUP)).toMatchObject({ ok: true, policy: { name: 'monitor' } })
  })
})
