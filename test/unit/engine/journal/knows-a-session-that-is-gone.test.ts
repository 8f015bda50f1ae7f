/**
 * A whole session can't be taken out of a journal unnoticed: the node's index lists it, every other journal and witness holds that index, and
 * `sessions verify` says which one is missing, or which entry of the index is not what was written.
 */
import { createPublicKey } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { verifySessions } from '../../../../src/cli/sessions/verify-sessions.js'
import { checkpointEvent } from '../../../../src/engine/journal/checkpoint-event.js'
import { IndexUpkeep } from '../../../../src/engine/journal/index-upkeep.js'
import { Event, encodeBuffer } from '../../../../src/proto/codec.js'
import { eventToJson } from '../../../../src/proto/event-json.js'
import { keyIdOf, openCheckpoint, witnessLine } from '../../../../src/proto/journal/checkpoint.js'
import { entryLine, entryName, parseEntry, signEntry } from '../../../../src/proto/journal/node-index.js'
import { schemaLine } from '../../../../src/schema/schemas.js'
import { endOf, eventOf, JournalRig, newKey, sessionId } from './journal-rig.js'

const [A, B, C] = ['a', 'b', 'c'].map(sessionId) as [string, string, string]
/** A begun, A sealed, B begun, B sealed, C begun, C sealed. */
const ENTRIES = 6

const rig = new JournalRig()
const good = join(rig.dir, 'good')

beforeAll(async () => {
  const index = rig.newIndex()
  const journal = rig.open({ index })
  for (const session of [A, B, C]) {
    journal.append(eventOf(session, 1))
    journal.flush()
    await index.settled()
    journal.append(endOf(session, 2))
    journal.flush()
    await index.settled()
  }
  journal.stop()
  await index.stop()
  const publicKey = createPublicKey(rig.key.privateKey)
  mkdirSync(join(rig.dir, 'keys'))
  writeFileSync(join(rig.dir, 'keys', `${keyIdOf(publicKey)}.pub`), publicKey.export({ type: 'spki', format: 'pem' }))
  writeFileSync(join(rig.dir, 'witness'), rig.checkpoints.map((signed) => `${witnessLine(signed)}\n`).join(''))
  for (const name of ['sessions', 'index']) cpSync(join(rig.dir, name), join(good, name), { recursive: true })
})
afterAll(() => rig.remove())
beforeEach(() => {
  for (const name of ['sessions', 'index']) {
    rmSync(join(rig.dir, name), { recursive: true, force: true })
    cpSync(join(good, name), join(rig.dir, name), { recursive: true })
  }
})

const entryOf = (number: number) => join(rig.dir, 'index', entryName(number))

/** As the command line does it. */
async function verified(more: { sessions?: string[]; witness?: string } = {}): Promise<{ code: number; text: string }> {
  let text = ''
  const out = vi.spyOn(process.stdout, 'write').mockImplementation((said) => {
    text += String(said)
    return true
  })
  try {
    const { sessions = [], ...raw } = { key: [join(rig.dir, 'keys')], ...more }
    const code = await verifySessions(sessions, raw, { dir: rig.dir, json: false })
    return { code, text }
  } finally {
    out.mockRestore()
  }
}

