/** Compiled rules say what the rules say: checked against reading them one by one, with ranges and names that meet often. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isIn } from '../../../../src/base/special-addresses.js'
import { holdsAddress, knownRange, rangeText } from '../../../../src/engine/policy/address-range.js'
import { compileRules } from '../../../../src/engine/policy/compile.js'
import { explainRules } from '../../../../src/engine/policy/explain-rules.js'
import {
  type FlatNet,
  flattenNets,
  type NumberedAllow,
  type NumberedDeny,
} from '../../../../src/engine/policy/flatten-nets.js'
import { compileLayers, type PolicyLayers } from '../../../../src/engine/policy/layered.js'
import { compilePolicies } from '../../../../src/engine/policy/load-policy.js'
import { holdsHost, meetHosts } from '../../../../src/engine/policy/meet-hosts.js'
import { layersOf, mergeLayers } from '../../../../src/engine/policy/merge-rules.js'
import { EVERY_PORT, isRange, type PortSpan, type Rules } from '../../../../src/engine/policy/rules.js'
import { CompiledPolicy, encodeBuffer, HostForm, Protocol, ResponseAction } from '../../../../src/proto/codec.js'
import { type HostPattern, matchesHost } from '../../../../src/proto/host-pattern.js'
import { ENFORCE, load, MONITOR, rulesOf } from './policies.js'

const RANGES = ['0.0.0.0/0', '10.0.0.0/8', '10.0.0.0/9', '10.1.0.0/16', '10.1.2.0/24', '10.1.2.3/32', '192.168.0.0/16']
  .concat(['::/0', '::/8', '::/96', '2001:db8::/32', '2001:db8:1::/48', '2001:db8:1::1/128'])
  .map(knownRange)
const ADDRESSES = ['10.1.2.3/32', '10.1.2.4/32', '10.1.9.9/32', '10.200.0.1/32', '192.168.1.1/32', '8.8.8.8/32']
  .concat(['::2/128', '2001:db8::1/128', '2001:db8:1::1/128', '2001:db8:1::2/128', '2a00::1/128'])
  .map((text) => knownRange(text).prefix)
const { PROTOCOL_TCP: TCP, PROTOCOL_UDP: UDP, PROTOCOL_ICMP: ICMP, PROTOCOL_UNSPECIFIED: ANY } = Protocol
const PORTS = [1, 2, 3, 4, 5, 852, 853, 854]

const range = fc.constantFrom(...RANGES)
const span = (protocols: readonly Protocol[]) =>
  fc
    .tuple(fc.constantFrom(...protocols), fc.constantFrom(...PORTS), fc.constantFrom(...PORTS))
    .map(([protocol, a, b]): PortSpan => ({ protocol, first: Math.min(a, b), last: Math.max(a, b) }))
const icmp: PortSpan = { protocol: ICMP, first: 0, last: 0 }
const binaries = fc.constantFrom([], [], ['/bin/a'], ['/bin/a', '/bin/b'])
const allow = fc.record({
  range,
  ports: fc.array(fc.oneof(span([TCP, UDP]), fc.constant(icmp)), { minLength: 1, maxLength: 2 }),
  binaries,
})
const deny = fc.record({ range, ports: fc.array(span([ANY]), { maxLength: 1 }) })

interface Question {
  readonly address: Buffer
  readonly protocol: Protocol
  readonly port: number
}

const QUESTIONS: readonly Question[] = ADDRESSES.flatMap((address) => [
  { address, protocol: ICMP, port: 0 },
  ...[TCP, UDP].flatMap((protocol) => PORTS.map((port) => ({ address, protocol, port }))),
])

const holds = ({ protocol, first, last }: PortSpan, asked: Question) =>
  (protocol === asked.protocol || protocol === ANY) && first <= asked.port && asked.port <= last

/** DNS over TLS is not in a range that only happens to hold it. */
const isDot = ({ first, last }: PortSpan, { port, protocol }: Question) =>
  port === 853 && first !== last && protocol !== ICMP

