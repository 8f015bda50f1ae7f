/**
 * Policies of the size that is promised: fifty thousand ranges and ten thousand names take one another's place while the sandbox sends, and
 * hundreds of sandboxes have policies of their own at once. No verdict is wrong meanwhile; what counts is what arrives.
 */
import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { basename } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HostForm, type ICompiledPolicy, type INetEntry } from '../../../src/proto/codec.js'
import { freeCgroupPath } from '../../support/cgroup-folder.js'
import {
  net,
  openPolicedSandbox,
  type PolicedSandbox,
  SANDBOX_ID,
  TCP,
  testPolicy,
} from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { until } from '../../support/sluice-process.js'
import { ALLOWED, DENIED, openTestNetwork, PORT, type TestNetwork } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const RANGES = 50_000
const NAMES = 10_000
/** A thousand are applied in test/kernel/applies-policies-whole.test.ts: making the sandboxes is what takes long. */
const SANDBOXES = 300
const SWAPS = 4
const TOGETHER = 100

/**
 * Sends to both until it is told to end, at least 300 times and not so fast that answers wait for its events, and says how often the verdict was
 * wrong.
 */
const sends = (text: string) => `import select, socket, sys
u, wrong, tries = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0, 0
def refused(address, text):
    try: u.sendto(text, (address, ${PORT}))
    except PermissionError: return True
    return False
while tries < 300 or not select.select([sys.stdin], [], [], 0.0005)[0]:
    tries += 1
    wrong += not refused('${DENIED.v4}', b'${text}-denied')
    wrong += refused('${ALLOWED.v4}', b'${text}-allowed')
print(wrong)`

/** Neighbours of the allowed address are among the others' ranges, the denied one is in none. */
function ranges(round: number): INetEntry[] {
  const others = Array.from({ length: RANGES }, (_, index) => {
    return net(`11.${index >> 8}.${index & 0xff}.0`, { rule: round + 2, protocols: [TCP], bits: 120 })
  })
  return [net(ALLOWED.v4, { rule: round + 2 }), ...others]
}

/** As compiled policies have them. */
function inOrder(nets: readonly INetEntry[]): INetEntry[] {
  const prefix = ({ prefix: bytes }: INetEntry) => Buffer.from(bytes ?? [])
  return nets.toSorted((a, b) => prefix(a).compare(prefix(b)) || (a.prefixLength ?? 0) - (b.prefixLength ?? 0))
}

function bigPolicy(round: number): ICompiledPolicy {
  const hosts = Array.from({ length: NAMES }, (_, index) => ({
    rule: index + 10,
    host: { form: HostForm.HOST_FORM_EXACT, base: `h${index}.example.net` },
    ports: [{ protocol: TCP, first: 443, last: 443 }],
  }))
  return testPolicy({ nets: ranges(round), hosts, digest: `big-${round}` })
}

describe.skipIf(skip)(`policies of the promised size ${reason}`, () => {
  let network: TestNetwork
  let sandbox: PolicedSandbox

  beforeAll(async () => {
    network = await openTestNetwork()
    sandbox = await openPolicedSandbox(network)
  }, 60_000)

  afterAll(async () => {
    await sandbox?.close()
    await network?.close()
  }, 60_000)

  const apply = (sandboxId: string, policy: ICompiledPolicy | null) =>
    sandbox.host.command({ applyPolicy: { sandboxId, policy } })

  /** Once the first one has arrived: what follows is judged while it sends. */
  async function sendingAs(text: string) {
    const sending = sandbox.runWithInput(['python3', '-c', sends(text)])
    await until('it sends', () => [...network.arrived].some((line) => line.includes(`${text}-allowed`)))
    return sending
  }

  it('take one another’s place without a wrong verdict', async () => {
    await sandbox.apply(bigPolicy(0))
    const sending = await sendingAs('big')
    for (let round = 1; round <= SWAPS; round += 1) await sandbox.apply(bigPolicy(round))
    sending.end()
    expect((await sending.ended).out.trim()).toBe('0')
    expect([...network.arrived].filter((line) => line.includes('-denied'))).toEqual([])
  }, 60_000)

  it('change by an entry without a wrong verdict, one change after another', async () => {
    const base = ranges(0)
    const changed = (index: number, more: readonly INetEntry[] = []) => {
      const other = base.with(index, net(`11.0.${index}.0`, { rule: 9, protocols: [TCP], bits: 128 }))
      return testPolicy({ nets: inOrder([...other, ...more]), digest: `changed-${index}-${more.length}` })
    }
    await sandbox.apply(testPolicy({ nets: inOrder(base), digest: 'base' }))
    const sending = await sendingAs('entry')
    for (let round = 1; round <= SWAPS; round += 1) await sandbox.apply(changed(round))
    sending.end()
    expect((await sending.ended).out.trim()).toBe('0')
    // What is changed is what was meant.
    const one = `import socket; u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b'opened', ('${DENIED.v4}', ${PORT}))`
    await sandbox.apply(changed(1, [net(DENIED.v4, { rule: 9 })]))
    expect(await sandbox.run(['python3', '-c', one])).toMatchObject({ code: 0 })
    await until('it arrives', () => [...network.arrived].some((line) => line.includes('opened')))
    await sandbox.apply(changed(2))
    expect(await sandbox.run(['python3', '-c', one])).toMatchObject({ code: 1 })
  }, 60_000)

  it('leave a sandbox its own while hundreds of others get theirs', async () => {
    const cgroups = Array.from({ length: SANDBOXES }, () => freeCgroupPath())
    const ids = cgroups.map((_, index) => `m${index}`)
    try {
      for (const path of cgroups) mkdirSync(path)
      const adopt = (path: string, index: number) =>
        sandbox.host.command({ adoptSandbox: { sandboxId: `m${index}`, cgroupPath: `/${basename(path)}` } })
      for (let start = 0; start < SANDBOXES; start += TOGETHER) {
        await Promise.all(cgroups.slice(start, start + TOGETHER).map((path, index) => adopt(path, start + index)))
      }
      await sandbox.apply(testPolicy())
      const sending = await sendingAs('many')
      // Every one of them opens what this one is denied.
      const own = (index: number) => testPolicy({ nets: [net(DENIED.v4, { rule: index + 1 }), net('10.9.0.1')] })
      const generations = new Set<number>()
      for (let start = 0; start < SANDBOXES; start += TOGETHER) {
        const some = ids.slice(start, start + TOGETHER)
        const applied = await Promise.all(some.map((id, index) => apply(id, own(start + index))))
        for (const { generation } of applied) generations.add(generation)
      }
      await Promise.all(ids.slice(0, TOGETHER).map((id, index) => apply(id, own(index + 1))))
      sending.end()
      expect((await sending.ended).out.trim()).toBe('0')
      expect(generations.size).toBe(SANDBOXES)
    } finally {
      await Promise.all(ids.map((id) => sandbox.host.command({ releaseSandbox: { sandboxId: id } }).catch(() => {})))
      for (const path of cgroups) if (existsSync(path)) rmdirSync(path)
    }
    expect((await sandbox.host.command({ listSandboxes: {} })).sandboxes.map(({ sandboxId }) => sandboxId)).toEqual([
      SANDBOX_ID,
    ])
  }, 120_000)
})
