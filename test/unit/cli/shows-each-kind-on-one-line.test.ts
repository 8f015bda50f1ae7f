import { describe, expect, it } from 'vitest'
import { compactLine } from '../../../src/cli/compact-line.js'
import { eventText } from '../../../src/cli/event-text.js'
import { allSamples, sample } from './sample-events.js'

const PLAIN = { color: false, columns: null }

describe('a compact line', () => {
  it.each([
    ['exec', "curl -s 'http://x y/'"],
    ['exit', 'exit 1 after 12 ms'],
    ['killed', 'killed by SIGKILL after 1.5 s'],
    ['write', "write '/w/new file' (created)"],
    ['read', 'read /w/none → ENOENT ×3'],
    ['connect', 'tcp 127.0.0.1:80 → ECONNREFUSED'],
    ['denied', 'udp [::1]:53 (ns.example) (egress[2])'],
    ['sends', 'udp 127.0.0.1:53 ×9'],
    ['unix', "unix '/run/a b'"],
    ['socket', 'tcp socket'],
    ['packet', 'packet socket → EPERM'],
    ['listen', 'tcp 0.0.0.0:80 → EADDRINUSE'],
    ['closed', 'tcp from 127.0.0.1:4000 to port 80 after 1.5 s: 12 bytes sent, 3456 received'],
    ['stdin', "'make all'"],
    ['unshown', '[redacted] (8 bytes, typed without echo)'],
    ['cgroup', "escape '/a b' by 7"],
    [
      'quarantine',
      'a new process could not be marked as the sandbox’s (43): its connections are refused, and this process was stopped',
    ],
    ['checkpoint', 'sealed: 1200 records of s-1'],
    ['toolCall', "shell 'make all' → exit 2, 3 programs, 1 file changed"],
    ['detection', 'medium loop: "make" was run 5 times'],
    ['gap', 'lost 3 exec events (KERNEL_RING): the ring was full'],
    ['started', 'monitor, no policy, as alice, in /w: make all'],
    ['ended', 'exit 2 after 3.4 s: 12345 events, complete'],
  ] as const)('says what a %s event is about', (kind, what) => {
    expect(eventText(sample(kind))).toBe(what)
  })

  it.each([
    ['0', '9', 'lost at most 9 exec events'],
    ['3', '9', 'lost 3 to 9 exec events'],
    ['3', '0', 'lost at least 3 exec events'],
    ['0', '0', 'lost an unknown number of exec events'],
  ])('says between what bounds a loss is that is not exact: %s, %s', (count, countMax, text) => {
    const event = sample('gap')
    if (!('gap' in event)) throw new Error('no gap')
    expect(eventText({ ...event, gap: { ...event.gap, exact: false, count, countMax } })).toContain(text)
  })

  it('has six fields of which only the last holds spaces', () => {
    expect(compactLine(sample('denied'), PLAIN).split(/ +/)).toEqual([
      ...['14:23:07.123', 'box', 'connect', 'WOULD_DENY', 'curl(42)'],
      ...['udp', '[::1]:53', '(ns.example)', '(egress[2])'],
    ])
    expect(compactLine(sample('gap'), PLAIN).split(/ +/).slice(0, 5)).toEqual(['14:23:07.123', 'box', 'gap', '-', '-'])
    const spaced = sample('exit', { sandbox: { id: 'b', name: 'my box' } })
    expect(compactLine(spaced, PLAIN)).toContain(' my\\x20box ')
  })

  it('starts its last field in one column, but for kinds that come rarely', () => {
    const rare = ['sandboxStarted', 'sandboxEnded', 'cgroupChange', 'connectionClosed']
    const framed = allSamples().filter((event) => !rare.some((kind) => kind in event))
    const starts = framed.map((event) => compactLine(event, PLAIN).indexOf(` ${eventText(event)}`))
    expect(new Set(starts).size).toBe(1)
  })

  it('is cut at the width of a terminal and nowhere else', () => {
    const long = sample('exec', { process: { pid: 1, exe: Buffer.from('/a'), args: [Buffer.from('x'.repeat(5000))] } })
    expect(compactLine(long, PLAIN)).toHaveLength(65 + 5000)
    const cut = compactLine(long, { color: false, columns: 100 })
    expect(cut).toHaveLength(100)
    expect(cut.endsWith('x…')).toBe(true)
  })

  it('has the same text with colour', () => {
    for (const event of allSamples()) {
      const colored = compactLine(event, { color: true, columns: 90 })
      expect(colored).toContain('\u001b[')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what colour is
      expect(colored.replace(/\u001b\[\d+m/g, '')).toBe(compactLine(event, { color: false, columns: 90 }))
    }
  })
})
