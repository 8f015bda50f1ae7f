/** The file sink: whole lines, each event once, whatever happens to the file. */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { until } from '../../support/sluice-process.js'
import { opened } from '../engine/spool/spool-rig.js'
import { awkward, many, SinkRig } from './sink-rig.js'

describe('a file sink', () => {
  let rig: SinkRig
  beforeEach(() => {
    rig = new SinkRig()
  })
  afterEach(() => rig.remove())
  const path = () => join(rig.place('out'), 'events.jsonl')
  const lines = (file = path()) =>
    existsSync(file)
      ? readFileSync(file, 'utf8')
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line))
      : []
  const settings = () => ({ type: 'file' as const, path: path(), batch: { seconds: 0.1 } })

  it('has every event as a line, for its owner alone', async () => {
    const events = [...awkward(), ...many(100, 10)]
    rig.write(events)
    rig.start(settings())
    await until('all are there', () => lines().length === events.length)
    expect(lines().map(({ uid }) => uid)).toEqual(events.map(({ uid }) => uid))
    expect(statSync(path()).mode & 0o777).toBe(0o600)
  })

  it('has OCSF where that is asked for', async () => {
    rig.write(many(1))
    rig.start({ ...settings(), schema: 'ocsf' })
    await until('it is there', () => lines().length === 1)
    expect(lines()[0]).toMatchObject({ class_uid: 1001, metadata: { version: '1.8.0' } })
  })

  it('cuts what a crash left of a line', async () => {
    rig.write(many(3))
    rig.start(settings())
    await until('all are there', () => lines().length === 3)
    await rig.stopSinks()
    appendFileSync(path(), '{"schema":1,"sou')
    rig.write(many(3, 4))
    rig.start(settings())
    await until(
      'all are there',
      () => existsSync(path()) && readFileSync(path(), 'utf8').trim().split('\n').length === 6,
    )
    expect(lines().map(({ seq }) => seq)).toEqual(['1', '2', '3', '4', '5', '6'])
  })

  it('begins a new one where somebody moved it, or it is large, and keeps so many', async () => {
    rig.write(many(3))
    rig.start({ ...settings(), rotate: { mib: 1, keep: 2 } })
    await until('all are there', () => lines().length === 3)
    renameSync(path(), `${path()}.moved`)
    rig.write(many(1, 4))
    await until('it is there', () => lines().length === 1)
    const large = Array.from({ length: 60 }, (_, at) => opened('a', at + 5, 100_000))
    rig.write(large)
    await until('the last is there', () => lines().some(({ seq }) => seq === '64'))
    expect(readdirSync(dirname(path())).sort()).toEqual([
      'events.jsonl',
      'events.jsonl.1',
      'events.jsonl.2',
      'events.jsonl.moved',
    ])
    expect(statSync(`${path()}.1`).size).toBeLessThan(2.5 * 1024 * 1024)
  })

  it('waits for a folder that is not there, and has all when it is', async () => {
    rig.write(many(5))
    const folder = dirname(path())
    rmSync(folder, { recursive: true })
    const sink = rig.start({ type: 'file', path: join(folder, 'events.jsonl') })
    await until('it failed', () => sink.counts.failures > 0)
    mkdirSync(folder)
    await until('all are there', () => lines().length === 5)
  })
})
