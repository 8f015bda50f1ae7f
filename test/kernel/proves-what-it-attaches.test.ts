/** The proof that is made before a program may sit at the cgroup root: it notices a program that would refuse strangers. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import { proveLetsForeignTasksThrough } from '../../src/sensor/foreign-proof.js'
import { cgroupMount } from '../support/cgroup-folder.js'
import { CoreObject } from '../support/core-object.js'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('bpf')
/** Of the hierarchy's root, by the kernel's numbering. */
const ROOT_ID = 1n
const ABSENT_ID = 2n ** 40n
const QUARANTINED = BigInt(ABI.enums.SL_SANDBOX_QUARANTINED)

describe.skipIf(skip)(`the proof ${reason}`, () => {
  let core: CoreObject

  beforeAll(() => {
    core = new CoreObject([])
  })

  afterAll(() => core.close())

  afterEach(() => {
    for (const key of core.object.keys('sl_sandboxes')) core.object.delete('sl_sandboxes', key)
    core.write('sl_state', 'sl_state', 0n, { quarantined: 0n })
  })

  const cgroupRoot = cgroupMount() ?? ''
  const prove = () => proveLetsForeignTasksThrough({ addon: core.addon, object: core.object, cgroupRoot })
  const quarantine = (id: bigint) => core.write('sl_sandboxes', 'sl_sandbox', id, { id, flags: QUARANTINED })
  const isAnyQuarantined = () => core.entry('sl_state', 'sl_state', 0n)?.quarantined

  it('holds, and leaves nothing behind', () => {
    prove()
    expect(isAnyQuarantined()).toBe(0n)
    expect(core.object.keys('sl_sandboxes')).toEqual([])
  })

  it('holds while another sandbox is in quarantine, which stays there', () => {
    quarantine(ABSENT_ID)
    core.write('sl_state', 'sl_state', 0n, { quarantined: 1n })
    prove()
    expect(isAnyQuarantined()).toBe(1n)
    expect(core.entry('sl_sandboxes', 'sl_sandbox', ABSENT_ID)).toMatchObject({ flags: QUARANTINED })
  })

  it('fails where strangers would be refused, at once or only in a quarantine', () => {
    quarantine(ROOT_ID)
    expect(prove).toThrowError(/would refuse tasks that are in no sandbox while another one is in quarantine/)
    core.write('sl_state', 'sl_state', 0n, { quarantined: 1n })
    expect(prove).toThrowError(/would refuse tasks that are in no sandbox; it was not attached/)
  })
})
