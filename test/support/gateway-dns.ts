/** The gateway's resolver of one sandbox on real sockets, for a test: what it leases and tells is kept for the test to look at. */

import type { DnsFact, LimitFact } from '../../src/gateway/dns-fact.js'
import { DnsServer } from '../../src/gateway/dns-server.js'
import { DnsWriter } from '../../src/gateway/dns-writer.js'
import { HostTable } from '../../src/gateway/host-table.js'
import { SandboxDns } from '../../src/gateway/sandbox-dns.js'
import { Upstream } from '../../src/gateway/upstream.js'
import type { ICompiledPolicy, ILease } from '../../src/proto/codec.js'

export interface GatewayDns {
  readonly port: number
  readonly port6: number
  readonly dns: SandboxDns
  readonly leases: ILease[]
  readonly facts: DnsFact[]
  readonly limits: LimitFact[]
  /** Queries of which nothing will be told, by cause. */
  readonly lost: Map<string, number>
  /** Queries that were taken. */
  readonly taken: { count: number }
  /** What the clock says beyond the real one. */
  advance(ms: number): void
  close(): void
}

export async function openGatewayDns(options: {
  policy: ICompiledPolicy | null
  upstreamPorts: readonly number[]
  rate?: { perSecond: number; burst: number }
  lease?(lease: ILease): Promise<void>
}): Promise<GatewayDns> {
  const { policy, upstreamPorts, rate = { perSecond: 1_000, burst: 10_000 }, lease = async () => {} } = options
  const writer = new DnsWriter()
  const leases: ILease[] = []
  const facts: DnsFact[] = []
  const limits: LimitFact[] = []
  const lost = new Map<string, number>()
  const taken = { count: 0 }
  let ahead = 0
  const dns = new SandboxDns({
    sandboxId: 'box',
    writer,
    upstream: new Upstream({ writer, servers: upstreamPorts.map((port) => ({ host: '127.0.0.1', port })) }),
    cacheBudget: { bytes: 0 },
    rate,
    async lease(_, put) {
      await lease(put)
      leases.push(put)
    },
    took: () => void taken.count++,
    tell: (fact) => void facts.push(fact),
    lose: (_, count, cause) => void lost.set(cause, (lost.get(cause) ?? 0) + count),
    tellLimit: (fact) => void limits.push(fact),
    nowMs: () => performance.now() + ahead,
  })
  if (policy !== null) dns.setPolicy({ policy, hosts: new HostTable(policy) })
  const server = await DnsServer.open(dns)
  return {
    port: server.ports.ip4,
    port6: server.ports.ip6,
    ...{ dns, leases, facts, limits, lost, taken },
    advance(ms) {
      ahead += ms
    },
    close: () => server.close(),
  }
}