/** `deny`, `default`, or who may: `*` for everybody. */
function byTheRules(allows: readonly NumberedAllow[], denies: readonly NumberedDeny[], asked: Question): string {
  const denied = denies.some(
    (each) =>
      holdsAddress(each.range, asked.address) &&
      (each.ports.length === 0 ? [EVERY_PORT] : each.ports).some((one) => holds(one, asked)),
  )
  if (denied) return 'deny'
  const open = allows.filter(
    (each) =>
      holdsAddress(each.range, asked.address) && each.ports.some((one) => holds(one, asked) && !isDot(one, asked)),
  )
  if (open.length === 0) return 'default'
  return open.some((each) => each.binaries.length === 0)
    ? '*'
    : [...new Set(open.flatMap((each) => each.binaries))].sort().join()
}

/** As the kernel does it: the longest entry, by bits alone, and the one port range in it. */
function byTheEntries(nets: readonly FlatNet[], asked: Question): string {
  const [best] = nets
    .filter(({ range: each }) => isIn(asked.address, each))
    .sort((a, b) => b.range.length - a.range.length)
  const found = (best?.ports ?? []).filter((each) => holds(each.span, asked))
  expect(found.length).toBeLessThanOrEqual(1)
  const [one] = found
  if (one === undefined) return 'default'
  return one.deny ? 'deny' : one.binaries.length === 0 ? '*' : one.binaries.map(({ text }) => text).join()
}

describe('ranges of addresses', () => {
  it('are judged by the longest match as all rules together would', () => {
    fc.assert(
      fc.property(fc.array(allow, { maxLength: 5 }), fc.array(deny, { maxLength: 3 }), (allows, denies) => {
        const numbered = {
          allows: allows.map((each, index) => ({ ...each, rule: index + 1 })),
          denies: denies.map((each, index) => ({ ...each, rule: index + 10 })),
        }
        let nets: FlatNet[]
        try {
          nets = flattenNets(numbered.allows, numbered.denies, String)
        } catch (error) {
          expect(error).toMatchObject({ code: 'LIMIT' })
          return
        }
        for (const asked of QUESTIONS) {
          const where = `${rangeText({ prefix: asked.address, length: 128 })} ${asked.protocol} ${asked.port}`
          expect(`${where} ${byTheEntries(nets, asked)}`).toBe(
            `${where} ${byTheRules(numbered.allows, numbered.denies, asked)}`,
          )
        }
      }),
      { numRuns: 500 },
    )
  })

  it('of IPv6, however wide, say nothing of IPv4', () => {
    const nets = flattenNets(
      [{ range: knownRange('::/0'), ports: [{ protocol: TCP, first: 443, last: 443 }], binaries: [], rule: 1 }],
      [],
      String,
    )
    expect(nets.map(({ range: each, ports }) => [rangeText(each), ports.length])).toEqual([
      ['::/0', 1],
      ['0.0.0.0/0', 0],
    ])
  })

  it('are in order, and what says nothing new is left out', () => {
    const ports = [{ protocol: TCP, first: 443, last: 443 }]
    const allows = ['10.1.0.0/16', '9.0.0.0/8', '10.0.0.0/8'].map((text, index) => ({
      range: knownRange(text),
      ports,
      binaries: [],
      rule: 3 - index,
    }))
    expect(flattenNets(allows, [], String).map(({ range: each }) => rangeText(each))).toEqual([
      '9.0.0.0/8',
      '10.0.0.0/8',
    ])
  })

  it('by the ten thousand, with hosts and denies, are loaded within the time of a test', () => {
    const hosts = Array.from({ length: 5_000 }, (_, index) => `  - host: h${index}.example${index % 100}.com\n`)
    const nets = Array.from({ length: 20_000 }, (_, index) => `  - cidr: 11.${index >> 8}.${index & 255}.0/24\n`)
    const denies = Array.from({ length: 500 }, (_, index) => `  - deny: {host: "**.bad${index}.com", ports: [80]}\n`)
    const loaded = load(`${ENFORCE}egress:\n${[...hosts, ...nets, ...denies].join('')}`)
    expect(loaded.findings).toEqual([])
    const { policy } = compilePolicies([loaded])
    expect(policy.hosts).toHaveLength(5_000)
    expect(policy.nets?.length).toBeGreaterThan(20_000)
  })
})

