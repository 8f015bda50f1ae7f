import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LINE_BYTES_MAX, readLines } from '../../../../src/base/read-lines.js'
import { compactLine } from '../../../../src/cli/compact-line.js'
import { readRecordedEvent } from '../../../../src/cli/events/recorded-event.js'
import { ocsfProblems } from '../../../support/ocsf-schema.js'
import { SLUICE_BIN } from '../../../support/sluice-run.js'
import { allSamples, sample } from '../sample-events.js'

const DEADLINE_MS = 20_000
const line = (kind: Parameters<typeof sample>[0]) => JSON.stringify(sample(kind))

describe('the events command', () => {
  let dir = ''
  let file = ''
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-events-'))
    file = join(dir, 'r.jsonl')
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  const sluice = (args: string[], input?: string) =>
    execa(SLUICE_BIN, ['events', ...args], {
      reject: false,
      timeout: DEADLINE_MS,
      ...(input === undefined ? {} : { input }),
    })

  it('names, skips and counts a bad line', async () => {
    const lines = [
      line('exec'),
      '{"half": ',
      '{}',
      '',
      line('exit').replace('"runtimeMs":"12"', '"runtimeMs":12'),
      line('gap'),
    ]
    writeFileSync(file, `${lines.join('\n')}\n`)
    const result = await sluice([file])
    expect(result.exitCode).toBe(0)
    expect(result.stdout.split('\n')).toEqual(
      [sample('exec'), sample('gap')].map((event) => compactLine(event, { color: false, columns: null })),
    )
    const messages = result.stderr.split('\n')
    expect(messages).toHaveLength(4)
    expect(messages[0]).toMatch(`sluice: ${file}:2: not JSON`)
    expect(messages[1]).toBe(`sluice: ${file}:3: not an event: schema is missing; skipped`)
    expect(messages[2]).toBe(
      `sluice: ${file}:5: not an event: exit.runtimeMs: Invalid input: expected string, received number; skipped`,
    )
    expect(messages[3]).toBe('sluice: 3 bad lines skipped')
  })

  it('passes JSON through as it is, filtered, from stdin, the last of it', async () => {
    const lines = allSamples().map((event) => JSON.stringify({ ...event, added: 'later' }))
    const result = await sluice(['-o', 'json', '--type', 'connect,exit', '--last', '3', '-'], lines.join('\n'))
    expect(result).toMatchObject({ exitCode: 0, stderr: '' })
    const wanted = [sample('killed'), sample('connect'), sample('denied')]
    expect(result.stdout.split('\n')).toEqual(wanted.map((event) => JSON.stringify({ ...event, added: 'later' })))
  })

  it('gives each event as OCSF that the schema takes, and skips what is none', async () => {
    const samples = allSamples().map((event) => JSON.stringify(event))
    const lacking = JSON.stringify({ ...sample('exec'), exec: undefined, fileOpen: {} })
    const result = await sluice(['-o', 'ocsf', '-'], [...samples, lacking].join('\n'))
    const events = result.stdout.split('\n').map((text) => JSON.parse(text))
    expect(events.flatMap(ocsfProblems)).toEqual([])
    expect(events).toHaveLength(samples.length)
    expect(result.stderr).toContain('1 bad line skipped')
  })

  it('ends quietly when its reader has seen enough', async () => {
    writeFileSync(file, `${line('exec')}\n`.repeat(20_000))
    const result = await execa(
      'bash',
      ['-c', `set -o pipefail; "$1" events "$2" | head -n 1`, 'sh', SLUICE_BIN, file],
      {
        ...{ reject: false, timeout: DEADLINE_MS },
      },
    )
    expect(result).toMatchObject({ exitCode: 0, stderr: '' })
    expect(result.stdout.split('\n')).toHaveLength(1)
  })

  it.each([
    [['--last', '0', 'f'], "sluice: --last is '0': it must be a number from 1 to 1000000"],
    [['-o', 'xml', 'f'], "sluice: -o is 'xml': it must be one of compact, json, ocsf"],
    [[], 'sluice: no recording is named, and an agent keeps none; sluice events -f shows live events'],
  ])('refuses %j', async (args, message) => {
    const result = await sluice(args)
    expect(result).toMatchObject({ exitCode: 2, stdout: '' })
    expect(result.stderr).toContain(message)
  })

  it('says that a file is not there', async () => {
    const path = join(dir, 'none')
    expect(await sluice([path])).toMatchObject({ exitCode: 1, stderr: `sluice: ${path}: no such file` })
  })

  it('follows a file as it grows, and says when it is cut', async () => {
    writeFileSync(file, 'a\nb')
    const seen: (string | null)[] = []
    const follow = async () => {
      for await (const read of readLines({ file, follow: true, signal: new AbortController().signal })) {
        seen.push(read.kind === 'line' ? read.text : 'caught up')
        if (read.kind === 'caughtUp') appendFileSync(file, 'c\nd\n')
        if (read.kind === 'line' && read.text === 'd') truncateSync(file, 0)
      }
    }
    await expect(follow()).rejects.toMatchObject({ message: `${file} was cut while it was followed` })
    expect(seen).toEqual(['a', 'caught up', 'bc', 'd'])
  })

  it('holds no line that is too long', async () => {
    writeFileSync(file, `one\n${'x'.repeat(LINE_BYTES_MAX + 1)}\ntwo`)
    const seen: (string | null)[] = []
    for await (const read of readLines({ file, follow: false, signal: new AbortController().signal })) {
      if (read.kind === 'line') seen.push(read.text)
    }
    expect(seen).toEqual(['one', null, 'two'])
  })

  it('never lets a line of a foreign shape reach the view', () => {
    const shapes = allSamples()
    fc.assert(
      fc.property(fc.constantFrom(...shapes), fc.nat(), fc.jsonValue(), (event, at, value) => {
        const mutated = mutate({ ...structuredClone(event) }, at, value)
        let read: ReturnType<typeof readRecordedEvent> | null = null
        try {
          read = readRecordedEvent(JSON.stringify(mutated))
        } catch (error) {
          expect(error).toMatchObject({ code: 'PROTOCOL' })
        }
        if (read !== null) expect(compactLine(read, { color: false, columns: null })).not.toContain('\n')
      }),
      { numRuns: 500 },
    )
  })
})

/** Puts `value` at the `at`th of all places of the object. */
function mutate(object: Record<string, unknown>, at: number, value: unknown): Record<string, unknown> {
  const places: [Record<string, unknown>, string][] = []
  const walk = (node: Record<string, unknown>) => {
    for (const [key, child] of Object.entries(node)) {
      places.push([node, key])
      if (typeof child === 'object' && child !== null) walk(child as Record<string, unknown>)
    }
  }
  walk(object)
  const [parent, key] = places[at % places.length] ?? [object, 'time']
  parent[key] = value
  return object
}
