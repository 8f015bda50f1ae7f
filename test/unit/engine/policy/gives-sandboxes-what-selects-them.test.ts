/** Policies of the node: whom each is for, what holds while one has a mistake, and that no layer opens what one above it closes. */
import { describe, expect, it } from 'vitest'
import { compileLayers, type PolicyLayers } from '../../../../src/engine/policy/layered.js'
import { NodePolicies } from '../../../../src/engine/policy/node-policies.js'
import { ownLayers } from '../../../../src/engine/policy/own-sources.js'
import { type SelectTarget, selects } from '../../../../src/engine/policy/select.js'
import { Mode } from '../../../../src/proto/codec.js'

const target = (changes: Partial<SelectTarget> = {}): SelectTarget => ({
  ...{ labels: { team: 'red', agent: 'x' }, cgroupPath: '/user.slice/agents-7/box', isRun: false },
  ...changes,
})
const text = (name: string, rest: string, mode = 'enforce') => `version: 1\nname: ${name}\nmode: ${mode}\n${rest}\n`
const allowing = (name: string, cidrs: string, more = '') =>
  text(name, `${more}egress: [${cidrs.split(' ').map((cidr) => `{cidr: ${cidr}}`)}]`)
const source = (name: string, content: string) => ({ name, text: content })

describe('select', () => {
  it.each<[select: Parameters<typeof selects>[0], of: Partial<SelectTarget>, isFor: boolean]>([
    [undefined, { isRun: true }, true],
    [undefined, {}, false],
    [{}, {}, true],
    [{}, { isRun: true }, true],
    [{ labels: { team: 'red' } }, {}, true],
    [{ labels: { team: 'red', agent: 'x' } }, {}, true],
    [{ labels: { team: 'blue' } }, {}, false],
    [{ labels: { other: 'red' } }, {}, false],
    [{ labels: { toString: 'x' } }, {}, false],
    [{ cgroup: '/user.slice/agents-7/box' }, {}, true],
    [{ cgroup: '/user.slice/agents-*/box' }, {}, true],
    [{ cgroup: '/user.slice/*-7/b*x' }, {}, true],
    [{ cgroup: '/user.slice/*/*' }, {}, true],
    [{ cgroup: '/user.slice/*' }, {}, false],
    [{ cgroup: '/user.slice/agents-*/*/more' }, {}, false],
    [{ cgroup: '/user.slice/agents-7*7/box' }, {}, false],
    [{ cgroup: '/user.slice/agents-*/box', labels: { team: 'blue' } }, {}, false],
    [{ pod: 'box' }, {}, false],
    [{ namespace: 'x', labels: { team: 'red' } }, {}, false],
  ])('%j of %j: %s', (select, of, isFor) => {
    expect(selects(select, target(of))).toBe(isFor)
  })

  it('takes no time over a pattern with many stars', () => {
    const before = performance.now()
    expect(selects({ cgroup: `/${'a*'.repeat(2_000)}b` }, target({ cgroupPath: `/${'a'.repeat(4_000)}` }))).toBe(false)
    expect(performance.now() - before).toBeLessThan(1_000)
  })
})

describe('the policies of a node', () => {
  const good = source('/p/a.yaml', allowing('a', '10.0.0.1/32', 'select: {}\n'))
  const bad = source('/p/a.yaml', text('a', 'select: {}\negres: []'))
  const names = (policies: NodePolicies) => policies.for(target()).map(({ name }) => name)

  it('hold as they were while their file has a mistake, which is told by its line', () => {
    const policies = new NodePolicies([good])
    const digest = policies.digestFor(target())
    policies.update([bad])
    expect(names(policies)).toEqual(['a'])
    expect(policies.digestFor(target())).toBe(digest)
    expect(policies.problems).toEqual([
      expect.stringMatching(/^\/p\/a\.yaml:5:1: .*egres.* \(what it said before holds\)$/),
    ])
    expect(policies.unused).toEqual([])
    policies.update([good])
    expect(policies.problems).toEqual([])
    policies.update([])
    expect(names(policies)).toEqual([])
  })

  it.each([
    [['select: {}\n'], { all: true, cgroups: [] }],
    [['select: {cgroup: "/a/*"}\n', 'select: {cgroup: "/b/*"}\n'], { all: false, cgroups: ['/a/*', '/b/*'] }],
    // For whom labels, or what nobody knows here, decide; and what `run` starts.
    [['select: {labels: {team: red}}\n', 'select: {cgroup: "/a/*", pod: box}\n', ''], { all: false, cgroups: [] }],
  ])('with %j hold of what others make: %j', (selects, expected) => {
    const sources = selects.map((select, at) => source(`/p/${at}.yaml`, allowing(`p${at}`, '10.0.0.1/32', select)))
    expect(new NodePolicies(sources).enforcedOnFound).toEqual(expected)
    const monitors = sources.map(({ name, text }) => source(name, text.replace('mode: enforce', 'mode: monitor')))
    expect(new NodePolicies(monitors).enforcedOnFound).toEqual({ all: false, cgroups: [] })
  })

  it('are not used, which is told, where they never were good; an engine that comes later knows what was', () => {
    const policies = new NodePolicies([bad])
    expect([names(policies), policies.unused]).toEqual([[], [expect.stringMatching(/a\.yaml:5:1/)]])
    const next = new NodePolicies([bad], [good, source('/p/gone.yaml', good.text)])
    expect([names(next), next.unused, next.lastGood]).toEqual([['a'], [], [good]])
    expect(next.problems).toHaveLength(1)
  })
})

