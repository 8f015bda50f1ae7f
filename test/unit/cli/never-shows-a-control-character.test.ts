import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compactLine } from '../../../src/cli/compact-line.js'
import { neutralise, neutraliseJson } from '../../../src/cli/display-text.js'
import { summaryText } from '../../../src/cli/summary-text.js'
import { fromBigInt, type IEvent } from '../../../src/proto/codec.js'
import { eventToJson } from '../../../src/proto/event-json.js'
import { common, kinds } from './sample-events.js'

/** Controls (C0, C1, DEL), bidi and other format characters, line separators, what is drawn as nothing. */
const FORBIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}]/u

const nasty = fc.constantFrom(
  ...['\u001b]0;pwned\u0007', '\u001b[2J', '\r', '\n', '\u009b31m', '\u007f', '\u202e', '\u2066', '\u200b', '\u2028'],
  ...['\ufeff', '\u00ad', '\u3164', '\u{e0041}', '\\', "'", '"', '\\x41', '\u00a0', 'é', '漢', '😀', ' '],
)
const text = fc.array(fc.oneof(nasty, fc.string({ unit: 'binary' })), { maxLength: 8 }).map((parts) => parts.join(''))
const bytes = fc.oneof(
  text.map((value) => Buffer.from(value)),
  fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value)),
)

const tally = bytes.map((name) => ({ name, count: fromBigInt(1n), failed: fromBigInt(0n) }))
const body: fc.Arbitrary<IEvent> = fc.oneof(
  fc.record({ fileOpen: fc.record({ path: bytes, errno: fc.nat(200), count: fc.constant(fromBigInt(2n)) }) }),
  fc.record({ connect: fc.record({ address: text, port: fc.nat(65535), hostname: text }) }),
  fc.record({ gap: fc.record({ kind: text, cause: text }) }),
  fc.record({
    sandboxStarted: fc.record({ mode: text, policyName: text, user: text, workdir: bytes, command: fc.array(bytes) }),
  }),
  fc.constant(kinds.exec),
  fc.constant(kinds.exit),
)
const event = fc
  .record({
    sandbox: fc.record({ id: text, name: text }),
    process: fc.record({ pid: fc.nat(), exe: bytes, args: fc.array(bytes, { maxLength: 5 }) }),
    body,
  })
  .map(({ body: kind, ...rest }) => eventToJson({ ...common, ...rest, ...kind }))

describe('what is shown', () => {
  it('never holds a control, bidi or invisible character, whatever an event says', () => {
    fc.assert(
      fc.property(event, fc.option(fc.integer({ min: 1, max: 200 })), (shown, columns) => {
        expect(compactLine(shown, { color: false, columns })).not.toMatch(FORBIDDEN)
      }),
      { numRuns: 300 },
    )
  })

  it('never holds one in a summary either, but its line ends', () => {
    const input = fc.record({
      command: fc.array(text),
      workdir: text,
      recordPath: text,
      problems: fc.array(text),
      degraded: fc.array(text),
    })
    fc.assert(
      fc.property(input, fc.array(tally, { maxLength: 8 }), (given, tallies) => {
        const refusals = tallies.map(({ name, count }) => ({ target: name, rule: given.workdir, count }))
        const json = eventToJson({
          ...common,
          sandboxEnded: { summary: { programs: tallies, writtenPaths: tallies, destinations: tallies, refusals } },
        })
        const summary = 'sandboxEnded' in json ? json.sandboxEnded.summary : null
        const shown = summaryText(
          {
            ...given,
            asRoot: true,
            policy: { name: given.workdir, enforced: true },
            summary,
            status: { code: 0, signal: 0 },
          },
          { color: false, columns: null },
        )
        const lines = shown.split('\n')
        expect(lines.pop()).toBe('')
        for (const line of lines) expect(line).not.toMatch(FORBIDDEN)
      }),
      { numRuns: 200 },
    )
  })

  it('keeps the value of JSON that it makes safe', () => {
    fc.assert(
      fc.property(text, (value) => {
        const safe = neutraliseJson(JSON.stringify({ value }))
        expect(safe).not.toMatch(FORBIDDEN)
        expect(JSON.parse(safe)).toEqual({ value })
      }),
    )
  })

  it('leaves ordinary text alone', () => {
    expect(neutralise('häuser, 漢字 — 😀 (a\\b)')).toBe('häuser, 漢字 — 😀 (a\\b)')
    expect(neutralise('a\u001b[31mb\u202ec')).toBe('a\\e[31mb\\u202ec')
  })
})
