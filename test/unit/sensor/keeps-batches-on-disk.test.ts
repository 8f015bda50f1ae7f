import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLog } from '../../../src/base/log.js'
import { Spool } from '../../../src/sensor/spool.js'
import { type BatchFrame, KINDS_MAX, RECORD_HEAD_BYTES } from '../../../src/sensor/spool-record.js'
import { withTempDir } from '../../support/sluice-run.js'

const log = createLog({ role: 'test', level: 'silent' })
const MB = 1024 * 1024

function frame(seq: number, bytes = 1000): BatchFrame {
  const kinds = new Uint32Array(KINDS_MAX)
  kinds[1] = seq
  kinds[4] = 1
  return { seq, kinds, bytes: Buffer.alloc(bytes, seq) }
}

function readAll(spool: Spool, from = 1): number[] {
  const seqs: number[] = []
  for (let found = spool.read(from); found !== null; found = spool.read(found.seq + 1)) {
    expect(found.bytes.equals(frame(found.seq, found.bytes.length).bytes)).toBe(true)
    seqs.push(found.seq)
  }
  return seqs
}

const row = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, n) => first + n)
const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)

describe('the spool', () => {
  it('gives back what it was given, in order, again after a restart and while it grows', async () => {
    await withTempDir(async (dir) => {
      const spool = new Spool({ dir: join(dir, 'spool'), bytesMax: 64 * MB, log })
      for (const seq of row(1, 50)) spool.append(frame(seq))
      expect(readAll(spool)).toEqual(row(1, 50))
      spool.append(frame(51))
      expect(readAll(spool, 50)).toEqual([50, 51])
      expect(readAll(spool)).toEqual(row(1, 51))
      spool.close()
      const again = new Spool({ dir: join(dir, 'spool'), bytesMax: 64 * MB, log })
      expect([again.first, again.last]).toEqual([1, 51])
      again.append(frame(52))
      expect(readAll(again)).toEqual(row(1, 52))
      expect(statSync(join(dir, 'spool')).mode & 0o777).toBe(0o700)
    })
  })

  it('forgets what is not needed any more, and its files', async () => {
    await withTempDir(async (dir) => {
      const spool = new Spool({ dir, bytesMax: MB, log })
      for (const seq of row(1, 200)) spool.append(frame(seq))
      spool.forget(150)
      expect(readAll(spool, 151)).toEqual(row(151, 200))
      expect(spool.first).toBe(151)
      spool.forget(200)
      expect([spool.first, spool.last, spool.bytes]).toEqual([0, 0, 0])
      expect(readdirSync(dir)).toEqual([])
      spool.append(frame(201))
      expect(readAll(spool)).toEqual([201])
    })
  })

  it('drops the oldest when it is full, and counts what it dropped by kind, exactly', async () => {
    await withTempDir(async (dir) => {
      const spool = new Spool({ dir, bytesMax: MB, log })
      const count = 2_500
      for (const seq of row(1, count)) spool.append(frame(seq))
      expect(spool.bytes).toBeLessThanOrEqual(MB)
      const files = readdirSync(dir).map((name) => statSync(join(dir, name)).size)
      expect(sum(files)).toBe(spool.bytes)
      const kept = readAll(spool)
      expect(kept).toEqual(row(spool.first, count))
      const [dropped, ...more] = spool.dropped
      expect(more).toEqual([])
      expect([dropped?.first, dropped?.last]).toEqual([1, spool.first - 1])
      expect(dropped?.kinds[4]).toBe(spool.first - 1)
      expect(dropped?.kinds[1]).toBe(sum(row(1, spool.first - 1)))
    })
  })

  it('keeps apart what an engine may have taken, so that its word still makes the count right', async () => {
    await withTempDir(async (dir) => {
      const spool = new Spool({ dir, bytesMax: MB, log })
      spool.append(frame(1))
      spool.sentUpTo = 30
      for (const seq of row(2, 2_500)) spool.append(frame(seq))
      spool.forget(25)
      expect(spool.dropped[0]?.first).toBe(26)
      const counted = sum(spool.dropped.map(({ kinds }) => kinds[4] ?? 0))
      expect(counted).toBe(spool.first - 1 - 25)
      expect(spool.dropped.length).toBe(30 - 25 + 1)
    })
  })

  it('counts what a full disk does not take, and takes more when there is room again', async () => {
    await withTempDir(async (dir) => {
      const at = join(dir, 'spool')
      const spool = new Spool({ dir: at, bytesMax: MB, log })
      for (const seq of row(1, 10)) spool.append(frame(seq))
      // A directory that is gone takes no file either.
      spool.forget(10)
      rmSync(at, { recursive: true })
      for (const seq of row(11, 20)) spool.append(frame(seq))
      expect(spool.dropped.map(({ first, last }) => [first, last])).toEqual([[11, 20]])
      expect(spool.dropped[0]?.kinds[1]).toBe(sum(row(11, 20)))
      const back = new Spool({ dir: at, bytesMax: MB, log })
      back.close()
      spool.append(frame(21))
      expect(readAll(spool)).toEqual([21])
    })
  })

  it('loses a torn end and nothing before it', async () => {
    await withTempDir(async (dir) => {
      const size = RECORD_HEAD_BYTES + 1000
      for (const cut of [1, 500, 1000, size - 1]) {
        rmSync(dir, { recursive: true })
        const spool = new Spool({ dir, bytesMax: 64 * MB, log })
        for (const seq of row(1, 5)) spool.append(frame(seq))
        spool.close()
        const path = join(dir, readdirSync(dir)[0] ?? '')
        const fd = openSync(path, 'r+')
        ftruncateSync(fd, 5 * size - cut)
        closeSync(fd)
        const again = new Spool({ dir, bytesMax: 64 * MB, log })
        expect(readAll(again)).toEqual(row(1, 4))
        again.append(frame(6))
        expect(readAll(again)).toEqual([1, 2, 3, 4, 6])
      }
    })
  })

  it('never gives back a byte that was not written, whatever happened to its files', async () => {
    await withTempDir(async (dir) => {
      const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 20 })
      fc.assert(
        fc.property(damage, fc.option(fc.nat()), (flips, cut) => {
          rmSync(dir, { recursive: true, force: true })
          const spool = new Spool({ dir, bytesMax: 64 * MB, log })
          for (const seq of row(1, 8)) spool.append(frame(seq, 40 * seq))
          spool.close()
          const path = join(dir, readdirSync(dir)[0] ?? '')
          const bytes = readFileSync(path)
          for (const [at, mask] of flips) bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ mask
          writeFileSync(path, cut === null ? bytes : bytes.subarray(0, cut % bytes.length))
          const again = new Spool({ dir, bytesMax: 64 * MB, log })
          const seqs = readAll(again)
          expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b))
          again.append(frame(9, 40))
          expect(readAll(again).at(-1)).toBe(9)
        }),
        { numRuns: 200 },
      )
    })
  })
})
