/** Baselines on a real file: what sessions teach is there for the next ones, once, in bounds, and whatever happens to the file. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../src/base/log.js'
import { Access } from '../../../src/engine/access.js'
import { Baselines, type Lesson, readBaselines } from '../../../src/engine/baselines.js'
import { BaselinesAdmin } from '../../../src/engine/baselines-admin.js'
import type { BaselinesMax } from '../../../src/engine/baselines-form.js'
import type { Item } from '../../../src/engine/detect/history.js'
import type { Caller } from '../../../src/proto/rpc.js'

const DAY_MS = 24 * 3_600_000
const T0_MS = Date.UTC(2026, 0, 31, 12)
const WINDOW_MS = 10_000
const AGENT = { agent: 'builder', ownerUid: 1_000 }
const log = createLog({ role: 'test', level: 'silent' })
const host = (name: string): Item => ({ kind: 'host', name })

describe('what is usual', () => {
  let dir = ''
  let open: Baselines[] = []
  const path = () => join(dir, 'baselines.db')
  beforeEach(() => {
    dir = mkdtempSync('/dev/shm/sluice-test-')
  })
  afterEach(() => {
    for (const each of open) each.close()
    open = []
    rmSync(dir, { recursive: true, force: true })
  })

  function baselines(max: Partial<BaselinesMax> = {}): Baselines {
    const made = new Baselines(path(), log, max)
    open.push(made)
    return made
  }

  let number = 0
  const lesson = (items: readonly Item[] = [], of: Partial<Lesson> & { mean?: number } = {}): Lesson => ({
    ...{ sessionId: `session-${++number}`, timeMs: T0_MS + number, isGood: true, isPartial: false, isListed: false },
    learned: {
      ...{ items, lookBack: 3, settling: 2, windowMs: WINDOW_MS },
      volume: { calls: { mean: of.mean ?? 4, deviation: 1, windows: 20 } },
    },
    ...of,
  })
  const names = (items: readonly Item[]) => items.map(({ name }) => name)

  it('is there for the next engine, for this agent of this user alone', () => {
    const first = baselines()
    for (let at = 0; at < 6; at += 1) first.learn(AGENT, lesson([host('a.example')]))
    first.close()
    const kept = baselines()
    const known = kept.history(AGENT)
    expect([known.sessions, known.usual(WINDOW_MS).calls?.mean, known.usual(1_000)]).toEqual([6, 4, {}])
    expect(names(known.news([host('a.example'), host('b.example')], 3))).toEqual(['b.example'])
    for (const other of [
      { ...AGENT, ownerUid: 0 },
      { ...AGENT, agent: 'Builder' },
    ]) {
      expect(kept.history(other)).toMatchObject({ sessions: 0, drift: [], driftSinceMs: null })
      expect(kept.history(other).usual(WINDOW_MS)).toEqual({})
    }
    expect(kept.failed).toBe(0)
  })

  it('is shown to whoever it is of, and forgotten by nobody else but an administrator', () => {
    const kept = baselines()
    const theirs = { agent: 'builder', ownerUid: 2_000 }
    for (const identity of [AGENT, AGENT, theirs]) kept.learn(identity, lesson([host('a.example')]))
    const access = new Access({ memberGid: 50, adminGid: 60 })
    const admin = new BaselinesAdmin({ access, kept, log })
    const caller = (uid: number, gid: number): Caller => ({ pid: 1, uid, gid, groups: [] })
    const shown = (uid: number, gid: number) =>
      admin.list(caller(uid, gid)).baselines?.map(({ agent, ownerUid, sessions }) => `${agent} ${ownerUid} ${sessions}`)
    const all = ['builder 1000 2', 'builder 2000 1']
    expect([shown(0, 0), shown(5, 60), shown(2_000, 50), shown(2_000, 51)]).toEqual([all, all, [all[1]], []])
    const nothing = "nothing is kept of the agent 'builder' of user 1000"
    expect(() => admin.forget(caller(2_000, 50), AGENT)).toThrow(nothing)
    expect(() => admin.forget(caller(1_000, 51), AGENT)).toThrow(nothing)
    admin.forget(caller(1_000, 50), AGENT)
    expect(() => admin.forget(caller(1_000, 50), AGENT)).toThrow(nothing)
    expect([kept.history(AGENT).sessions, kept.history(theirs).sessions]).toEqual([0, 1])
    expect(kept.history(AGENT).usual(WINDOW_MS)).toEqual({})
    admin.forget(caller(0, 0), theirs)
    expect(shown(0, 0)).toEqual([])
    expect(() => new BaselinesAdmin({ access, kept: null, log }).list(caller(0, 0))).toThrow('keeps nothing')
  })

  it('is taught once by a session, however often its end comes', () => {
    const kept = baselines()
    const once = lesson([host('a.example')])
    for (let at = 0; at < 3; at += 1) kept.learn(AGENT, once)
    expect(kept.history(AGENT).sessions).toBe(1)
  })

  it('is not taught by a session with a fault, nor its volume by one that was not seen whole', () => {
    const kept = baselines()
    kept.learn(AGENT, lesson([], { isGood: false }))
    expect(kept.history(AGENT)).toMatchObject({ sessions: 0, driftSinceMs: null })
    for (let at = 0; at < 3; at += 1) kept.learn(AGENT, lesson([], { mean: 4 }))
    kept.learn(AGENT, lesson([host('bad.example')], { isGood: false, mean: 400 }))
    kept.learn(AGENT, lesson([host('half.example')], { isPartial: true, mean: 400 }))
    const known = kept.history(AGENT)
    expect([known.sessions, known.usual(WINDOW_MS).calls?.mean]).toEqual([4, 4])
    // Somebody is to look at it all the same.
    expect(names(known.drift)).toEqual(['bad.example', 'half.example'])
    expect(names(known.news([host('half.example'), host('new.example')], 3))).toEqual(['new.example'])
  })

  it('forgets what the last sessions have not used, and lists it once', () => {
    const kept = baselines()
    for (const name of ['a', 'b', 'b', 'b', 'b']) kept.learn(AGENT, lesson([host(name)]))
    expect(names(kept.history(AGENT).news([host('a'), host('b')], 3))).toEqual(['a'])
    kept.learn(AGENT, lesson([host('a')]))
    expect(names(kept.history(AGENT).drift)).toEqual(['a'])
    kept.learn(AGENT, lesson([host('b')], { isListed: true, timeMs: T0_MS + DAY_MS }))
    expect(kept.history(AGENT)).toMatchObject({ drift: [], driftSinceMs: T0_MS + DAY_MS })
  })

  it('has bounds: identities, what each used, what waits, windows, age', () => {
    const kept = baselines({ identities: 5, items: 8, drift: 4, windowKinds: 2, learned: 10, ageMs: 10 * DAY_MS })
    for (let at = 0; at < 20; at += 1) {
      const items = Array.from({ length: 6 }, (_, each) => host(`h${at}-${each}`))
      const made = lesson(items)
      kept.learn(AGENT, { ...made, learned: { ...made.learned, windowMs: 1_000 + at } })
      kept.learn({ agent: `other ${at}`, ownerUid: 0 }, lesson(items))
    }
    expect(kept.failed).toBe(0)
    expect(kept.shed).toBeGreaterThan(0)
    const known = kept.history(AGENT)
    expect(known.drift).toHaveLength(4)
    expect([1_000, 1_017, 1_018, 1_019].map((ms) => Object.keys(known.usual(ms)).length)).toEqual([0, 0, 1, 1])
    expect(rowsOf()).toMatchObject({ identity: 5, learned: 10 })
    expect(kept.history({ agent: 'other 3', ownerUid: 0 }).sessions).toBe(0)
    kept.learn({ agent: 'late', ownerUid: 0 }, lesson([], { timeMs: T0_MS + 11 * DAY_MS }))
    expect(rowsOf()).toEqual({ identity: 1, usual: 1, item: 0, drift: 0, learned: 10 })
  })

  function rowsOf(): Record<string, number> {
    const tables = ['identity', 'usual', 'item', 'drift', 'learned']
    const asked = tables.map((table) => `SELECT '${table}', count(*) FROM ${table}`).join(' UNION ALL ')
    const said = spawnSync(process.execPath, ['-e', READ_ROWS, path(), asked], { encoding: 'utf8' }).stdout
    return Object.fromEntries(JSON.parse(said) as [string, number][])
  }

  it.each<[string, () => void]>([
    ['removed', () => rmSync(path())],
    ['removed with its folder’s content', () => execFileSync('sh', ['-c', `rm -f ${dir}/*`])],
    [
      'replaced by another',
      () => {
        rmSync(path())
        writeFileSync(path(), 'x'.repeat(10_000))
      },
    ],
  ])('is learnt anew where the file is %s under a running engine', (_, happens) => {
    const kept = baselines()
    kept.learn(AGENT, lesson())
    happens()
    kept.learn(AGENT, lesson())
    expect(kept.history(AGENT).sessions).toBe(1)
    const next = baselines()
    expect(next.history(AGENT).sessions).toBe(1)
  })

  it('is learnt anew where the file was damaged between engines', () => {
    const first = baselines()
    for (let at = 0; at < 50; at += 1) first.learn({ agent: `${at}`, ownerUid: 0 }, lesson([host('a')]))
    first.close()
    const bytes = readFileSync(path())
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 4_096 }), fc.nat(255), (at, length, value) => {
        writeFileSync(path(), Buffer.from(bytes).fill(value, at, Math.min(at + length, bytes.length)))
        for (const part of ['-wal', '-shm']) rmSync(`${path()}${part}`, { force: true })
        const kept = baselines()
        // Some damage is none: a name may be another one. What can't be kept is counted, and never thrown.
        for (let each = 0; each < 20; each += 1) kept.history({ agent: `${each}`, ownerUid: 0 }).usual(WINDOW_MS)
        kept.learn(AGENT, lesson([host('b')]))
        kept.learn(AGENT, lesson([host('b')]))
        const known = kept.history(AGENT).sessions
        kept.close()
        expect(known + kept.failed).toBeGreaterThan(0)
      }),
      { numRuns: 30, endOnFailure: true },
    )
  })

  it('does not believe numbers that nobody wrote', () => {
    const first = baselines()
    for (let at = 0; at < 3; at += 1) first.learn(AGENT, lesson())
    first.close()
    spawnSync(process.execPath, ['-e', WRITE, path(), 'UPDATE usual SET mean = -9e999'])
    expect(baselines().history(AGENT).usual(WINDOW_MS)).toEqual({})
  })

  it('counts what finds no room, and goes on when there is some', () => {
    const kept = baselines({ bytes: 96 * 1024, identities: 100 })
    const big = (at: number) => Array.from({ length: 32 }, (_, each) => host(`${at}-${each}`.padEnd(80, 'x')))
    for (let at = 0; at < 60; at += 1) kept.learn({ agent: `agent ${at}`, ownerUid: 0 }, lesson(big(at)))
    expect(kept.failed).toBeGreaterThan(0)
    expect(kept.history({ agent: 'agent 0', ownerUid: 0 }).sessions).toBe(1)
    const later = lesson([], { timeMs: T0_MS + 400 * DAY_MS })
    for (let at = 0; at < 3; at += 1) kept.learn(AGENT, { ...later, sessionId: `later ${at}` })
    expect(kept.history(AGENT).sessions).toBe(3)
  })

  it('has all that was learnt before kill -9', async () => {
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '-e', KILLED, path()],
      {
        ...{ encoding: 'utf8', cwd: fileURLToPath(new URL('../../..', import.meta.url)), timeout: 60_000 },
      },
    )
    expect({ status, signal, stdout, stderr }).toEqual({ status: null, signal: 'SIGKILL', stdout: '25', stderr: '' })
    expect(baselines().history(AGENT).sessions).toBe(25)
  })

  it('can be read by a replay while an engine has it, and is not changed by it', () => {
    const kept = baselines()
    for (let at = 0; at < 6; at += 1) kept.learn(AGENT, lesson([host('a.example')]))
    const before = readFileSync(path())
    const read = readBaselines(path())
    expect(read.history('builder')).toMatchObject({ sessions: 6 })
    expect(read.history('builder')?.usual(WINDOW_MS).calls?.mean).toBe(4)
    expect([read.history('nobody'), read.history('')]).toEqual([null, null])
    expect(readFileSync(path()).equals(before)).toBe(true)
    expect(() => readBaselines(join(dir, 'none.db'))).toThrow("can't be read")
  })
})

const READ_ROWS = `const { DatabaseSync } = require('@photostructure/sqlite')
const rows = new DatabaseSync(process.argv[1], { readOnly: true }).prepare(process.argv[2]).all()
console.log(JSON.stringify(rows.map(Object.values)))`
const WRITE = `new (require('@photostructure/sqlite').DatabaseSync)(process.argv[1]).exec(process.argv[2])`
/** Learns, says how much, and is gone without a word more. */
const KILLED = `import { writeSync } from 'node:fs'
import { Baselines } from './build/js/engine/baselines.js'
const log = { error() {}, warn() {}, info() {}, debug() {} }
const kept = new Baselines(process.argv[1], log)
const learned = { items: [], lookBack: 3, settling: 2, windowMs: 10000, volume: {} }
const how = { timeMs: 1, learned, isGood: true, isPartial: false, isListed: false }
for (let at = 0; at < 25; at++) kept.learn({ agent: 'builder', ownerUid: 1000 }, { sessionId: 's' + at, ...how })
writeSync(1, String(kept.history({ agent: 'builder', ownerUid: 1000 }).sessions))
process.kill(process.pid, 'SIGKILL')`
