/**
 * A journal that another engine goes on with: what was settled stays, what was not is taken back where it comes again, what is half written is cut and
 * told, and what can't be had is told with its number. Keys and retention besides.
 */
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../../src/base/log.js'
import { loadJournalKey } from '../../../../src/engine/journal/journal-keys.js'
import { Retention } from '../../../../src/engine/journal/retention.js'
import { type IEvent, toBigInt } from '../../../../src/proto/codec.js'
import { verifyJournal } from '../../../../src/proto/journal/verify-journal.js'
import { endOf, eventOf, JournalRig, sessionId } from './journal-rig.js'

const A = sessionId('goes on')
let rig: JournalRig

beforeEach(() => {
  rig = new JournalRig()
})
afterEach(() => rig.remove())

/** Events `from` to `to` by an engine that is killed then: only what was up to `settled` is for good. */
function written(from: number, to: number, settled: number): void {
  const journal = rig.open({ isResumable: true })
  for (let seq = from; seq <= to; seq++) {
    journal.append(eventOf(A, seq))
    if (seq !== settled) continue
    rig.nowMs += 10_000
    journal.passedOn().kept()
  }
  journal.flush()
}

function events(): IEvent[] {
  const found: IEvent[] = []
  verifyJournal({
    ...{ folder: rig.folderOf(A), sessionId: A, keys: rig.key.keys },
    onEvent: (event) => void found.push(event),
  })
  return found
}

/** Numbers of its events, and of its gaps as text. */
const told = () =>
  events().map(({ seq, gap }) => (gap ? `${toBigInt(gap.count)} before ${toBigInt(seq) + 1n}` : Number(toBigInt(seq))))

function ended(from: number, to: number): void {
  const journal = rig.open({ isResumable: true })
  for (let seq = from; seq < to; seq++) journal.append(eventOf(A, seq, `anew ${seq}`))
  journal.append(endOf(A, to))
  journal.passedOn().kept()
  journal.stop()
}

describe('what another engine goes on with', () => {
  it('is what readers have: what comes again is taken back', () => {
    written(1, 20, 10)
    expect(rig.verify(A)).toMatchObject({ state: 'OPEN', records: 20n, proved: 10n })
    ended(14, 16)
    expect(told()).toEqual(Array.from({ length: 16 }, (_, n) => n + 1))
    expect(rig.verify(A)).toMatchObject({ state: 'SEALED', records: 16n, lost: 0n })
    expect(String(events()[13]?.fileOpen?.userPath)).toBe('anew 14')
    expect(rig.verify(A, { witness: rig.checkpoints })).toMatchObject({
      state: 'SEALED',
      witnessed: rig.checkpoints.length,
    })
  })

  it('is never taken back where a checkpoint vouches for it: that is told', () => {
    written(1, 20, 20)
    ended(5, 6)
    expect(told()).toEqual([...Array.from({ length: 20 }, (_, n) => n + 1), '0 before 5', 5, 6])
    expect(rig.verify(A)).toMatchObject({ state: 'SEALED', proved: 23n })
  })

  it('lacks what nobody has any more, and says how much', () => {
    written(1, 10, 10)
    ended(15, 16)
    expect(told()).toEqual([...Array.from({ length: 10 }, (_, n) => n + 1), '4 before 15', 15, 16])
    expect(rig.verify(A)).toMatchObject({ state: 'SEALED', lost: 4n })
  })

  it.each([1, 7, 30])('loses what was half written, and says so: %s bytes cut', (bytes) => {
    written(1, 20, 10)
    const file = join(rig.folderOf(A), '000001.journal')
    truncateSync(file, statSync(file).size - bytes)
    const { state, records, tornBytes } = rig.verify(A)
    expect({ state, records }).toEqual({ state: 'OPEN', records: 10n })
    expect(tornBytes).toBeGreaterThan(0)
    ended(11, 12)
    expect(told()).toEqual([...Array.from({ length: 10 }, (_, n) => n + 1), '0 before 11', 11, 12])
    expect(events()[10]?.gap?.cause).toContain('were cut')
    expect(rig.verify(A)).toMatchObject({ state: 'SEALED', tornBytes: 0 })
  })

  it('puts aside what no writer wrote, and goes on before it', () => {
    written(1, 20, 20)
    const file = join(rig.folderOf(A), '000001.journal')
    const { size } = statSync(file)
    truncateSync(file, 100)
    appendFileSync(file, Buffer.alloc(size - 100))
    expect(rig.verify(A)).toMatchObject({ state: 'BAD', problem: { record: 1n } })
    ended(21, 22)
    expect(statSync(`${file}.cut`).size).toBe(size)
    expect(told()).toEqual(['20 before 21', 21, 22])
    // What was vouched for before is not forgotten by who kept it.
    expect(rig.verify(A, { witness: rig.checkpoints })).toMatchObject({ state: 'BAD' })
  })

  it('takes nothing behind its seal', () => {
    ended(1, 5)
    const journal = rig.open({ isResumable: true })
    journal.append(eventOf(A, 6))
    journal.stop()
    expect(journal.lost).toBe(1n)
    expect(rig.verify(A)).toMatchObject({ state: 'SEALED', records: 5n })
  })
})