describe('the index of a node', () => {
  it('lists what there is, in one chain', async () => {
    const { code, text } = await verified()
    expect(text).toContain(`index: GOOD: ${ENTRIES} entries about 3 sessions`)
    expect(text.match(/SEALED: 2 records/g)).toHaveLength(3)
    expect(code).toBe(0)
  })

  it('knows a session whose folder is gone', async () => {
    rmSync(rig.folderOf(B), { recursive: true })
    const { code, text } = await verified()
    expect(text).toContain(`${B}: MISSING: the node's index knows it`)
    expect(text).toContain('index: GOOD')
    expect(code).toBe(1)
  })

  it('knows a seal that was cut off with all behind it', async () => {
    const file = join(rig.folderOf(C), '000001.journal')
    writeFileSync(file, readFileSync(file).subarray(0, 72))
    const { code, text } = await verified({ sessions: [C] })
    expect(text).toContain(`${C}: BAD: record 1 `)
    expect(text).toContain("the node's index holds its seal over 2 records, and the journal has none")
    expect(code).toBe(1)
  })

  it.each([1, 2, 3, 4, 5])('can not be cut behind entry %s with the sessions that it listed there', async (kept) => {
    for (let number = kept + 1; number <= ENTRIES; number++) rmSync(entryOf(number))
    const listed = [1, 3, 5].filter((number) => number <= kept).length
    for (const session of [A, B, C].slice(listed)) rmSync(rig.folderOf(session), { recursive: true })
    // The seal of the last session is told of by no checkpoint here: only by one that is kept elsewhere, if any.
    const { code, text } = await verified({ witness: join(rig.dir, 'witness') })
    if (kept === ENTRIES - 1) expect(text).toContain('SEALED: 2 records')
    else expect(text).toMatch(/index: BAD: entry \d is missing: checkpoint \d of [0-9a-f-]+ names entry \d/)
    expect(code).toBe(kept === ENTRIES - 1 ? 0 : 1)
  })

  it('can not be cut while a later journal is left, or be taken away', async () => {
    for (const number of [3, 4, 5, 6]) rmSync(entryOf(number))
    rmSync(rig.folderOf(B), { recursive: true })
    expect(await verified()).toMatchObject({ code: 1, text: expect.stringContaining('index: BAD: entry 3 is missing') })
    rmSync(join(rig.dir, 'index'), { recursive: true })
    expect(await verified()).toMatchObject({ code: 1, text: expect.stringContaining('index: BAD: entry 1 is missing') })
  })

  it.each([1, 4, 6])('can have no entry changed, left out or put in the place of another: %s', async (number) => {
    const bytes = readFileSync(entryOf(number))
    writeFileSync(entryOf(number), String(bytes).replace('sessionId', 'sessionID'))
    expect((await verified()).text).toContain(`index: BAD: entry ${number}: it is no entry of this version`)
    writeFileSync(entryOf(number), String(bytes).replace(/timeUnixNs\\":\\"1/, 'timeUnixNs\\":\\"2'))
    expect((await verified()).text).toContain(`index: BAD: entry ${number}: it is not signed with the key`)
    writeFileSync(entryOf(number), readFileSync(entryOf(number === 1 ? 2 : 1)))
    expect((await verified()).text).toContain(`index: BAD: entry ${number}: it is entry`)
    rmSync(entryOf(number))
    // Of the last one only who kept what names it knows.
    const { text } = await verified()
    if (number === ENTRIES) expect(text).toContain('index: GOOD')
    else expect(text).toContain(`index: BAD: entry ${number}: it is missing`)
  })

  it('can not be signed anew with another key, nor with the own key by an older index', async () => {
    const thief = newKey()
    const sign = (key: typeof thief) => {
      let previous = ''
      for (const number of [1, 2]) {
        const found = parseEntry(readFileSync(join(good, 'index', entryName(number)), 'utf8'))
        if (found === null) throw new Error('no entry')
        const signed = signEntry({ ...found.entry, previous, keyId: key.keyId, timeUnixNs: 5n }, key.privateKey)
        writeFileSync(entryOf(number), entryLine(signed))
        previous = parseEntry(entryLine(signed))?.hash ?? ''
      }
    }
    for (const number of [3, 4, 5, 6]) rmSync(entryOf(number))
    rmSync(rig.folderOf(C), { recursive: true })
    rmSync(rig.folderOf(B), { recursive: true })
    sign(thief)
    expect((await verified()).text).toContain('is signed with a key that is not among yours')
    sign(rig.key)
    expect((await verified()).text).toContain('index: BAD: entry 1 is another than it was: checkpoint 1 of')
  })
})

describe('what sinks wrote of it', () => {
  const lines = (schema: 'json' | 'ocsf' | 'ecs') => {
    const events = rig.checkpoints.map((signed) => {
      const said = openCheckpoint(signed, rig.key.keys)
      if (typeof said === 'string') throw new Error(said)
      return checkpointEvent(said, signed)
    })
    // As they come back from the wire, among others.
    const told = [...events, eventOf(A, 1)].map((event) => Event.decode(encodeBuffer(Event, event)))
    return told.map((event) => `${schemaLine(schema, eventToJson(event), '1.0.0')}\n`)
  }
  const witness = join(rig.dir, 'sink.jsonl')

  it.each(['json', 'ocsf', 'ecs'] as const)('is a witness, as %s', async (schema) => {
    writeFileSync(witness, lines(schema).join(''))
    const { code, text } = await verified({ witness })
    expect(text.match(/1 checkpoints of the witness fit/g)).toHaveLength(3)
    expect(code).toBe(0)
    for (const number of [3, 4, 5, 6]) rmSync(entryOf(number))
    for (const session of [B, C]) rmSync(rig.folderOf(session), { recursive: true })
    const cut = await verified({ witness })
    expect(cut.text).toContain('index: BAD: entry 3 is missing')
    for (const session of [B, C]) expect(cut.text).toContain(`${session}: MISSING: the witness knows it`)
    expect(cut.code).toBe(1)
  })

  it('is none where a line is no event, or has half of a checkpoint', async () => {
    const [line = ''] = lines('json')
    for (const bad of ['{"kind":"checkpoint"}', line.replace('"signature"', '"Signature"'), line.slice(0, 99)]) {
      writeFileSync(witness, `${line}${bad}\n`)
      await expect(verified({ witness })).rejects.toThrow('sink.jsonl:2: it is no checkpoint')
    }
  })
})

