/**
 * A disk that is full costs a spool nothing that its memory holds, and what an engine took along that was killed meanwhile is told: the next one leaves
 * the place of it empty, of the right length.
 */
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { privileged } from '../support/privileged.js'
import { detected, opened, SpoolRig, seqs, total } from '../unit/engine/spool/spool-rig.js'

const { skip, reason } = privileged('bpf')
const DISK_BYTES = 4 * 1024 * 1024
/** More than the disk has. */
const BOUNDS = { bytesMax: 8 * 1024 * 1024 }

describe.skipIf(skip)(`a spool whose disk is full ${reason}`, () => {
  let rig: SpoolRig
  const ballast = () => join(rig.folder, 'ballast')
  const fill = () => expect(() => writeFileSync(ballast(), Buffer.alloc(DISK_BYTES))).toThrow('ENOSPC')
  beforeAll(() => {
    rig = new SpoolRig()
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=700`, 'tmpfs', rig.folder])
  })
  afterEach(() => {
    rig.stop()
    vi.useRealTimers()
    for (const name of ['ballast', 'spool.db', 'spool.db-wal', 'spool.db-shm', 'waiting']) {
      rmSync(join(rig.folder, name), { force: true })
    }
  })
  afterAll(() => {
    execFileSync('umount', ['-l', rig.folder])
    rig.remove()
  })

  test('is written again when there is room, and lacks nothing', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'performance'] })
    const spool = rig.open(BOUNDS)
    spool.append(opened('a', 1))
    spool.flush()
    fill()
    for (let seq = 2; seq <= 3_000; seq++) spool.append(seq === 9 ? detected('a', seq) : opened('a', seq, 200))
    spool.passedOn()
    expect(spool.problem).toContain('could not be written')
    expect(spool.numbers).toMatchObject({ events: 3_000, missed: 0 })
    expect(spool.numbers.faults).toBeGreaterThan(0)
    rmSync(ballast())
    vi.advanceTimersByTime(2_000)
    expect(spool.problem).toBeNull()
    expect(seqs(rig.read().events)).toEqual(Array.from({ length: 3_000 }, (_, at) => String(at + 1)))
  })

  test('is short of what its engine had in memory as it was killed, and says of how much', () => {
    const first = rig.open(BOUNDS)
    for (let seq = 1; seq <= 10; seq++) first.append(opened('a', seq))
    first.flush()
    const place = rig.read().place
    fill()
    for (let seq = 11; seq <= 3_000; seq++) first.append(opened('a', seq, 200))
    // From here on the sensor has forgotten them; and then nobody closes anything.
    first.passedOn()
    rmSync(ballast())
    const second = rig.open(BOUNDS)
    second.append(opened('a', 3_001))
    second.flush()
    const { events } = rig.read(place)
    expect(seqs(events)).toEqual(['gap 2990', '3001'])
    expect(events[0]).toMatchObject({ gap: { stage: 'SPOOL', exact: true } })
    expect(second.numbers.missed).toBe(2_990)
    // Told once.
    const third = rig.open(BOUNDS)
    expect(total(rig.read().events)).toBe(3_001)
    expect(third.numbers.missed).toBe(0)
  })
})