describe('the key', () => {
  it('is made once, for its owner alone, with its public half beside it', () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-key-'))
    try {
      const key = loadJournalKey(dir)
      expect(statSync(join(dir, 'journal.key')).mode & 0o777).toBe(0o600)
      expect(readdirSync(dir).sort()).toEqual([`${key.keyId}.pub`, 'journal.key'])
      expect(loadJournalKey(dir).keyId).toBe(key.keyId)
      chmodSync(join(dir, 'journal.key'), 0o640)
      expect(() => loadJournalKey(dir)).toThrow('readable for its owner alone')
      // Rotated: the old public half stays.
      rmSync(join(dir, 'journal.key'))
      expect(loadJournalKey(dir).keyId).not.toBe(key.keyId)
      expect(readdirSync(dir)).toHaveLength(3)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})

describe('what is kept', () => {
  it('goes by age, then by size from the oldest on; never what is written, was just now, or is reviewed', async () => {
    const now = Date.now()
    const hours = (id: string, ago: number, more: { bytes?: number; review?: readonly string[] } = {}) => {
      const folder = rig.folderOf(sessionId(id))
      mkdirSync(folder)
      const file = join(folder, '000001.journal')
      writeFileSync(file, Buffer.alloc(more.bytes ?? 10))
      utimesSync(file, (now - ago * 3_600_000) / 1_000, (now - ago * 3_600_000) / 1_000)
      const lines = (more.review ?? []).map((act) => JSON.stringify({ time: '', by: 'a', act, note: '' }))
      if (lines.length > 0) writeFileSync(join(folder, 'review.jsonl'), `${lines.join('\n')}\n`)
    }
    hours('too old', 49)
    hours('reviewed', 49, { review: ['KEEP', 'READ'] })
    hours('read', 49, { review: ['READ'] })
    hours('done', 49, { review: ['KEEP', 'DONE', 'READ'] })
    hours('in use', 49)
    hours('oldest', 30, { bytes: 600 })
    hours('older', 20, { bytes: 600 })
    hours('new', 0.5, { bytes: 600 })
    const retention = new Retention({
      ...{ folder: rig.folder, keepDays: 2, keepBytes: 1_300, log: createLog({ role: 'test', level: 'silent' }) },
      ...{ isInUse: (id) => id === sessionId('in use'), nowUnixMs: () => now },
    })
    const gone = ['too old', 'oldest', 'read', 'done'].map(sessionId).sort()
    expect((await retention.look()).sort()).toEqual(gone)
    expect(readdirSync(rig.folder)).toHaveLength(4)
  })
})
