/** A SQLite file of ours: whatever is at its path, there is one to work with behind it, and what was there is beside it. */
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isDamage, SqliteFile, type SqliteForm } from '../../../src/base/sqlite-file.js'

const FORM: SqliteForm = {
  ...{ applicationId: 7, version: 1, bytesMax: 1024 * 1024 },
  schema: ['CREATE TABLE t (x INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT', 'CREATE INDEX t_body ON t (body)'],
}

describe('a database file', () => {
  let folder = ''
  const dir = () => folder
  const path = () => join(folder, 'a.db')
  let file: SqliteFile | null = null
  beforeEach(() => {
    folder = mkdtempSync('/dev/shm/sluice-test-')
  })
  afterEach(() => {
    file?.close()
    file = null
    rmSync(folder, { recursive: true, force: true })
  })

  function open(form = FORM): { file: SqliteFile; aside: string[] } {
    const aside: string[] = []
    file?.close()
    file = SqliteFile.open(path(), form, (reason) => aside.push(reason))
    return { file, aside }
  }
  const add = (to: SqliteFile, body: string) => to.sql('INSERT INTO t (body) VALUES (?)').run(body)
  const bodies = (of: SqliteFile) =>
    of
      .sql('SELECT body FROM t ORDER BY x')
      .all()
      .map(({ body }) => body)

  it('is its owner’s alone, with all that belongs to it', () => {
    add(open().file, 'x')
    const names = readdirSync(dir()).sort()
    expect(names).toEqual(['a.db', 'a.db-shm', 'a.db-wal'])
    for (const name of names) expect(statSync(join(dir(), name)).mode & 0o777).toBe(0o600)
  })

  it('has what was committed, and nothing of what was not', () => {
    const { file: first } = open()
    add(first, 'one')
    expect(() =>
      first.atOnce(() => {
        add(first, 'two')
        throw new Error('no')
      }),
    ).toThrow('no')
    first.atOnce(() => add(first, 'three'))
    const { file: again, aside } = open()
    expect([bodies(again), aside]).toEqual([['one', 'three'], []])
  })

  const database = (make: (db: DatabaseSyncInstance) => void) => () => {
    const db = new DatabaseSync(path())
    make(db)
    db.close()
  }
  const ours = (more: string) =>
    database((db) => db.exec(`${FORM.schema.join(';')}; PRAGMA application_id=7; PRAGMA user_version=1; ${more}`))

  it.each<[string, () => void]>([
    ['no database', () => writeFileSync(path(), 'neither a database nor short '.repeat(1_000))],
    ['another program’s', database((db) => db.exec('CREATE TABLE other (x)'))],
    ['another form of ours', ours('PRAGMA user_version=2')],
    ['ours with a trigger', ours('CREATE TRIGGER evil AFTER INSERT ON t BEGIN DELETE FROM t; END')],
    ['ours with another table', ours('CREATE TABLE more (x)')],
    ['a link to another file', () => symlinkSync('/etc/passwd', path())],
    ['a folder', () => mkdirSync(path())],
    ['a pipe', () => execFileSync('mkfifo', [path()])],
    [
      'damaged',
      () => {
        const { file: good } = open()
        for (let at = 0; at < 500; at += 1) add(good, `${at} ${'x'.repeat(100)}`)
        good.close()
        file = null
        const bytes = readFileSync(path())
        bytes.fill(0x55, 8_192, 40_000)
        writeFileSync(path(), bytes)
      },
    ],
    [
      'cut',
      () => {
        const { file: good } = open()
        for (let at = 0; at < 500; at += 1) add(good, `${at} ${'x'.repeat(100)}`)
        good.close()
        file = null
        writeFileSync(path(), readFileSync(path()).subarray(0, 9_000))
      },
    ],
  ])('that is %s is put aside, and begun anew', (_, make) => {
    make()
    const { file: anew, aside } = open()
    expect(aside).toHaveLength(1)
    expect(bodies(anew)).toEqual([])
    add(anew, 'works')
    expect(bodies(anew)).toEqual(['works'])
    expect(existsSync('/etc/passwd')).toBe(true)
  })

  it('that is empty is a new one', () => {
    writeFileSync(path(), '')
    expect(open().aside).toEqual([])
  })

  it('does not grow beyond its limit, and goes on with what fits', () => {
    const { file: small } = open({ ...FORM, bytesMax: 64 * 1024 })
    const grow = () => {
      for (let at = 0; at < 1_000; at += 1) add(small, 'x'.repeat(1_000))
    }
    expect(() => small.atOnce(grow)).toThrow('full')
    expect(bodies(small)).toEqual([])
    add(small, 'fits')
    expect(bodies(small)).toEqual(['fits'])
  })

  it('knows that it is gone, and tells damage from what is wrong with a question', () => {
    const { file: there } = open()
    expect(there.isThere).toBe(true)
    rmSync(path())
    expect(there.isThere).toBe(false)
    expect(isDamage(new Error('x'))).toBe(false)
    expect(isDamage(Object.assign(new Error('x'), { errcode: 11 | (1 << 8) }))).toBe(true)
  })

  it('can’t be where there is no folder', () => {
    expect(() => SqliteFile.open(join(dir(), 'none', 'a.db'), FORM, () => {})).toThrow("can't be used")
  })
})