const FORMS = [HostForm.HOST_FORM_EXACT, HostForm.HOST_FORM_ONE, HostForm.HOST_FORM_MORE, HostForm.HOST_FORM_ALL]
const hostName = fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'))
const host = fc.record<HostPattern>({ form: fc.constantFrom(...FORMS), base: hostName })
/** Every name of one to five labels of these. */
const NAMES = [1, 2, 3, 4, 5].flatMap((count) =>
  Array.from({ length: 2 ** count }, (_, bits) =>
    Array.from({ length: count }, (_label, at) => ((bits >> at) & 1 ? 'a' : 'b')).join('.'),
  ),
)

describe('two patterns', () => {
  it('meet in just the names that both stand for', () => {
    fc.assert(
      fc.property(host, host, (one, other) => {
        const met = meetHosts(one, other)
        for (const each of NAMES) {
          expect(met !== null && matchesHost(met, each)).toBe(matchesHost(one, each) && matchesHost(other, each))
        }
        const within = NAMES.every((each) => !matchesHost(other, each) || matchesHost(one, each))
        expect(holdsHost(one, other)).toBe(within)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('layers', () => {
  const rules = (text: string, head = ENFORCE) => rulesOf(`${head}${text}`)
  const opens = (merged: Rules | null, wanted: string) =>
    (merged?.allows ?? []).some((each) => each.kind === 'host' && matchesHost(each.host, wanted)) &&
    !(merged?.denies ?? []).some(({ target }) => !isRange(target) && matchesHost(target, wanted))

  it('below can only tighten: what is open is open in each', () => {
    const patterns = fc.array(host, { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(patterns, patterns, fc.array(host, { maxLength: 2 }), (up, low, denied) => {
        const base = rules('')
        const span443 = [{ protocol: TCP, first: 443, last: 443 }]
        const of = (hosts: readonly HostPattern[], floor: boolean): Rules => ({
          ...base,
          floor,
          allows: hosts.map((each, index) => ({
            ...{
              kind: 'host',
              host: each,
              ports: span443,
              binaries: [],
              allowPrivate: [],
              direct: false,
              opaque: false,
            },
            origin: { policy: 'p', path: `egress[${index}]`, place: null, source: null, reason: '' },
          })),
          denies: floor
            ? denied.map((target) => ({
                target,
                ports: [],
                origin: { policy: 'f', path: 'egress[9]', place: null, source: null, reason: '' },
              }))
            : [],
        })
        const [upper, lower] = [of(up, true), of(low, false)]
        const merged = mergeLayers(layersOf([lower, upper]))
        for (const each of NAMES) {
          const both = [upper, lower].every(({ allows }) =>
            allows.some((one) => one.kind === 'host' && matchesHost(one.host, each)),
          )
          expect(opens(merged, each)).toBe(both && !denied.some((one) => matchesHost(one, each)))
        }
      }),
      { numRuns: 300 },
    )
  })

  it('side by side allow what any allows, deny what any denies, in the strictest mode', () => {
    const one = rulesOf(`${MONITOR}egress: [{host: a.com}, {deny: {host: c.com}}]\nlocal: {listeners: none}\n`)
    const other = rules('egress: [{host: b.com}, {host: c.com}]\n')
    const merged = mergeLayers(layersOf([one, other]))
    expect(['a.com', 'b.com', 'c.com'].map((each) => opens(merged, each))).toEqual([true, true, false])
    expect(merged).toMatchObject({ mode: 'enforce', listeners: 'none', name: 'p' })
  })

  it('that allow nothing by name leave that to those below', () => {
    const floor = rules('floor: true\negress: [{deny: {host: .evil.com}}]\n')
    const merged = mergeLayers(layersOf([rules('egress: [{host: a.com}, {host: x.evil.com}]\n'), floor]))
    expect(['a.com', 'x.evil.com', 'b.com'].map((each) => opens(merged, each))).toEqual([true, false, false])
  })

  it('narrow ranges, ports, programs and sockets to what both name', () => {
    const floor = rules(
      'floor: true\negress: [{cidr: 10.0.0.0/8, ports: [80-90, 5432], binary: [/bin/a, /bin/b]}]\nlocal: {unix: [/run/a.sock]}\n',
      MONITOR,
    )
    const own = rules(
      'egress: [{cidr: 10.1.0.0/16, ports: [85-100]}, {cidr: 11.0.0.0/8}]\nlocal: {unix: [/run/a.sock, /run/b.sock]}\n',
      MONITOR,
    )
    const merged = mergeLayers(layersOf([own, floor]))
    expect(merged?.allows).toHaveLength(1)
    expect(merged?.allows[0]).toMatchObject({
      ports: [{ first: 85, last: 90 }],
      binaries: ['/bin/a', '/bin/b'],
      origin: { path: 'egress[0]' },
    })
    expect(merged?.unix?.map(({ path }) => path)).toEqual(['/run/a.sock'])
  })
})

describe('policies together', () => {
  it('are refused where one would have to enforce what only another, in monitor mode, could say', () => {
    const one = load(`${MONITOR}egress: [{host: a.com, http: [{method: [GET]}]}]\n`)
    const other = load(`${ENFORCE}egress: [{host: b.com}]\n`)
    expect(compilePolicies([one]).policy.hosts?.[0]?.ports).toEqual([{ protocol: TCP, first: 443, last: 443 }])
    expect(() => compilePolicies([one, other])).toThrow(
      "p: can't be enforced together: egress[0].http: requests are not read yet",
    )
    expect(() => compilePolicies([load('')])).toThrow('p.yaml has errors')
    expect(() => compilePolicies([])).toThrow('no policy is given')
  })
})

describe('a compiled policy', () => {
  const TEXT = `${MONITOR}bundles: [github]
egress:
  - host: "*.Example.com"
    ports: [443, 8000-8100]
    binary: [/usr/bin/git, "sha256:${'0a'.repeat(32)}"]
  - cidr: 10.1.0.0/16
    ports: [5432]
  - deny: {cidr: 10.1.9.0/24}
    reason: not there
`
  it('is the same bytes each time, and its digest is over them', () => {
    const [one, other] = [compileRules(rulesOf(TEXT)).policy, compileRules(rulesOf(TEXT)).policy]
    expect(encodeBuffer(CompiledPolicy, one).equals(encodeBuffer(CompiledPolicy, other))).toBe(true)
    expect(one.digest).toMatch(/^[0-9a-f]{64}$/)
    expect(compileRules(rulesOf(TEXT.replace('5432', '5433'))).policy.digest).not.toBe(one.digest)
  })

  it('names every rule by its number, and the default by 0', () => {
    const { policy } = compileRules(rulesOf(TEXT))
    const paths = (policy.rules ?? []).map(({ path }) => path)
    expect(paths[0]).toBe('default')
    expect(paths).toEqual(
      expect.arrayContaining(['egress[0]', 'egress[1]', 'egress[2]', 'bundles.github[0]', 'builtin.metadata']),
    )
    const denied = policy.nets?.find((net) => net.prefixLength === 96 + 24 && net.prefix?.[12] === 10)
    expect(policy.rules?.[denied?.ports?.[0]?.rule ?? 0]).toEqual({
      path: 'egress[2]',
      policy: 'p',
      reason: 'not there',
    })
    expect(policy.hosts?.[0]).toMatchObject({
      host: { form: HostForm.HOST_FORM_ONE, base: 'example.com' },
      ports: [
        { protocol: TCP, first: 443, last: 443 },
        { protocol: TCP, first: 8000, last: 8100 },
      ],
      binaries: [{ path: '/usr/bin/git' }, { sha256: Buffer.alloc(32, 0x0a) }],
    })
  })

  it('denies metadata and resolvers inside a wide range, unless a rule names just them', () => {
    const verdict = (text: string, address: string) => {
      const { policy } = compileRules(rulesOf(`${ENFORCE}${text}`))
      const bytes = knownRange(address).prefix
      const [best] = (policy.nets ?? [])
        .filter(({ prefix, prefixLength }) => isIn(bytes, { prefix: prefix ?? [], length: prefixLength ?? 0 }))
        .sort((a, b) => (b.prefixLength ?? 0) - (a.prefixLength ?? 0))
      return best?.ports?.map((each) => (each.deny ? 'deny' : 'allow'))
    }
    const wide = 'egress: [{cidr: 0.0.0.0/0, ports: [1-65535]}]\n'
    for (const address of ['169.254.169.254/32', '8.8.8.8/32', '100.96.0.96/32'])
      expect(verdict(wide, address)).toEqual(['deny'])
    for (const address of ['fd00:c1::a9fe:a9fe/128', '64:ff9b::169.254.169.254/128'])
      expect(verdict('egress: [{cidr: "::/0"}]\n', address)).toEqual(['deny'])
    expect(verdict(wide, '8.8.8.9/32')).toEqual(['allow', 'allow'])
    expect(verdict('egress: [{cidr: 169.254.169.254/32, ports: [80]}]\n', '169.254.169.254/32')).toEqual(['allow'])
    expect(verdict('egress: [{host: dns.google}, {cidr: 8.0.0.0/8}]\n', '8.8.8.8/32')).toEqual(['allow'])
  })

  it('has no port of a host that a rule denies, and no rule that is left without any', () => {
    const { policy } = compileRules(
      rulesOf(`${ENFORCE}egress:
  - {host: a.b.com, ports: [80, 443, 8000-8100]}
  - {host: c.b.com, ports: [8050]}
  - deny: {host: .b.com, ports: [80, 8050]}
`),
    )
    const spans = policy.hosts?.map(({ ports }) => ports?.map(({ first, last }) => [first, last]))
    expect(spans).toEqual([
      [
        [443, 443],
        [8000, 8049],
        [8051, 8100],
      ],
    ])
  })

  it('of two policies is refused where one denies ports of names that the other allows among more', () => {
    const floor = load(`${ENFORCE}floor: true\negress: [{deny: {host: x.a.com, ports: [80]}}]\n`)
    const own = load(`${ENFORCE}egress: [{host: .a.com, ports: [80]}]\n`)
    expect(() => compilePolicies([floor, own])).toThrow(
      "egress[0]: some ports of some names of egress[0] can't be denied",
    )
  })

  it('takes mode and defaults from the policy, and the stricter default where it says nothing', () => {
    expect(compileRules(rulesOf(ENFORCE)).policy).toMatchObject({
      mode: 2,
      wire: 3,
      dns: 1,
      listeners: 1,
      allowBrokers: false,
    })
    expect(compileRules(rulesOf(MONITOR)).policy).toMatchObject({ mode: 1, wire: 1, dns: 2, listeners: 1 })
  })
})

describe('a ladder for limits', () => {
  it.each([
    ['[freeze]', true],
    ['[{do: freeze, for: 10s}, kill]', true],
    ['[kill]', true],
    ['[alert, freeze]', false],
    ['[throttle]', false],
  ])('%s has the kernel stop who reaches one: %s', (steps, stops) => {
    const limits = 'limits: {connects: {rate: 1/s}}'
    const stopsAtHit = (text: string) => compilePolicies([load(text)]).policy.limits?.stopAtHit ?? false
    expect(stopsAtHit(`${ENFORCE}${limits}\nrespond: {limits: ${steps}}\n`)).toBe(stops)
    expect(stopsAtHit(`${ENFORCE}${limits}\nrespond: {loop: ${steps}}\n`)).toBe(false)
    expect(compilePolicies([load(`${ENFORCE}respond: {limits: ${steps}}\n`)]).policy.limits ?? null).toBeNull()
  })
})

describe('what detections lead to', () => {
  const { RESPONSE_ACTION_ALERT: ALERT, RESPONSE_ACTION_THROTTLE: THROTTLE } = ResponseAction
  const { RESPONSE_ACTION_DENY: DENY, RESPONSE_ACTION_FREEZE: FREEZE, RESPONSE_ACTION_KILL: KILL } = ResponseAction
  const DEFAULTS = {
    loop: [ALERT, ALERT, THROTTLE],
    secret_then_egress: [ALERT, DENY],
  }
  const ladders = (layers: Partial<PolicyLayers>) => {
    const compiled = compileLayers({ node: [], own: [], workdir: null, ownMode: null, ...layers })
    const steps = compiled?.policy.respond?.map(({ detector, steps: each }) => [
      detector,
      each?.map((step) => step.action),
    ])
    return Object.fromEntries(steps ?? [])
  }

  it('is more than an alert where the policy is enforced, for each detection that it does not name', () => {
    expect(ladders({ own: [rulesOf(ENFORCE)] })).toEqual(DEFAULTS)
    expect(ladders({ own: [rulesOf(`${ENFORCE}respond: {}\n`)] })).toEqual(DEFAULTS)
    expect(ladders({ own: [rulesOf(`${ENFORCE}respond: {loop: [kill], novelty: [alert]}\n`)] })).toEqual({
      ...DEFAULTS,
      ...{ loop: [KILL], novelty: [ALERT] },
    })
    const { loop: _, ...others } = DEFAULTS
    expect(ladders({ own: [rulesOf(`${ENFORCE}respond: {loop: [], volume: []}\n`)] })).toEqual(others)
  })

  it('is no throttle where the policy says itself how much may be', () => {
    const { secret_then_egress } = DEFAULTS
    for (const limit of ['connects', 'execs']) {
      expect(ladders({ own: [rulesOf(`${ENFORCE}limits: {${limit}: {rate: 5/s}}\n`)] })).toEqual({ secret_then_egress })
    }
    expect(ladders({ own: [rulesOf(`${ENFORCE}limits: {processes: 9}\n`)] })).toEqual(DEFAULTS)
  })

  it('is what it names alone where it is not enforced, also by whoever runs it', () => {
    expect(ladders({ own: [rulesOf(MONITOR)] })).toEqual({})
    expect(ladders({ own: [rulesOf(`${MONITOR}respond: {loop: [freeze]}\n`)] })).toEqual({ loop: [FREEZE] })
    const own = [rulesOf(`${ENFORCE}respond: {loop: [freeze]}\n`)]
    expect(ladders({ own, ownMode: 'monitor' })).toEqual({ loop: [FREEZE] })
  })

  it('can not be taken away by a policy below, which the sandbox may have written', () => {
    const calm = rulesOf(`${ENFORCE}respond: {loop: [], volume: [], secret_then_egress: [kill]}\n`)
    const both = { ...DEFAULTS, secret_then_egress: [ALERT, DENY, KILL] }
    expect(ladders({ node: [rulesOf(ENFORCE)], own: [calm] })).toEqual(both)
    expect(ladders({ own: [rulesOf(ENFORCE)], workdir: calm })).toEqual(both)
    expect(ladders({ node: [rulesOf(ENFORCE)], own: [calm], ownMode: 'monitor' })).toEqual(both)
  })

  it('is said in words', () => {
    const said = explainRules(rulesOf(`${ENFORCE}respond: {loop: [{do: freeze, for: 10min}, kill], volume: []}\n`))
    expect(said).toContain('respond.loop: freeze for 600 s, then kill.')
    expect(said).toContain('respond.volume: alert.')
    expect(said.filter((each) => each.startsWith('respond.'))).toHaveLength(3)
    expect(explainRules(rulesOf(MONITOR)).filter((each) => each.startsWith('respond.'))).toEqual([])
  })
})
