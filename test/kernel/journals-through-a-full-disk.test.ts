/**
 * A disk that is full costs a journal events, which are counted and told in their place; nothing is half written, nobody is held up, and no restart is
 * needed when there is room again.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLog } from '../../src/base/log.js'
import { Journal } from '../../src/engine/journal/journal.js'
import { toBigInt } from '../../src/proto/codec.js'
import { verifyJournal } from '../../src/proto/journal/verify-journal.js'
import { privileged } from '../support/privileged.js'
import { endOf, eventOf, newKey, sessionId } from '../unit/engine/journal/journal-rig.js'

const { skip, reason } = privileged('bpf')
const SESSION = sessionId('full')
const DISK_BYTES = 256 * 1024
/** Random: packed it is as long. */
const noise = (seq: number) => Array.from({ length: 40 }, () => Math.random().toString(36)).join('') + seq

describe.skipIf(skip)(`a journal whose disk is full ${reason}`, () => {
  let dir = ''
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=755`, 'tmpfs', dir])
  })
  afterAll(() => {
    // Its files are closed when they are synced.
    execFileSync('umount', ['-l', dir])
    rmSync(dir, { recursive: true })
  })

  test('says how many events it lacks, and goes on when there is room', () => {
    const key = newKey()
    let nowMs = 0
    const log = createLog({ role: 'test', level: 'silent' })
    const journal = new Journal({
      ...{ folder: dir, key, log, isResumable: false, nowUnixNs: () => 1n, nowMs: () => nowMs },
    })
    const ballast = join(dir, 'ballast')
    let seq = 0
    const give = (events: number) => {
      for (let n = 0; n < events; n++) {
        journal.append(eventOf(SESSION, ++seq, noise(seq)))
        if (seq % 10 === 0) journal.flush()
      }
    }
    give(50)
    // What is left is taken, so that a block finds room for a part of itself.
    expect(() => writeFileSync(ballast, Buffer.alloc(DISK_BYTES))).toThrow('ENOSPC')
    give(200)
    expect(journal.lost).toBeGreaterThan(0n)
    rmSync(ballast)
    nowMs += 1_000
    give(50)
    journal.append(endOf(SESSION, ++seq))
    journal.stop()
    let given = 0n
    let missing = 0n
    const report = verifyJournal({
      ...{ folder: join(dir, SESSION), sessionId: SESSION, keys: key.keys },
      onEvent(event) {
        if (event.gap) missing += toBigInt(event.gap.count)
        else given++
        if (event.gap) expect(event.gap.cause).toContain('ENOSPC')
      },
    })
    expect(report).toMatchObject({ state: 'SEALED', problem: null })
    expect(missing).toBe(journal.lost)
    expect(journal.numbers).toMatchObject({ events: seq, lost: Number(missing) })
    expect(journal.numbers.faults).toBeGreaterThan(0)
    expect(journal.numbers.checkpoints).toBeGreaterThan(0)
    expect(given + missing).toBe(BigInt(seq))
  })
})
