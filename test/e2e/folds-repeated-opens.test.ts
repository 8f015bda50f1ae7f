/** Opens that only repeat are told together, to the last one; opens that differ in anything but their time never are. */
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { compileC } from '../support/c-program.js'
import { execs, expectComplete, openEvents, opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { startSluice, until } from '../support/sluice-process.js'
import { readRecord, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const TIMES = 1000
/** Each rename on the host, whoever makes it, costs an event a path. */
const FEW = 500

/** Makes the folder that folds.c expects. */
function prepare(outer: string): { program: string; dir: string } {
  const program = compileC('folds', outer)
  const dir = join(outer, 'w')
  for (const name of ['here', 'other', 'many']) mkdirSync(join(dir, name), { recursive: true })
  for (const name of ['a', 'here/f', 'here/linked', 'replaced']) writeFileSync(join(dir, name), 'x')
  for (let k = 0; k < 100; k++) writeFileSync(join(dir, 'many', String(k)), 'x')
  linkSync(join(dir, 'here/linked'), join(dir, 'other/linked'))
  symlinkSync('a', join(dir, 'link'))
  return { program, dir }
}

/** Runs one word of folds.c; what it opened below its folder, and what it missed. */
async function folds(word: string, times: number, exitCode = 0): Promise<{ dir: string; events: EventJson[] }> {
  return withTempDir(async (outer) => {
    const { program, dir } = prepare(outer)
    const run = await sluiceRun([program, word, String(times)], { cwd: dir })
    expect(run.exitCode, run.stderr).toBe(exitCode)
    expectComplete(run.events)
    return { dir, events: run.events }
  })
}

/** How many opens of each kind, by the given facts. */
function tally(events: EventJson[], facts: (event: ReturnType<typeof opens>[number]) => unknown[]) {
  const counts: Record<string, number> = {}
  for (const event of opens(events)) {
    const key = facts(event).join(' ')
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

const isLibrary = (event: EventJson) => 'fileOpen' in event && /^\/(etc\/ld|lib|usr)/.test(event.fileOpen.path)
const own = (events: EventJson[]) => events.filter((event) => !isLibrary(event))

describe.skipIf(skip)(`repeated opens ${reason}`, () => {
  test('are told at once for the first, and together for the rest', async () => {
    const { dir, events } = await folds('one', 500_000)
    const mine = openEvents(own(events))
    expect(opens(own(events)).length).toBe(500_000)
    expect(mine.length).toBeLessThan(10 * FEW)
    expect(mine[0]?.fileOpen.count).toBe('1')
    for (const [i, event] of mine.entries()) {
      expect(event.fileOpen).toMatchObject({ path: join(dir, 'a'), userPath: 'a', errno: 0, resolved: true })
      expect(event.time <= event.fileOpen.lastTime).toBe(true)
      expect(event.time > (mine[i - 1]?.fileOpen.lastTime ?? '')).toBe(true)
      const { time, seq, uid, fileOpen } = event
      expect({ ...event, time, seq, uid, fileOpen }).toEqual({ ...mine[0], time, seq, uid, fileOpen })
    }
    expect(new Set(events.map((event) => event.uid)).size).toBe(events.length)
    expect(events.at(-1)).toMatchObject({
      sandboxEnded: { summary: { filesOpened: String(opens(events).length), filesWritten: '0' } },
    })
  })

  test('are not those by another name, by other flags or by a link', async () => {
    const { dir, events } = await folds('unlike', TIMES)
    const path = join(dir, 'a')
    expect(tally(own(events), ({ fileOpen }) => [fileOpen.userPath, fileOpen.path, fileOpen.flags])).toEqual({
      [`a ${path} `]: TIMES,
      [`./a ${path} `]: TIMES,
      [`a ${path} O_CLOEXEC`]: TIMES,
      [`link ${path} `]: TIMES,
    })
  })

  test('that may write or create are told one by one', async () => {
    const { events } = await folds('writes', 100)
    expect(openEvents(own(events)).length).toBe(400)
  })

  test('that fail alike are folded as well', async () => {
    const { dir, events } = await folds('missing', TIMES)
    expect(openEvents(own(events)).length).toBeLessThan(FEW)
    expect(tally(own(events), ({ fileOpen }) => [fileOpen.userPath, fileOpen.path, fileOpen.errno])).toEqual({
      [`no-such-file ${join(dir, 'no-such-file')} 2`]: TIMES,
      '/no/such/file /no/such/file 2': TIMES,
      [`a/below-a-file ${join(dir, 'a/below-a-file')} 20`]: TIMES,
    })
  })

  test.each(['renamed', 'moved'])('have the path of their time where the directory is %s', async (word) => {
    const { dir, events } = await folds(word, 20)
    const [name, other] = word === 'renamed' ? ['f', 'there'] : ['linked', 'other']
    const half = 200
    expect(tally(own(events), ({ fileOpen }) => [fileOpen.path, fileOpen.errno])).toEqual({
      [`${join(dir, 'here', name)} 0`]: half,
      [`${join(dir, other, name)} 0`]: half,
      [`${join(dir, 'here/absent')} 2`]: half,
      [`${join(dir, other, 'absent')} 2`]: half,
    })
  })

  test('have the path of their time where a mount is moved', async () => {
    const { dir, events } = await folds('mounted', TIMES)
    const reads = own(events).filter((event) => 'fileOpen' in event && event.fileOpen.access === 'READ')
    expect(tally(reads, ({ fileOpen }) => [fileOpen.path])).toEqual({
      [join(dir, 'm1/f')]: TIMES,
      [join(dir, 'm2/f')]: TIMES,
    })
  })

  test('have the inode of their time', async () => {
    const { dir, events } = await folds('replaced', 20)
    const reads = openEvents(own(events)).filter((event) => event.fileOpen.access === 'READ')
    expect(new Set(reads.map((event) => event.fileOpen.path))).toEqual(new Set([join(dir, 'replaced')]))
    // Each file was read 20 times, then replaced; the last one was not read any more. A number can come again.
    const made = openEvents(own(events)).filter((event) => event.fileOpen.created)
    const files = [reads[0], ...made.slice(0, -1)].map((event) => event?.fileOpen.inode ?? '')
    const expected: Record<string, number> = {}
    for (const inode of files) expected[inode] = (expected[inode] ?? 0) + 20
    expect(tally(reads, ({ fileOpen }) => [fileOpen.inode])).toEqual(expected)
  })

  test('of more paths than are remembered are all counted', async () => {
    const { dir, events } = await folds('many', 50)
    const counts = tally(own(events), ({ fileOpen }) => [fileOpen.path])
    expect(Object.keys(counts).length).toBe(100)
    for (let k = 0; k < 100; k++) expect(counts[join(dir, 'many', String(k))]).toBe(50 * 50)
  })

  test('belong to the thread, the user, the parent and the program that made them', async () => {
    const { events: threads } = await folds('threads', TIMES)
    const byThread = tally(own(threads), ({ process }) => [process.tid])
    expect(Object.values(byThread)).toEqual(new Array(8).fill(TIMES))

    const { events: people } = await folds('other-people', TIMES)
    expect(tally(own(people), ({ process }) => [process.uid, process.gid])).toEqual({
      '0 0': TIMES,
      '0 12345': TIMES,
      '12345 12345': TIMES,
    })

    const { events: children } = await folds('children', TIMES)
    expect(Object.values(tally(own(children), ({ process }) => [process.execId]))).toEqual(new Array(4).fill(TIMES))
  })

  test.each(['execs', 'thread-execs'])('are told before the program is another one (%s)', async (word) => {
    const { events } = await folds(word, TIMES)
    const [first, second] = execs(events).map((event) => event.process.execId)
    const perThread = word === 'execs' ? 1 : 2
    expect(tally(own(events), ({ process }) => [process.execId])).toEqual({
      [first ?? '']: perThread * TIMES,
      [second ?? '']: TIMES,
    })
    const exec = events.findIndex((event) => event.process?.execId === second)
    expect(events.slice(exec).some((event) => event.process?.execId === first)).toBe(false)
  })

  test('of a process that is killed are told', async () => {
    const { events } = await folds('killed', TIMES, 137)
    expect(opens(own(events)).length).toBe(TIMES)
  })

  test('with a path too long to be remembered are told one by one', async () => {
    const { events } = await folds('long-path', 50)
    expect(openEvents(own(events)).filter(({ fileOpen }) => fileOpen.path === '/etc/passwd').length).toBe(50)
  })

  test('go on being told while they go on', async () => {
    const { events } = await folds('slow', 300)
    const mine = openEvents(own(events))
    expect(opens(own(events)).length).toBe(300)
    expect(mine.length).toBeGreaterThanOrEqual(3)
  })

  test('are told while their thread rests', async () => {
    await withTempDir(async (outer) => {
      const { program, dir } = prepare(outer)
      const run = startSluice([program, 'rests', String(TIMES)], { dir: outer, cwd: dir })
      const soFar = () => opens(own(wholeLines(run.record))).length
      await until('all are told though nothing more happens', () => soFar() === TIMES)
      writeFileSync(join(dir, 'go'), '')
      expect(await run.result).toMatchObject({ exitCode: 0 })
      const events = readRecord(run.record)
      expectComplete(events)
      expect(opens(own(events)).length).toBe(2 * TIMES)
    })
  })
})

/** Of a record that is still written. */
function wholeLines(path: string): EventJson[] {
  try {
    return readRecord(path)
  } catch {
    return []
  }
}
