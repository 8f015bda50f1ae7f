/** The spool: what was flushed is read in order whatever happens to its writer, and what is missing is counted in its place. */
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLog } from '../../../../src/base/log.js'
import { SqliteFile } from '../../../../src/base/sqlite-file.js'
import { prepareSpool } from '../../../../src/engine/spool/open-spool.js'
import { SPOOL_FILE, spoolForm } from '../../../../src/proto/spool/spool-form.js'
import { SpoolReader } from '../../../../src/sinks/spool-reader.js'
import { detected, opened, SpoolRig, seqs, total } from './spool-rig.js'

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => String(from + at))

describe('a spool', () => {
  let rig: SpoolRig
  beforeEach(() => {
    rig = new SpoolRig()
  })
  afterEach(() => {
    vi.useRealTimers()
    rig.remove()
  })
  const path = () => join(rig.folder, SPOOL_FILE)

  it('gives what was flushed, in order, from any place on', () => {
    const spool = rig.open()
    for (let seq = 1; seq <= 3_000; seq++) spool.append(seq % 700 === 0 ? detected('a', seq) : opened('a', seq))
    spool.flush()
    const { events, place } = rig.read()
    expect(seqs(events)).toEqual(numbers(1, 3_000))
    spool.append(opened('a', 3_001))
    expect(rig.read(place).events).toEqual([])
    spool.flush()
    expect(seqs(rig.read(place).events)).toEqual(['3001'])
    expect(seqs(rig.read({ spoolId: place?.spoolId ?? '', position: 2_999 }).events)).toEqual(numbers(2_999, 3_001))
  })

  it('is gone on with by the next engine, which puts in nothing twice', () => {
    const first = rig.open()
    for (let seq = 1; seq <= 50; seq++) first.append(opened('a', seq))
    first.flush()
    // As after kill -9: nobody closed it, and the sensor gives the last ones again.
    const second = rig.open()
    for (let seq = 31; seq <= 60; seq++) second.append(opened('a', seq))
    second.flush()
    expect(seqs(rig.read().events)).toEqual(numbers(1, 60))
  })

  it('sheds the oldest telemetry and says of which session how much, never a detection', () => {
    const spool = rig.open({ bytesMax: 512 * 1024 })
    spool.append(detected('a', 1))
    for (let seq = 2; seq <= 4_000; seq++) spool.append(opened(seq % 2 === 0 ? 'a' : 'b', seq, 500))
    spool.append(detected('a', 4_001))
    spool.flush()
    const { events } = rig.read()
    expect(total(events)).toBe(4_001)
    expect(events.filter((event) => 'detection' in event).map(({ seq }) => seq)).toEqual(['1', '4001'])
    const gaps = events.flatMap((event) => ('gap' in event ? [event] : []))
    expect(new Set(gaps.map(({ sessionId }) => sessionId))).toEqual(new Set(['a', 'b']))
    expect(gaps[0]).toMatchObject({
      source: 'spool',
      sandbox: { id: 'sb-a' },
      seq: '2',
      gap: { stage: 'SPOOL', exact: true },
    })
    expect(rig.read().events.map(({ uid }) => uid)).toEqual(events.map(({ uid }) => uid))
    expect(spool.bytesKept).toBeLessThanOrEqual(512 * 1024)
    expect(statSync(path()).size).toBeLessThan(3 * 1024 * 1024)
  })

  it('tells a sink that had a part of what went how many it lacks, exactly', () => {
    const spool = rig.open({ bytesMax: 512 * 1024 })
    for (let seq = 1; seq <= 10; seq++) spool.append(opened('a', seq, 500))
    spool.flush()
    const place = { spoolId: rig.read().place?.spoolId ?? '', position: 6 }
    for (let seq = 11; seq <= 4_000; seq++) spool.append(opened('a', seq, 500))
    spool.flush()
    const { events } = rig.read(place)
    expect(total(events)).toBe(3_995)
    expect(seqs(events).at(-1)).toBe('4000')
  })

  it('keeps a share for detections that telemetry can’t take, and is bounded even by them', () => {
    const spool = rig.open({ bytesMax: 128 * 1024 })
    for (let seq = 1; seq <= 4_000; seq++) spool.append(detected('a', seq))
    spool.flush()
    expect(spool.bytesKept).toBeLessThanOrEqual(128 * 1024)
    expect(total(rig.read().events)).toBe(4_000)
  })

  it('forgets what every sink has, and what is too old', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'Date'] })
    const spool = rig.open({ ageMaxMs: 60_000 })
    for (let seq = 1; seq <= 10; seq++) spool.append(opened('a', seq))
    spool.flush()
    const { place } = rig.read()
    if (place === null) throw new Error('nothing was read')
    rig.acknowledge({ ...place, position: 5 })
    vi.advanceTimersByTime(1_000)
    expect(spool.bytesKept).toBeGreaterThan(0)
    rig.acknowledge(place)
    vi.advanceTimersByTime(1_000)
    expect(spool.bytesKept).toBe(0)
    spool.append(opened('a', 11))
    spool.append(detected('a', 12))
    spool.flush()
    vi.advanceTimersByTime(120_000)
    spool.append(opened('a', 13))
    spool.flush()
    expect(seqs(rig.read(place).events)).toEqual(['gap 1', '12', '13'])
  })

  it('goes on as ever when the clock is set back, and keeps nothing for longer by it than it may', () => {
    vi.useFakeTimers({ toFake: ['setInterval'] })
    const HOUR_MS = 3_600_000
    let nowMs = 1_000 * HOUR_MS
    const spool = rig.open({ ageMaxMs: HOUR_MS, nowMs: () => nowMs })
    const give = (seq: number) => {
      spool.append(opened('a', seq))
      spool.flush()
      vi.advanceTimersByTime(1_000)
    }
    give(1)
    nowMs -= 24 * HOUR_MS
    give(2)
    expect(seqs(rig.read().events)).toEqual(['1', '2'])
    nowMs += HOUR_MS / 2
    give(3)
    expect(seqs(rig.read().events)).toEqual(['1', '2', '3'])
    // Of its 24 hours that never were nothing is left.
    nowMs += 0.6 * HOUR_MS
    give(4)
    expect(seqs(rig.read().events)).toEqual(['gap 2', '3', '4'])
  })
})

