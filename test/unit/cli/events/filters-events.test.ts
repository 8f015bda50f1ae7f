import { describe, expect, it } from 'vitest'
import { compileFilter, parseTime, type RawFilter } from '../../../../src/cli/events/event-filter.js'
import { kinds, sample } from '../sample-events.js'

const NOW_MS = Date.parse('2026-01-31T14:25:00Z')

function passing(raw: RawFilter): string[] {
  const matches = compileFilter(raw, NOW_MS)
  return (Object.keys(kinds) as (keyof typeof kinds)[]).filter((kind) => matches(sample(kind)))
}

describe('filters of events', () => {
  it.each<[RawFilter, string[]]>([
    [{ type: ['exec'] }, ['exec']],
    [{ type: ['FILEOPEN,gap'] }, ['write', 'read', 'gap']],
    [{ verdict: ['would-deny'] }, ['denied']],
    [{ verdict: ['allow'], type: ['connect'] }, ['sends', 'unix', 'socket', 'packet', 'connect']],
    [{ host: ['127.0.0.1'] }, ['sends', 'closed', 'connect']],
    [{ host: ['127.0.0.1:4000'] }, ['closed']],
    [{ host: ['/run/a b'] }, ['unix']],
    [{ type: ['listen', 'connectionClosed'] }, ['listen', 'closed']],
    [{ host: ['[::1]:53'] }, ['denied']],
    [{ host: ['NS.example'] }, ['denied']],
    [{ host: ['127.0.0.1:81'] }, []],
    [{ process: ['curl'], type: ['exec'] }, ['exec']],
    [{ process: ['42'], type: ['exec'] }, ['exec']],
    [{ process: ['/usr/bin/curl', 'x'], type: ['exec'] }, ['exec']],
    [{ process: ['url'], type: ['exec'] }, []],
    [{ sandbox: ['box'], type: ['gap'] }, ['gap']],
    [{ sandbox: ['box-1'], type: ['gap'] }, ['gap']],
    [{ session: ['other'] }, []],
    [{ since: '2m', type: ['gap'] }, ['gap']],
    [{ since: '1m' }, []],
    [{ since: '2026-01-31T14:23:07.123456789Z', until: '2026-01-31T15:23:07.123456789+01:00', type: ['gap'] }, ['gap']],
    [{ since: '2026-01-31T14:23:07.12345679Z' }, []],
    [{ until: '2026-01-31T14:23:07.123456788Z' }, []],
  ])('%j lets through %j', (raw, expected) => {
    expect(passing(raw)).toEqual(expected)
  })

  it('lets everything through without one', () => {
    expect(passing({})).toEqual(Object.keys(kinds))
  })

  it.each<[RawFilter, string]>([
    [
      { type: ['execs'] },
      "--type 'execs' is not one of exec, execFailed, exit, stdin, fileOpen, fileChange, connect, connectionClosed, listen, dns, toolCall, detection, response, gap, sandboxStarted, sandboxEnded",
    ],
    [{ verdict: ['no'] }, "--verdict 'no' is not one of ALLOW, DENY, WOULD_DENY, REDIRECT"],
    [{ since: 'yesterday' }, "--since 'yesterday' is neither a time like 2026-01-31T14:23:07Z nor one ago like 5m"],
    [
      { until: '2026-13-01T00:00:00Z' },
      "--until '2026-13-01T00:00:00Z' is neither a time like 2026-01-31T14:23:07Z nor one ago like 5m",
    ],
  ])('refuses %j, which could match nothing', (raw, message) => {
    expect(() => compileFilter(raw, NOW_MS)).toThrowError(message)
  })

  it('reads times exactly', () => {
    expect(parseTime('--since', '1970-01-01T00:00:01.000000001Z', 0)).toBe(1_000_000_001n)
    expect(parseTime('--since', '250ms', 1000)).toBe(750_000_000n)
  })
})
