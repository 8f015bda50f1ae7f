/**
 * Ways out by doing too much: so much that what is needed to refuse something has no room, or that a refusal is not told. While it lasts
 * nothing gets to the denied neighbour, and what was refused is in the record.
 */
import { describe, expect, it } from 'vitest'
import { ABI } from '../../../src/native/generated/abi.js'
import { EPERM, HELD, lastNumber, openForAll, reachBy, script } from '../../support/bypass.js'
import { addressBytes } from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { waitFor } from '../../support/sensor-process.js'
import { ALLOWED, DENIED, PORT } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const { SL_KIND_FILE_OPEN, SL_VERDICT_DENY } = ABI.enums
/** Told one by one they want several times the ring of the test's sensor. */
const OPENS = 8_000
const SENDS = 2_000
const REFUSED = 3_000
const MANY = 100_000
const STORM_MS = 120_000

describe.skipIf(skip)(`a sandbox that does too much ${reason}`, () => {
  const bypass = openForAll()

  const refusals = (address: string, port: number) =>
    bypass()
      .sandbox.events()
      .filter(({ connect }) => connect?.addr && addressBytes(address).equals(connect.addr) && connect.port === port)
      .filter(({ connect }) => connect?.judged?.verdict === SL_VERDICT_DENY)

  it('can’t hide a refused connect behind what it does besides, while nobody reads', async () => {
    const { sandbox } = bypass()
    process.kill(sandbox.sensorPid, 'SIGSTOP')
    try {
      const flood = [script('flood.py'), String(OPENS), String(SENDS), ALLOWED.v4, DENIED.v4, String(PORT), 'hidden']
      expect(lastNumber((await sandbox.run(['python3', ...flood])).out)).toBe(EPERM)
    } finally {
      process.kill(sandbox.sensorPid, 'SIGCONT')
    }
    await waitFor('the refusal', () => refusals(DENIED.v4, PORT).length > 0)
    // It was a flood: not all of it had room.
    await waitFor('what was lost', () => (sandbox.host.heard.losses.get(SL_KIND_FILE_OPEN)?.dropped ?? 0n) > 0n)
  }, 60_000)

  it.each([
    ['connect', 7_100],
    ['sendto', 7_101],
  ])(
    'is told the first refusals of a second one by one, and how many followed, to the last: %s',
    async (call, port) => {
      const { sandbox } = bypass()
      const program = [script('refused_often.py'), call, String(REFUSED), DENIED.v4, String(port)]
      const told = () => refusals(DENIED.v4, port).map(({ connect }) => Number(connect?.count ?? 0))
      const all = () => told().reduce((sum, count) => sum + count, 0)
      const { ended, end } = sandbox.runWithInput(['python3', ...program])
      try {
        // What it rests behind is told too.
        await waitFor('the last of them', () => all() >= REFUSED)
      } finally {
        end()
      }
      expect(lastNumber((await ended).out)).toBe(REFUSED)
      await bypass().settle()
      expect(all()).toBe(REFUSED)
      expect(told().slice(0, 16)).toEqual(Array(16).fill(1))
      expect(told().length).toBeLessThan(REFUSED / 4)
    },
  )

  it('is refused as ever while our part that reads is stopped', async () => {
    const { sandbox } = bypass()
    process.kill(sandbox.sensorPid, 'SIGSTOP')
    try {
      expect(await bypass().pair(reachBy(bypass().program('reach'), 'tcp'))).toEqual(HELD)
    } finally {
      process.kill(sandbox.sensorPid, 'SIGCONT')
    }
  }, 60_000)

  it.each([
    ['addresses that are refused', 'addresses'],
    ['sockets that are open at once', 'sockets'],
    ['processes, one after the other', 'processes'],
  ])(
    'gets nothing to the other behind very many %s',
    async (_, kind) => {
      const { sandbox } = bypass()
      const text = bypass().text(kind)
      const { out } = await sandbox.run([
        bypass().program('too_many'),
        kind,
        String(MANY),
        DENIED.v4,
        String(PORT),
        text,
      ])
      // How many there were, how many of its tries were refused, and how many not.
      const [made = 0, refused = 0, others = 0] = out.trim().split(' ').map(Number)
      expect({ isMany: made > 1_000, isRefused: refused > 1_000, others }).toEqual({
        isMany: true,
        isRefused: true,
        others: 0,
      })
      await bypass().settle()
      expect(
        bypass()
          .deniedTexts()
          .filter((line) => line.includes(text)),
      ).toEqual([])
      expect(await bypass().pair(reachBy(bypass().program('reach'), 'tcp'))).toEqual(HELD)
    },
    STORM_MS,
  )
})
