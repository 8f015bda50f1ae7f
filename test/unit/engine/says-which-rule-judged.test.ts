/** What the kernel says of a verdict by numbers, in words: of the policy that it was made by, or of none. */
import { describe, expect, it } from 'vitest'
import {
  GENERATION_HELD,
  VERDICT_ALLOW,
  VERDICT_DENY,
  VERDICT_WOULD_DENY,
  VIA_CONNECT,
  VIA_PACKET,
  VIA_SOCKET,
  WHY_HELD,
  WHY_PROGRAM,
  WHY_PROTOCOL,
} from '../../../src/engine/kernel-facts.js'
import { PolicyVerdicts } from '../../../src/engine/policy-verdicts.js'
import {
  Decision,
  DnsMode,
  HostForm,
  type ICompiledPolicy,
  type IConnectFacts,
  type IJudgedFacts,
  Mode,
  Protocol,
} from '../../../src/proto/codec.js'

const SANDBOX = 7n
const EPERM = 1
const WHY_RULE = 1
const WHY_DEFAULT = 3
const first: ICompiledPolicy = {
  name: 'first',
  rules: [{ path: 'default' }, { path: 'egress[0]', policy: 'first', reason: 'paste sites are blocked' }],
}
const second: ICompiledPolicy = {
  name: 'second',
  rules: [{ path: 'default' }, { path: 'egress[9]', policy: 'second' }],
}

function verdicts(): PolicyVerdicts {
  const known = new PolicyVerdicts()
  known.expect(SANDBOX, first)
  known.applied(SANDBOX, 1)
  return known
}

const facts = (judged: IJudgedFacts | null, more: IConnectFacts = {}): IConnectFacts => ({
  ...{ via: VIA_CONNECT, error: EPERM, judged },
  ...more,
})

describe('a verdict', () => {
  it('names the rule, the policy, the reason and the hook', () => {
    expect(verdicts().of(SANDBOX, facts({ verdict: VERDICT_DENY, why: WHY_RULE, rule: 1, generation: 1 }))).toEqual({
      decision: Decision.DECISION_DENY,
      ...{ rule: 'egress[0]', policy: 'first', reason: 'paste sites are blocked', enforcedBy: 'cgroup/connect' },
    })
  })

  it('on what has just been found says so, and is no policy’s', () => {
    const known = verdicts()
    known.expect(SANDBOX, second)
    const judged = { verdict: VERDICT_DENY, why: WHY_HELD, rule: 0, generation: GENERATION_HELD }
    expect(known.of(SANDBOX, facts(judged))).toEqual({
      decision: Decision.DECISION_DENY,
      ...{ rule: 'default', policy: '', reason: expect.stringMatching(/its policy is not there yet/) },
      enforcedBy: 'cgroup/connect',
    })
  })

  it('of no rule is the default, and of monitor mode enforced by nobody', () => {
    const judged = { verdict: VERDICT_WOULD_DENY, why: WHY_DEFAULT, rule: 0, generation: 1 }
    expect(verdicts().of(SANDBOX, facts(judged, { error: 0 }))).toEqual({
      decision: Decision.DECISION_WOULD_DENY,
      ...{ rule: 'default', policy: 'first', reason: 'no rule allows it', enforcedBy: 'none' },
    })
  })

  it('is explained by the policy of its generation, and by a new one from when that is sent', () => {
    const known = verdicts()
    const allowed = (generation: number) =>
      known.of(SANDBOX, facts({ verdict: VERDICT_ALLOW, why: WHY_RULE, rule: 1, generation })).rule
    known.expect(SANDBOX, second)
    expect([allowed(1), allowed(2)]).toEqual(['egress[0]', 'egress[9]'])
    known.applied(SANDBOX, 2)
    expect([allowed(1), allowed(2), allowed(3)]).toEqual(['egress[0]', 'egress[9]', '#1'])
  })

  it.each([
    [{ via: VIA_SOCKET, error: EPERM }, 'cgroup/sock_create'],
    [{ via: VIA_SOCKET, error: 0 }, 'killed'],
    [{ via: VIA_PACKET }, 'cgroup_skb/egress'],
  ])('of %j says what enforced it: %s', (more, enforcedBy) => {
    const judged = { verdict: VERDICT_DENY, why: WHY_PROTOCOL, rule: 0, generation: 1 }
    expect(verdicts().of(SANDBOX, facts(judged, more))).toMatchObject({ rule: 'default', enforcedBy })
  })

  it('of a rule for other programs names these, and of a rule for names goes by the program too', () => {
    const known = new PolicyVerdicts()
    const binaries = [{ path: '/usr/bin/git' }, { sha256: Buffer.alloc(32, 0xab) }]
    const range = { protocol: Protocol.PROTOCOL_TCP, first: 443, last: 443 }
    const host = { form: HostForm.HOST_FORM_EXACT, base: 'a.com' }
    known.expect(SANDBOX, {
      ...{ ...first, mode: Mode.MODE_MONITOR, dns: DnsMode.DNS_MODE_OBSERVE },
      nets: [{ ports: [{ range, rule: 1, binaries }] }],
      hosts: [{ rule: 1, host, ports: [range], binaries }],
    })
    known.applied(SANDBOX, 1)
    const judged = { verdict: VERDICT_WOULD_DENY, why: WHY_PROGRAM, rule: 1, generation: 1 }
    const addr = Buffer.from('00000000000000000000ffff5db8d822', 'hex')
    const of = (names: string[], exe: string) =>
      known.of(SANDBOX, facts(judged, { error: 0, addr, port: 443, protocol: 6 }), { names, exe })
    expect(of([], '/usr/bin/git')).toMatchObject({
      ...{ rule: 'egress[0]', decision: Decision.DECISION_WOULD_DENY },
      reason: `the rule is for /usr/bin/git, sha256:${'ab'.repeat(32)} only, and this is another program or one that is not known`,
    })
    expect(of(['a.com'], '/usr/bin/git').decision).toBe(Decision.DECISION_ALLOW)
    expect(of(['a.com'], '/usr/bin/curl').decision).toBe(Decision.DECISION_WOULD_DENY)
  })

  it('of a sandbox without a policy, or that is forgotten, names none', () => {
    const known = verdicts()
    expect(known.of(8n, facts(null))).toMatchObject({ decision: Decision.DECISION_ALLOW, rule: 'none', policy: '' })
    known.forget(SANDBOX)
    const judged = { verdict: VERDICT_DENY, why: WHY_RULE, rule: 1, generation: 1 }
    expect(known.of(SANDBOX, facts(judged))).toMatchObject({ rule: '#1', policy: '' })
  })
})
