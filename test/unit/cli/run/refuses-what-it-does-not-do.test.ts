import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../../../src/base/error.js'
import { parseRunOptions, type RawRunOptions } from '../../../../src/cli/run/run-options.js'

const parse = (raw: RawRunOptions, command = ['make', '-j']) => parseRunOptions(raw, command, () => '/here')

function refusal(raw: RawRunOptions, command?: string[]): [string, string] {
  try {
    parse(raw, command)
  } catch (error) {
    if (error instanceof SluiceError) return [error.code, error.message]
  }
  throw new Error('it was not refused')
}

describe('options of run', () => {
  it('have defaults', () => {
    expect(parse({}, ['/usr/bin/make', '-j'])).toEqual({
      ...{ command: ['/usr/bin/make', '-j'], name: 'make', agent: '', task: '', labels: {}, workdir: '/here' },
      ...{
        record: null,
        summary: 'text',
        own: false,
        policies: [],
        mode: null,
        failOn: null,
        quiet: false,
        user: null,
        live: null,
      },
    })
  })

  it('are taken as given, paths made absolute', () => {
    const raw = { name: 'n', label: ['a=1', 'b=x=y', 'a=2'], workdir: 'sub', record: '../r', failOn: 'deny', user: 'u' }
    expect(parse({ ...raw, mode: 'monitor', summary: 'json', events: true })).toMatchObject({
      ...{ name: 'n', labels: { a: '2', b: 'x=y' }, workdir: '/here/sub', record: '/r', failOn: 'deny', user: 'u' },
      ...{ summary: 'json', live: 'notable' },
    })
    expect(parse({ policy: ['p.yaml', '/q.yaml'], mode: 'enforce' })).toMatchObject({
      ...{ policies: ['/here/p.yaml', '/q.yaml'], mode: 'enforce' },
    })
    expect(parse({})).toMatchObject({ policies: [], mode: null })
    expect(parse({ events: 'all' }).live).toBe('all')
    expect(parse({ quiet: true })).toMatchObject({ quiet: true, summary: 'none' })
  })

  it.each([[{ failOn: 'outside' }, 'not in this version: --fail-on outside']])('refuses %j by name', (raw, message) => {
    expect(refusal(raw)).toEqual(['UNSUPPORTED', message])
  })

  it.each([
    [{ mode: 'enforce' }, '--mode enforce takes a policy: say which with --policy'],
    [{ policy: [''] }, '--policy is empty'],
    [{ mode: 'strict' }, "--mode is 'strict': it must be one of monitor, enforce"],
    [{ failOn: 'x' }, "--fail-on is 'x': it must be one of deny, detection, outside"],
    [{ label: ['novalue'] }, "--label 'novalue' is not KEY=VALUE"],
    [{ label: ['=v'] }, "--label '=v' is not KEY=VALUE"],
    [{ record: '' }, '--record is empty'],
    [{ workdir: '' }, '--workdir is empty'],
    [{ user: '' }, '--user is empty'],
    [{ quiet: true, events: 'all' }, '-q and --events contradict each other: give one of them'],
    [{ name: 'x'.repeat(254) }, '--name is longer than 253 characters'],
    [{ label: [`${'k'.repeat(129)}=v`] }, 'the key of a --label is longer than 128 characters'],
    [{ name: 'a\nb' }, '--name holds a control character'],
    [{ agent: '\u001b[2J' }, '--agent holds a control character'],
    [{ task: 'a\u0000' }, '--task holds a control character'],
    [{ label: ['k=\u009b'] }, '--label holds a control character'],
    [{ label: ['k\t=v'] }, 'the key of a --label holds a control character'],
  ])('refuses %j', (raw, message) => {
    expect(refusal(raw)).toEqual(['USAGE', message])
  })

  it('name a sandbox after a command whatever its name holds', () => {
    expect(parse({}, ['/opt/a\nb']).name).toBe('a?b')
  })

  it('do not ask where we are for what is absolute', () => {
    const gone = () => {
      throw new Error('deleted')
    }
    expect(parseRunOptions({ workdir: '/a/../b', record: '/r' }, ['x'], gone)).toMatchObject({
      ...{ workdir: '/b', record: '/r' },
    })
    expect(() => parseRunOptions({ workdir: '/', record: 'r' }, ['x'], gone)).toThrow('deleted')
    expect(() => parseRunOptions({}, ['x'], gone)).toThrow('deleted')
  })

  it('refuses to run nothing', () => {
    expect(refusal({}, [])).toEqual(['USAGE', 'no command given'])
    expect(refusal({}, [''])).toEqual(['USAGE', 'no command given'])
  })
})
