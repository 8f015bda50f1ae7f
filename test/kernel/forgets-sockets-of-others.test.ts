/** What the kernel side noted of sockets goes with its sandbox's policy, and nobody else's with it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type BpfObject, loadAddon } from '../../src/native/addon.js'
import { ABI } from '../../src/native/generated/abi.js'
import { LeftBehind } from '../../src/sensor/left-behind.js'
import { sandboxKey } from '../../src/sensor/map-values.js'
import { loadOnly } from '../support/few-programs.js'
import { privileged } from '../support/privileged.js'
import { until } from '../support/sluice-process.js'

const { skip, reason } = privileged('bpf')
const [HELD, OVER] = [101n, 102n] as const
const OWNER_AT = ABI.structs.sl_lent.fields.owner + ABI.structs.sl_event_hdr.fields.sandbox

describe.skipIf(skip)(`what was noted of sockets ${reason}`, () => {
  let object: BpfObject

  beforeEach(() => {
    object = loadAddon().openObject('core')
    loadOnly(object, [])
  })

  afterEach(() => object.close())

  const lend = (address: bigint, sandbox: bigint) => {
    const value = Buffer.alloc(ABI.structs.sl_lent.size)
    value.writeBigUInt64LE(sandbox, OWNER_AT)
    object.update('sl_lent', sandboxKey(address), value)
    object.update('sl_lent_counts', sandboxKey(sandbox), sandboxKey(1n))
  }

  const name = (sandbox: bigint) => {
    const key = Buffer.alloc(ABI.structs.sl_unix_slot.size)
    key.writeBigUInt64LE(sandbox, ABI.structs.sl_unix_slot.fields.sandbox)
    object.update('sl_unix_bound', key, Buffer.alloc(ABI.structs.sl_unix_bound.size))
  }

  const numbers = (map: string) => object.keys(map).map((key) => key.readBigUInt64LE())

  it('is gone a while after a sandbox has no policy any more, and stays for one that has', async () => {
    for (const sandbox of [HELD, OVER]) {
      lend(sandbox * 16n, sandbox)
      name(sandbox)
    }
    new LeftBehind(object, (sandbox) => sandbox === HELD).sweepLater()
    await until('the counts are gone', () => numbers('sl_lent_counts').length === 1)
    expect(numbers('sl_lent_counts')).toEqual([HELD])
    expect(numbers('sl_lent')).toEqual([HELD * 16n])
    expect(numbers('sl_unix_bound')).toEqual([HELD])
  })
})