describe('layers', () => {
  const rules = (...texts: string[]) =>
    texts.flatMap((each, index) => new NodePolicies([source(`/${index}`, each)]).for(target()))
  const all = (cidrs: string, more = '') => allowing('n', cidrs, `select: {}\n${more}`)
  const own = (...texts: string[]) => ownLayers({ policies: texts.map((each, index) => source(`/own-${index}`, each)) })
  const opened = (layers: Partial<PolicyLayers>): string[] => {
    const none = { node: [], own: [], workdir: null, ownMode: null }
    const allows = compileLayers({ ...none, ...layers })?.rules.allows ?? []
    return allows.flatMap((allow) =>
      allow.kind === 'net' ? [Buffer.from(allow.range.prefix).subarray(12).join('.')] : [],
    )
  }

  it.each<[what: string, layers: Partial<PolicyLayers>, expected: string[]]>([
    [
      'the node’s side by side are a union',
      { node: rules(all('10.0.0.1/32'), all('10.0.0.2/32')) },
      ['10.0.0.1', '10.0.0.2'],
    ],
    [
      'own ones can’t widen',
      { node: rules(all('10.0.0.1/32')), ...own(allowing('o', '10.0.0.1/32 10.0.0.2/32')) },
      ['10.0.0.1'],
    ],
    [
      'a node that allows nothing is not opened',
      { node: rules(all('').replace('{cidr: }', '')), ...own(allowing('o', '10.0.0.1/32')) },
      [],
    ],
    [
      'a floor that only denies does not close, and one below it that allows nothing does',
      {
        node: rules(
          text('f', 'select: {}\nfloor: true\negress: [{deny: {cidr: 10.9.0.0/16}}]'),
          all('').replace('{cidr: }', ''),
        ),
        ...own(allowing('o', '10.0.0.1/32')),
      },
      [],
    ],
    [
      'a floor that only denies leaves the rest to those below',
      {
        node: rules(text('f', 'select: {}\nfloor: true\negress: [{deny: {cidr: 10.9.0.0/16}}]')),
        ...own(allowing('o', '10.0.0.1/32')),
      },
      ['10.0.0.1'],
    ],
    [
      'one in the working directory that only denies leaves the rest',
      ownLayers({
        policies: [source('/o', allowing('o', '10.0.0.1/32'))],
        workdir: source('/w', text('w', 'egress: [{deny: {cidr: 10.9.0.0/16}}]', 'monitor')),
      }),
      ['10.0.0.1'],
    ],
    [
      'one in the working directory can’t widen, whatever it says of floors',
      ownLayers({
        policies: [source('/o', allowing('o', '10.0.0.1/32'))],
        workdir: source('/w', text('w', 'floor: true\negress: [{cidr: 10.0.0.2/32}]', 'monitor')),
      }),
      [],
    ],
  ])('%s', (_, layers, expected) => {
    expect(opened(layers)).toEqual(expected)
  })

  it('are enforced if any is, whatever mode those below are put into', () => {
    const mode = (layers: Partial<PolicyLayers>) =>
      compileLayers({ node: [], own: [], workdir: null, ownMode: null, ...layers })?.policy.mode
    const monitored = { ...own(allowing('o', '10.0.0.1/32')), ownMode: 'monitor' } as const
    expect(mode(monitored)).toBe(Mode.MODE_MONITOR)
    expect(mode({ ...monitored, node: rules(all('10.0.0.1/32')) })).toBe(Mode.MODE_ENFORCE)
  })

  it('of a client are read again, with the line of a mistake, and bounded', () => {
    expect(() => own(text('o', 'egres: []'))).toThrowError(/^\/own-0:4:1: /)
    expect(() => own(`# ${'x'.repeat(1100 * 1024)}`)).toThrowError(/more than 1048576 characters/)
    const tools = [{ bundle: 'node', host: 'x'.repeat(3 * 1024 * 1024), port: 1, from: '' }]
    expect(() => ownLayers({ tools })).toThrowError(/too much/)
    expect(() => own(...Array<string>(17).fill(text('o', '')))).toThrowError(/at most 16/)
  })
})
