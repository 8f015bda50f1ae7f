import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execaSync } from 'execa'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { consumeEvents } from '../../../../src/cli/run/event-consumer.js'
import { openRecordFile } from '../../../../src/cli/run/open-record.js'
import type { RecordFile } from '../../../../src/cli/run/record-file.js'
import { Event, encodeBuffer, fromBigInt } from '../../../../src/proto/codec.js'
import { privileged } from '../../../support/privileged.js'
import { common, kinds } from '../sample-events.js'

const CHANGED = 'was changed or replaced by somebody else while the run wrote it'

function writeLines(file: RecordFile, lines: readonly string[]): Promise<number> {
  return file.write(Buffer.from(lines.map((line) => `${line}\n`).join('')), lines.length)
}

describe('the record file', () => {
  let dir = ''
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-record-'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  it('is private, holds whole lines, and drops what was there', async () => {
    const path = join(dir, 'r.jsonl')
    const file = openRecordFile(path, null)
    expect(await writeLines(file, ['{"a":1}', '{"b":"ü"}'])).toBe(2)
    expect(await writeLines(file, [])).toBe(0)
    await writeLines(file, ['{"c":3}'])
    await file.close()
    await file.close()
    expect(file.failure()).toBeNull()
    expect(readFileSync(path, 'utf8')).toBe('{"a":1}\n{"b":"ü"}\n{"c":3}\n')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    chmodSync(path, 0o640)
    await openRecordFile(path, null).close()
    expect(readFileSync(path, 'utf8')).toBe('')
    expect(statSync(path).mode & 0o777).toBe(0o640)
  })

  it('is never a link, a folder, a pipe or in a folder that is not there', () => {
    const target = join(dir, 'target')
    writeFileSync(target, 'kept')
    symlinkSync(target, join(dir, 'link'))
    symlinkSync(join(dir, 'nowhere'), join(dir, 'dangling'))
    mkdirSync(join(dir, 'folder'))
    execaSync('mkfifo', [join(dir, 'pipe')])
    const refusal = (name: string) => {
      try {
        openRecordFile(join(dir, name), null)
      } catch (error) {
        return error
      }
      throw new Error('it was not refused')
    }
    const says = (name: string, reason: string) =>
      expect(refusal(name)).toMatchObject({ code: 'IO', message: `--record ${dir}/${name}: ${reason}` })
    says('link', 'is a symbolic link; name the file itself')
    says('dangling', 'is a symbolic link; name the file itself')
    says('folder', 'is a directory')
    says('pipe', 'not a regular file')
    says('no/r', 'no such directory')
    expect(readFileSync(target, 'utf8')).toBe('kept')
  })

  const meddling: [string, (path: string) => void][] = [
    ['cut', (path) => truncateSync(path, 3)],
    ['cut and filled up again', (path) => writeFileSync(path, '{"forged":true}\n')],
    ['written to', (path) => appendFileSync(path, '{"forged":true}\n')],
    ['removed', (path) => rmSync(path)],
    [
      'replaced',
      (path) => {
        renameSync(path, `${path}.kept`)
        writeFileSync(path, readFileSync(`${path}.kept`))
      },
    ],
    [
      'replaced by a link to it',
      (path) => {
        renameSync(path, `${path}.kept`)
        symlinkSync(`${path}.kept`, path)
      },
    ],
  ]

  it.each(meddling)('says that it was %s by somebody else, at the latest when it is closed', async (_, meddle) => {
    const path = join(dir, 'r')
    const file = openRecordFile(path, null)
    await writeLines(file, ['{"a":1}'])
    meddle(path)
    expect(file.failure()).toBeNull()
    await file.close()
    expect(file.failure()).toEqual({ cause: CHANGED, missing: null })
  })

  it.each(meddling)('goes on when it was %s meanwhile, and says so', async (_, meddle) => {
    const path = join(dir, 'r')
    const file = openRecordFile(path, null)
    await writeLines(file, ['{"a":1}'])
    meddle(path)
    expect(await writeLines(file, ['{"b":2}'])).toBe(1)
    await file.close()
    expect(file.failure()).toEqual({ cause: CHANGED, missing: null })
  })

  it('is noticed by both of two runs that write to it, and holds no torn line', async () => {
    const path = join(dir, 'r')
    const one = openRecordFile(path, null)
    await writeLines(one, ['{"run":1}', '{"run":1}'])
    const two = openRecordFile(path, null)
    for (let round = 0; round < 5; round += 1) {
      await Promise.all([writeLines(one, ['{"run":1}', '{"run":1}']), writeLines(two, ['{"run":2}'])])
    }
    await one.close()
    await two.close()
    expect([one.failure()?.cause, two.failure()?.cause]).toEqual([CHANGED, CHANGED])
    const lines = readFileSync(path, 'utf8').trim().split('\n')
    expect(lines.map((line) => JSON.parse(line).run).sort()).toEqual([...Array(10).fill(1), ...Array(5).fill(2)])
  })

  const root = privileged('root')
  describe.skipIf(root.skip)(`as root ${root.reason}`, () => {
    const nobody = { name: 'nobody', uid: 65534, gid: 65534 }
    const nameless = { name: null, uid: 4_000_000, gid: 4_000_001 }
    const identity = () => [process.geteuid?.(), process.getegid?.(), process.getgroups?.()]

    it.each([nobody, nameless])('belongs to the user it is made for, and stays whose it was: $uid', async (user) => {
      const path = join(dir, 'r')
      chmodSync(dir, 0o777)
      const before = identity()
      await openRecordFile(path, user).close()
      expect(statSync(path)).toMatchObject({ uid: user.uid, gid: user.gid })
      await openRecordFile(path, null).close()
      expect(statSync(path)).toMatchObject({ uid: user.uid, gid: user.gid })
      expect(identity()).toEqual(before)
    })

    it('is opened with no more rights than its user has, and ours are back afterwards', () => {
      const before = identity()
      const others = join(dir, 'others')
      mkdirSync(others, { mode: 0o700 })
      writeFileSync(join(others, 'file'), 'kept', { mode: 0o600 })
      chmodSync(dir, 0o777)
      symlinkSync(others, join(dir, 'way'))
      writeFileSync(join(dir, 'read-only'), 'kept', { mode: 0o644 })
      for (const name of ['others/new', 'others/file', 'way/new', 'way/file', 'read-only']) {
        expect(() => openRecordFile(join(dir, name), nobody)).toThrow(`${name}: permission denied`)
        expect(identity()).toEqual(before)
      }
      expect(readFileSync(join(others, 'file'), 'utf8')).toBe('kept')
      expect(readFileSync(join(dir, 'read-only'), 'utf8')).toBe('kept')
    })

    it('is opened without a group of ours', () => {
      chmodSync(dir, 0o777)
      writeFileSync(join(dir, 'of-root'), 'kept', { mode: 0o660 })
      chownSync(join(dir, 'of-root'), 1, 0)
      expect(() => openRecordFile(join(dir, 'of-root'), nameless)).toThrow('permission denied')
    })

    it('says that a place is read-only', async () => {
      await withTmpfs('ro', (place) => {
        expect(() => openRecordFile(join(place, 'r'), null)).toThrow(
          expect.objectContaining({
            message: `--record ${place}/r: is on a read-only file system`,
            hint: 'choose another place',
          }),
        )
      })
    })

    it('keeps whole lines and the count of the others when the disk is full', async () => {
      await withTmpfs('size=64k', async (place) => {
        const path = join(place, 'r')
        const file = openRecordFile(path, null)
        const line = 'x'.repeat(999)
        expect(
          await writeLines(
            file,
            Array.from({ length: 40 }, () => line),
          ),
        ).toBe(40)
        expect(file.failure()).toBeNull()
        const more = await writeLines(
          file,
          Array.from({ length: 40 }, () => line),
        )
        expect(await writeLines(file, [line, line])).toBe(0)
        const held = readFileSync(path, 'utf8')
        expect(held).toBe(`${line}\n`.repeat(40 + more))
        expect(more).toBeGreaterThan(0)
        expect(file.failure()).toEqual({ cause: 'the disk is full (ENOSPC)', missing: 42 - more })
        expect(await file.writeLast('y'.repeat(5000))).toBe(false)
        expect(await file.writeLast('{}')).toBe(true)
        await file.close()
        expect(readFileSync(path, 'utf8')).toBe(`${held}{}\n`)
        expect(file.failure()?.missing).toBe(42 - more)
      })
    })

    // Lines of different lengths leave more or less of the last block.
    it.each([0, 60, 350, 3_000])(
      'ends with a gap that counts them where there is no room for it (%i)',
      async (padding) => {
        await withTmpfs('size=256k', async (place) => {
          const path = join(place, 'r')
          const record = openRecordFile(path, null)
          const consumer = consumeEvents(record, null)
          const padded = { ...common, ...kinds.exec, toolCallId: 'x'.repeat(padding) }
          const event = (seq: number): Buffer => encodeBuffer(Event, { ...padded, seq: fromBigInt(BigInt(seq)) })
          for (let seq = 1; seq <= 1000; seq += 10) {
            await consumer.consume(Array.from({ length: 10 }, (_, at) => event(seq + at)))
          }
          expect(record.failure()).toMatchObject({ cause: 'the disk is full (ENOSPC)' })
          const held = statSync(path).size
          expect(await consumer.writeGap('the disk is full (ENOSPC)', 1_800_000_000_000)).toBe(true)
          await record.close()
          const lines = readFileSync(path, 'utf8').trim().split('\n')
          const events = lines.map((line) => JSON.parse(line))
          expect(events.map((each) => each.seq)).toEqual(events.map((_, at) => String(at + 1)))
          const gap = events.at(-1)
          const before = events.at(-2)
          expect(gap).toMatchObject({ source: 'cli', sessionId: before.sessionId, sandbox: before.sandbox })
          expect(gap.gap).toMatchObject({ stage: 'SINK', exact: true, count: String(1000 - events.length + 1) })
          expect(gap.gap.from).toBe(before.time)
          expect(record.failure()).toEqual({ cause: 'the disk is full (ENOSPC)', missing: 1000 - events.length + 1 })
          expect(statSync(path).size).toBeGreaterThan(held - 32 * 1024)
        })
      },
    )

    async function withTmpfs(options: string, body: (place: string) => Promise<void> | void): Promise<void> {
      const place = join(dir, 'place')
      mkdirSync(place)
      execaSync('mount', ['-t', 'tmpfs', '-o', options, 'none', place])
      try {
        await body(place)
      } finally {
        execaSync('umount', [place])
      }
    }
  })
})
