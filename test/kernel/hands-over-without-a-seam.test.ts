/** One load of the programs takes over from another while a storm is on: what was attempted is what really happened, to the event. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import { readControl } from '../../src/sensor/hand-over.js'
import { readCounters } from '../../src/sensor/kind-counters.js'
import { encodeTask } from '../../src/sensor/map-values.js'
import { compileC } from '../support/c-program.js'
import { launch } from '../support/launcher.js'
import { rounds } from '../support/patience.js'
import { PinnedKernel } from '../support/pinned-kernel.js'
import { privileged } from '../support/privileged.js'
import { until } from '../support/sluice-process.js'

const { skip, reason } = privileged('bpf')
const { SL_KIND_FORK, SL_KIND_FILE_OPEN, SL_KIND_EXIT } = ABI.enums
const HAND_OVERS = rounds({ here: 3, emulated: 1 })
/** A storm ends when it is told to; it would not outlast these. */
const OPENS_MAX = 20_000_000
const FORKS_MAX = 200_000

describe.skipIf(skip)(`a hand-over ${reason}`, () => {
  let pinned: PinnedKernel

  beforeEach(async () => {
    pinned = new PinnedKernel()
    await pinned.open()
  })

  afterEach(() => pinned.close())

  const attempted = (kind: number) => pinned.attempted(kind)

  it.each([
    { what: 'opens', most: OPENS_MAX, kinds: [SL_KIND_FILE_OPEN] },
    { what: 'forks', most: FORKS_MAX, kinds: [SL_KIND_FORK, SL_KIND_EXIT] },
  ])('in a storm of $what loses and doubles none', async ({ what, most, kinds }) => {
    const storm = compileC('storm', pinned.dir)
    expect(await (await pinned.start([storm, what, '0'])).result).toMatchObject({ code: 0 })
    const calm = kinds.map(attempted)
    const stormed = await pinned.start([storm, what, String(most)])
    for (let hand = 0; hand < HAND_OVERS; hand += 1) {
      const before = kinds.map(attempted)
      await until('the storm goes on', () =>
        kinds.every((kind, index) => attempted(kind) > Math.max(before[index] ?? 0, 2 * (calm[index] ?? 0))),
      )
      await pinned.handOverOnce()
    }
    stormed.child.kill('SIGTERM')
    const { code, stdout } = await stormed.result
    expect(code).toBe(0)
    const count = Number(stdout)
    expect(count, 'it ends because it was told to').toBeLessThan(most)
    for (const [index, kind] of kinds.entries()) {
      expect(attempted(kind), `kind ${kind}`).toBe(2 * (calm[index] ?? 0) + count)
      const { submitted = 0n, folded = 0n, dropped = 0n } = readCounters(pinned.side.object).kinds.get(kind) ?? {}
      expect(Number(submitted + folded + dropped), `kind ${kind}`).toBe(attempted(kind))
    }
  })

  it('keeps who is ours, and leaves one pin a program', async () => {
    const before = pinned.pins.names().sort()
    const launched = launch({ command: ['sleep', '60'] })
    const pid = launched.child.pid ?? 0
    pinned.side.object.updateTask('sl_tasks', pid, encodeTask(pinned.cgroup.id))
    await pinned.handOverOnce()
    expect(pinned.side.object.lookupTask('sl_tasks', pid)).toEqual(encodeTask(pinned.cgroup.id))
    const { active, previous } = readControl(pinned.side.object)
    expect(previous).toBe(0)
    const generation = (name: string) => name.replace(/_g[0-9a-f]+$/, '_g')
    expect(pinned.pins.names().map(generation).sort()).toEqual(before.map(generation))
    expect(
      pinned.pins
        .names()
        .filter((name) => /_g[0-9a-f]+$/.test(name))
        .every((name) => name.endsWith(active.toString(16))),
    ).toBe(true)
    launched.go(null)
    await launched.result
  })
})