describe('a spool whose file is', () => {
  let rig: SpoolRig
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'setTimeout', 'clearTimeout', 'performance'] })
    rig = new SpoolRig()
  })
  afterEach(() => {
    vi.useRealTimers()
    rig.remove()
  })
  const path = () => join(rig.folder, SPOOL_FILE)

  it('removed while it is used: a new one goes on, and sinks are told how many they lack', () => {
    const spool = rig.open()
    for (let seq = 1; seq <= 10; seq++) spool.append(opened('a', seq))
    spool.flush()
    const place = { spoolId: rig.read().place?.spoolId ?? '', position: 4 }
    for (const log of ['', '-wal', '-shm']) rmSync(`${path()}${log}`)
    spool.append(opened('a', 11))
    vi.advanceTimersByTime(1_000)
    expect(seqs(rig.read(place).events)).toEqual(['gap 7', '11'])
  })

  it('removed while no engine runs: sinks are told that something is missing', () => {
    const first = rig.open()
    first.append(opened('a', 1))
    first.stop()
    const { place } = rig.read()
    rmSync(path())
    const second = rig.open()
    second.append(opened('a', 2))
    second.flush()
    const { events } = rig.read(place)
    expect(seqs(events)).toEqual(['gap 0', '2'])
    expect(events[0]).toMatchObject({ gap: { exact: false, cause: expect.stringContaining('begun anew') } })
  })

  it('overwritten: it is put aside', () => {
    rig.open().stop()
    // By these it would be whole again.
    for (const log of ['-wal', '-shm']) rmSync(`${path()}${log}`, { force: true })
    writeFileSync(path(), Buffer.alloc(8_192, 'x'))
    const spool = rig.open()
    spool.append(opened('a', 1))
    spool.flush()
    expect(seqs(rig.read().events)).toEqual(['1'])
    expect(statSync(`${path()}.bad`).size).toBe(8_192)
  })

  it('cut while it is used: what it had is missing, what comes is there', () => {
    const spool = rig.open()
    for (let seq = 1; seq <= 2_000; seq++) spool.append(opened('a', seq, 200))
    spool.flush()
    spool.stop()
    const again = rig.open()
    truncateSync(path(), 16_384)
    for (let seq = 2_001; seq <= 4_000; seq++) {
      again.append(opened('a', seq, 200))
      if (seq % 200 === 0) again.flush()
      if (seq % 500 === 0) vi.advanceTimersByTime(1_000)
    }
    const { events } = rig.read()
    expect(seqs(events)).toContain('4000')
    expect(rig.problems.filter((problem) => problem !== 'well').length).toBeLessThanOrEqual(2)
  })

  it('that can’t be read for a moment is waited for: nothing of it counts as missing', () => {
    // More than a reader keeps in memory.
    const spool = rig.open({ bytesMax: 32 * 1024 * 1024 })
    for (let seq = 1; seq <= 3_000; seq++) spool.append(opened('a', seq, 2_000))
    spool.flush()
    const { place } = rig.read()
    spool.stop()
    intoTheFile(path())
    const problems: (string | null)[] = []
    const reader = new SpoolReader(rig.folder, (problem) => problems.push(problem))
    const from = { spoolId: place?.spoolId ?? '', position: 1 }
    // It is open and knows where the spool ends, and then the disk gives something else for the events.
    expect(reader.ends()).not.toBeNull()
    const page = pageOf(path(), 'chunk')
    const before = readFileSync(path())
    writeFileSync(path(), Buffer.from(before).fill(0xff, page))
    expect(reader.read(from)).toBeNull()
    expect(problems).toHaveLength(1)
    writeFileSync(path(), before)
    const { events } = reader.read(from) ?? { events: [] }
    expect(events.length).toBeGreaterThan(100)
    expect(seqs(events.map(({ json }) => json))).toEqual(numbers(1, events.length))
    expect(problems.at(-1)).toBeNull()
    reader.close()
  })

  it('with something else in the place of a part: that part is missing, and no other', () => {
    const spool = rig.open()
    for (let seq = 1; seq <= 3_000; seq++) spool.append(opened('a', seq))
    spool.flush()
    spool.stop()
    const file = SqliteFile.open(path(), spoolForm(1024 * 1024), () => {})
    file.sql('UPDATE chunk SET body = ? WHERE first = 1025').run(Buffer.alloc(100, 0xff))
    file.close()
    expect(seqs(rig.read().events)).toEqual([...numbers(1, 1_024), 'gap 1024', ...numbers(2_049, 3_000)])
  })

  it('not to be had when the engine starts: it is tried until it is, and what there was no room for is counted', () => {
    const log = createLog({ role: 'test', level: 'silent' })
    const spool = prepareSpool({ dir: rig.folder, bytesMax: 8 * 1024 * 1024, ageMaxMs: 3_600_000 }, null, log)
    rmSync(rig.folder, { recursive: true })
    spool.open()
    for (let seq = 1; seq <= 10_000; seq++) spool.append(opened('a', seq))
    vi.advanceTimersByTime(1_000)
    expect(rig.read().events).toEqual([])
    expect(spool.problem).toContain('spool.db')
    expect(spool.numbers).toMatchObject({ events: 8_192, missed: 1_808 })
    rig.remake()
    vi.advanceTimersByTime(1_000)
    spool.append(opened('a', 10_001))
    spool.passedOn()
    expect(spool.problem).toBeNull()
    expect(spool.numbers).toMatchObject({ events: 8_193, missed: 1_808, shed: 0 })
    spool.stop()
    const { events } = rig.read()
    expect(total(events)).toBe(10_001)
    expect(seqs(events).slice(-3)).toEqual(['8192', 'gap 1808', '10001'])
    expect(events.find((event) => 'gap' in event)).toMatchObject({ gap: { stage: 'SPOOL', exact: true } })
  })

  it('not to be had for a while: what it could not take is counted, and the rest comes when it can', () => {
    const spool = rig.open({ waitingBytesMax: 512 * 1024 })
    spool.append(opened('a', 1))
    spool.flush()
    const { place } = rig.read()
    for (const log of ['', '-wal', '-shm']) rmSync(`${path()}${log}`)
    rmSync(rig.folder, { recursive: true })
    vi.advanceTimersByTime(1_000)
    spool.append(detected('a', 2))
    for (let seq = 3; seq <= 5_000; seq++) spool.append(opened('a', seq, 200))
    spool.flush()
    expect(spool.lost).toBeGreaterThan(1_000)
    rig.remake()
    vi.advanceTimersByTime(2_000)
    const { events } = rig.read(place)
    expect(total(events)).toBe(4_999)
    expect(seqs(events)[0]).toBe('2')
    expect(seqs(events).at(-1)).toBe('5000')
    expect(events.find((event) => 'gap' in event)).toMatchObject({
      sessionId: 'a',
      gap: { cause: expect.stringContaining('could not be written') },
    })
  })
})

/** Out of the log beside it. */
function intoTheFile(path: string): void {
  const file = SqliteFile.open(path, spoolForm(1024 * 1024), () => {})
  file.sql('PRAGMA wal_checkpoint(TRUNCATE)').get()
  file.close()
}

/** Where in the file the first page of a table is. */
function pageOf(path: string, table: string): number {
  const file = SqliteFile.read(path, spoolForm(0))
  const found = file.sql('SELECT rootpage FROM sqlite_schema WHERE name = ?').get(table)
  file.close()
  return (Number(found?.rootpage) - 1) * 4_096
}
