/** Lines that are read by their text say what the same lines say when they are read whole. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { factFrom, factOf } from '../../../src/engine/detect/fact-of.js'
import { Replay } from '../../../src/engine/replay/derive.js'
import { RecordedLines } from '../../../src/engine/replay/recorded-line.js'
import { EVENT_KINDS, eventLine } from '../../../src/proto/event-json.js'
import { parseEventLine } from '../../../src/proto/event-line.js'
import { anyEvent } from '../../support/any-event.js'
import { detectionBy } from '../../support/bash-grammar.js'

const SANDBOX = { id: 'b', name: 'b', cgroupId: '7', cgroupPath: '/b', agent: '', task: '', labels: {} }
const PROCESS = {
  ...{ execId: 'boot-5-s-1', pid: 5, tid: 5, ppid: 1, parentExecId: '', exe: '/bin/x', args: ['x'], argsBytes: '2' },
  ...{ argsTruncated: false, cwd: '/w', uid: 0, gid: 0, startTime: '2026-01-31T12:00:00.000000000Z' },
}
const EVENT = {
  ...{ schema: 1, source: 'tp_btf/x', node: { name: 'n', bootId: 'boot' }, uid: 'uid-1' },
  ...{ time: '2026-01-31T12:00:00.123456789Z', seq: '41', sandbox: SANDBOX, sessionId: 's', toolCallId: 'old' },
  ...{ process: PROCESS, exec: { script: '', memfd: false } },
}
const said = (more: object) => JSON.stringify({ ...EVENT, ...more })

/** Each with whether its text is enough. */
const LINES: readonly (readonly [what: string, line: string, isRead: boolean])[] = [
  ['as we write it', said({}), true],
  ['without a process', JSON.stringify({ ...EVENT, process: undefined }), true],
  [
    'with quotes and keys in arguments',
    said({ process: { ...PROCESS, args: ['"startTime":"', '"}', '{"seq":"1"}', '\\', '\u2028é'] } }),
    true,
  ],
  ['with our keys in a label', said({ sandbox: { ...SANDBOX, labels: { sessionId: 'x', toolCallId: 'y' } } }), false],
  [
    'with its text in a label',
    said({ sandbox: { ...SANDBOX, labels: { a: '","sessionId":"x","toolCallId":"' } } }),
    true,
  ],
  ['with what a subshell came of', said({ process: { ...PROCESS, spawnerExecId: 'boot-4-s-1' } }), true],
  ['with that and more', said({ process: { ...PROCESS, spawnerExecId: '', more: '' } }), false],
  ['with that, escaped', said({ process: { ...PROCESS, spawnerExecId: 'a"}\\' } }), false],
  ['replayed before', said({ recordedSeq: '7' }), false],
  ['with a field that nobody knows', said({ more: { seq: 1 } }), false],
  ['with a key twice', said({}).replace(/}$/, ',"toolCallId":"other"}'), false],
  ['with a key twice, in the kind', said({ exec: { script: '', memfd: false, toolCallId: 'x' } }), false],
  ['with spaces', JSON.stringify(EVENT, null, 1).replaceAll('\n', ''), false],
  ['in another order', JSON.stringify(Object.fromEntries(Object.entries(EVENT).reverse())), false],
  [
    'with an odd process',
    said({ process: { startTime: PROCESS.startTime, execId: 'a', parentExecId: '', exe: '', args: [], cwd: '' } }),
    false,
  ],
  ['with an escaped name', said({ node: { name: 'a"b', bootId: 'boot' } }), false],
]
const BAD: readonly string[] = [
  said({}).slice(0, -1),
  said({}).replace('"memfd":false', '"memfd":fals'),
  said({}).replace('"args":["x"]', '"args":["x"'),
  said({ time: '2026-13-31T12:00:00.000000000Z' }),
  said({ exit: { code: 1 } }),
  said({ exec: 1 }),
  `${said({})}}`,
]

describe('a recorded line', () => {
  it.each(LINES)('%s', (_, line, isRead) => {
    expect(new RecordedLines().read(line) !== null).toBe(isRead)
    const replay = new Replay({ openSession: () => detectionBy() })
    const [own = ''] = replay.take(line)
    const { seq, ...event } = JSON.parse(line)
    expect(JSON.parse(own)).toEqual({ ...event, toolCallId: '', seq: '1', recordedSeq: seq })
    expect(own.match(/"toolCallId":""/g)).toHaveLength(1)
  })

  it('has the facts of the whole line, whatever the event', () => {
    let read = 0
    const events = fc.oneof(...EVENT_KINDS.map(anyEvent), anyEvent('fileOpen'))
    fc.assert(
      fc.property(events, (event) => {
        const text = eventLine(event)
        const line = new RecordedLines().read(text)
        if (line === null) return
        read += 1
        expect(factFrom(line, line.body)).toEqual(factOf(parseEventLine(text)))
      }),
      { numRuns: 3_000 },
    )
    expect(read).toBeGreaterThan(500)
  })

  it.each(BAD)('that is none is refused: %s', (line) => {
    expect(new RecordedLines().read(line)).toBeNull()
    expect(() => new Replay({ openSession: () => detectionBy() }).take(line)).toThrow()
  })

  it('is not taken for another one with the same beginning', () => {
    const lines = new RecordedLines()
    expect(lines.read(said({}))?.process?.args).toEqual(['x'])
    expect(lines.read(said({ process: { ...PROCESS, args: ['y'] } }))?.process?.args).toEqual(['y'])
    expect(lines.read(said({ sessionId: 't' }))?.sessionId).toBe('t')
    expect(lines.read(said({}))?.sessionId).toBe('s')
  })
})