describe('engines that write it', () => {
  it('make one chain of it at the same time, and one that was killed leaves nothing half written', async () => {
    writeFileSync(join(rig.dir, 'index', '.killed.new'), '{"entry"')
    const engines = [rig.newIndex(), rig.newIndex(), rig.newIndex()]
    const ids = Array.from({ length: 30 }, (_, n) => sessionId(`many ${n}`))
    for (const [n, id] of ids.entries()) engines[n % 3]?.begun(id)
    await Promise.all(engines.map((engine) => engine.stop()))
    for (const id of ids) mkdirSync(rig.folderOf(id))
    const { text } = await verified({ sessions: [A] })
    expect(text).not.toContain('index: BAD')
    expect(rig.index().entries).toBe(ENTRIES + 30)
    expect([...rig.index().sessions.keys()]).toEqual(expect.arrayContaining(ids))
  })

  it('goes on when the disk takes something again', async () => {
    rmSync(join(rig.dir, 'index'), { recursive: true })
    writeFileSync(join(rig.dir, 'index'), '')
    const index = rig.newIndex()
    expect(await index.put({ act: 'BEGUN', sessionId: A, seal: null })).toBe(false)
    expect(index.reference(A)).toBeNull()
    rmSync(join(rig.dir, 'index'))
    await index.stop()
    expect(rig.index()).toMatchObject({ entries: 1, problem: null })
  })
})

describe('its upkeep', () => {
  it('lists what it does not know, tells what was removed, and lets go of what nothing needs', async () => {
    const index = rig.newIndex()
    const now = { keepDays: 1, nowUnixNs: () => 1_900_000_000_000_000_000n }
    const upkeep = new IndexUpkeep({ folder: join(rig.dir, 'index'), index, ...now, trimEntries: 2, spanEntries: 100 })
    const older = sessionId('older')
    writeFileSync(join(rig.dir, 'index', '.killed.new'), '{"entry"')
    await upkeep.look(new Set([A, B, C, older]))
    expect(rig.index()).toMatchObject({ entries: ENTRIES + 1, problem: null })
    expect(rig.index().sessions.get(older)).toEqual({ seal: null, isRemoved: false })
    await upkeep.removed(A)
    rmSync(rig.folderOf(A), { recursive: true })
    mkdirSync(rig.folderOf(older))
    expect((await verified({ witness: join(rig.dir, 'witness') })).text).not.toContain('MISSING')
    await upkeep.look(new Set([B, C, older]))
    const trimmed = rig.index()
    expect(trimmed).toMatchObject({ first: 4, problem: null })
    // Nor is there what was not whole then, and is not now.
    expect(readdirSync(join(rig.dir, 'index')).sort()[0]).toBe(entryName(4))
    expect(trimmed.sessions.get(B)?.seal?.records).toBe(2n)
    // What must still be there can't go with the rest.
    rmSync(entryOf(4))
    expect(rig.index().problem).toEqual({ entry: 4, reason: 'it is missing' })
    await index.stop()
  })

  it('writes again what would fall too far behind, and keeps what is missing until its time is over', async () => {
    const index = rig.newIndex()
    let nowUnixNs = 1_800_000_000_000_000_000n
    const options = { folder: join(rig.dir, 'index'), index, keepDays: 1, nowUnixNs: () => nowUnixNs }
    const upkeep = new IndexUpkeep({ ...options, trimEntries: 2, spanEntries: 3 })
    // A is not there, and nobody removed it.
    await upkeep.look(new Set([B, C]))
    expect(rig.index()).toMatchObject({ first: 1, problem: null, entries: ENTRIES })
    nowUnixNs += 2n * 86_400_000_000_000n
    await upkeep.look(new Set([B, C]))
    const { first, problem, sessions } = rig.index()
    expect({ first, problem }).toEqual({ first: 4, problem: null })
    expect([...sessions.keys()].sort()).toEqual([B, C].sort())
    for (const id of Array.from({ length: 4 }, (_, n) => sessionId(`later ${n}`))) {
      await index.put({ act: 'BEGUN', sessionId: id, seal: null })
    }
    await upkeep.look(new Set([B, C, ...Array.from({ length: 4 }, (_, n) => sessionId(`later ${n}`))]))
    expect(rig.index().sessions.get(B)?.seal?.records).toBe(2n)
    expect(rig.index().first).toBeGreaterThan(6)
    await index.stop()
  })
})
