/** How much a sandbox sends is held to its rate, counted where it arrives; a total is never passed. And who takes its pacing back gains nothing. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { fromBigInt, type ILimits } from '../../../src/proto/codec.js'
import { EPERM, lastNumber, openForAll, script } from '../../support/bypass.js'
import { net, TCP, testPolicy, UDP } from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { ALLOWED } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const MIB = 1024 * 1024
const SINK_PORT = 7005
const SECONDS = 4
const RATE = 4 * MIB
const BURST = MIB

describe.skipIf(skip)(`a sandbox with a limit of bytes ${reason}`, () => {
  const bypass = openForAll(null)

  /** Bytes that arrived, and how many may have. */
  async function send(kind: string, sockets: number): Promise<{ arrived: number; allowed: number }> {
    const { sandbox, network } = bypass()
    const inside = [`--net=${network.outside}`, 'python3', script('byte_sink.py'), ALLOWED.v4, String(SINK_PORT)]
    const sink = spawn('nsenter', inside, { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface({ input: sink.stdout })[Symbol.asyncIterator]()
    await lines.next()
    const args = [kind, String(sockets), String(SECONDS), ALLOWED.v4, String(SINK_PORT)]
    const { out } = await sandbox.run(['python3', script('byte_source.py'), ...args])
    sink.stdin.end()
    const arrived = Number((await lines.next()).value)
    if (sink.exitCode === null) await once(sink, 'exit')
    return { arrived, allowed: BURST + RATE * Number(out) }
  }

  const limit = (limits: ILimits) =>
    bypass().sandbox.apply(testPolicy({ limits, nets: [net(ALLOWED.v4, { port: SINK_PORT, protocols: [TCP, UDP] })] }))
  const rate = { perSecond: RATE, burst: fromBigInt(BigInt(BURST)) }

  // Of all that it ever sent: before the others.
  it('sends so much in all and nothing after it, and is told so', async () => {
    await limit({ egressTotal: fromBigInt(BigInt(3 * MIB)) })
    const { arrived } = await send('tcp', 2)
    expect(arrived).toBeLessThanOrEqual(3 * MIB)
    expect(arrived).toBeGreaterThan(2 * MIB)
    const again = await bypass().sandbox.run([bypass().program('reach'), 'tcp', ALLOWED.v4, String(SINK_PORT), 'late.'])
    expect(lastNumber(again.out)).toBe(EPERM)
  }, 60_000)

  it.each([
    ['one connection', 'tcp', 1],
    ['four connections', 'tcp', 4],
  ])(
    'sends at its rate by %s',
    async (_, kind, sockets) => {
      await limit({ egressBytes: rate })
      const { arrived, allowed } = await send(kind, sockets)
      expect(arrived / allowed).toBeGreaterThan(0.85)
      expect(arrived / allowed).toBeLessThan(1.15)
    },
    60_000,
  )

  it('sends no more by datagrams', async () => {
    await limit({ egressBytes: rate })
    const { arrived, allowed } = await send('udp', 2)
    expect(arrived).toBeLessThanOrEqual(allowed)
    expect(arrived / allowed).toBeGreaterThan(0.5)
  }, 60_000)

  it('gains little by taking its pacing back', async () => {
    await limit({ egressBytes: rate })
    const { arrived, allowed } = await send('unpaced', 2)
    // What is dropped is two seconds, or 8 MiB, beyond.
    expect(arrived).toBeLessThan(allowed + 8 * MIB)
  }, 60_000)
})
