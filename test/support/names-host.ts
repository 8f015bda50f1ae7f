/**
 * A sensor's own process and the gateway's sandboxes in this one, joined as the engine would join them: what a sandbox asks for in whatever
 * network namespace is answered here. Cgroups and namespaces are the test's own; nothing is sent beyond loopback.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { createLog } from '../../src/base/log.js'
import type { DnsFact } from '../../src/gateway/dns-fact.js'
import { DnsWriter } from '../../src/gateway/dns-writer.js'
import { HostTable } from '../../src/gateway/host-table.js'
import { Sandboxes } from '../../src/gateway/sandboxes.js'
import { SocketDesk } from '../../src/gateway/socket-desk.js'
import { Upstream } from '../../src/gateway/upstream.js'
import { type Addon, loadAddon } from '../../src/native/addon.js'
import type { ICompiledPolicy } from '../../src/proto/codec.js'
import { freeCgroupPath, removeCgroupTree } from './cgroup-folder.js'
import { patient } from './patience.js'
import { hostSensors, type SensorHost, startSensor } from './sensor-process.js'

const HEARTBEAT_MS = 200
const RUN_DEADLINE_MS = patient(30_000)
const log = createLog({ role: 'test', level: 'silent' })

/** The gateway's part, which can be replaced by another one, as after its death. */
export interface GatewayHere {
  readonly sandboxes: Sandboxes
  close(): void
}

export interface NamesHost {
  readonly host: SensorHost
  readonly addon: Addon
  readonly mailbox: { readonly path: string; readonly token: string }
  readonly facts: DnsFact[]
  /** One that is new: what an earlier one had is closed. */
  startGateway(): GatewayHere
  /** A cgroup that is a sandbox with this policy; nothing is redirected yet. */
  add(id: string, policy: ICompiledPolicy): Promise<void>
  /** Its names go to this gateway from now on. */
  redirect(id: string, gateway: GatewayHere, options?: { instance?: string; observes?: boolean }): Promise<void>
  /** A process that runs already. */
  moveIn(id: string, pid: number): void
  run(id: string, command: readonly string[], options?: { input?: string }): Promise<string>
  /** Whether nothing is heard of the gateway. */
  silence(is: boolean): void
  close(): Promise<void>
}

export async function openNamesHost(upstreamPort: number): Promise<NamesHost> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  const mailbox = { path: join(dir, 'doors.sock'), token: randomBytes(32).toString('hex') }
  const host = await hostSensors(dir)
  const runDir = join(dir, 'run')
  mkdirSync(runDir)
  const addon = loadAddon()
  const sensor = await startSensor({
    ...{ runtimeDir: dir, runDir, uplinkSocket: host.uplinkSocket },
    config: { mailbox },
  })
  const cgroups = new Map<string, string>()
  const policies = new Map<string, ICompiledPolicy>()
  const facts: DnsFact[] = []
  let isSilent = false
  const alive = () => void (isSilent || host.command({ gatewayAlive: {} }).catch(() => {}))
  const heart = setInterval(alive, HEARTBEAT_MS)
  const cgroupOf = (id: string) => cgroups.get(id) ?? ''
  return {
    ...{ host, addon, mailbox, facts },
    startGateway: () => startGateway({ addon, mailbox, host, facts, upstreamPort }),
    async add(id, policy) {
      const cgroup = freeCgroupPath()
      mkdirSync(cgroup)
      cgroups.set(id, cgroup)
      policies.set(id, policy)
      await host.command({ adoptSandbox: { sandboxId: id, cgroupPath: `/${basename(cgroup)}` } })
      await host.command({ applyPolicy: { sandboxId: id, policy } })
    },
    async redirect(id, { sandboxes }, { instance = 'one', observes = false } = {}) {
      const policy = policies.get(id) ?? {}
      const { ip4, ip6 } = await sandboxes.serve(id, { policy, hosts: new HostTable(policy) })
      await host.command({ gatewayAlive: {} })
      await host.command({ redirect: { sandboxId: id, port4: ip4, port6: ip6, gateway: instance, observes } })
    },
    moveIn: (id, pid) => writeFileSync(join(cgroupOf(id), 'cgroup.procs'), String(pid)),
    run: (id, command, { input = '' } = {}) => runIn(cgroupOf(id), command, input),
    silence(is) {
      isSilent = is
      alive()
    },
    async close() {
      clearInterval(heart)
      for (const id of cgroups.keys()) await host.command({ releaseSandbox: { sandboxId: id } })
      await sensor.stop()
      await host.close()
      for (const cgroup of cgroups.values()) await removeCgroupTree(cgroup)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function startGateway(options: {
  addon: Addon
  mailbox: NamesHost['mailbox']
  host: SensorHost
  facts: DnsFact[]
  upstreamPort: number
}): GatewayHere {
  const { addon, mailbox, host, facts, upstreamPort } = options
  const writer = new DnsWriter()
  const sandboxes = new Sandboxes({
    writer,
    upstream: new Upstream({ writer, servers: [{ host: '127.0.0.1', port: upstreamPort }] }),
    cacheBudget: { bytes: 0 },
    rate: { perSecond: 1_000, burst: 10_000 },
    async lease(sandboxId, lease) {
      await host.command({ putLease: { sandboxId, lease } })
    },
    took() {},
    tell: (fact) => void facts.push(fact),
    tellLimit() {},
    lose() {},
    nowMs: () => performance.now(),
  })
  const desk = new SocketDesk({ mailbox: addon.openMailbox(mailbox.path), token: mailbox.token, sandboxes, log })
  desk.start()
  return {
    sandboxes,
    close() {
      desk.stop()
      void sandboxes.dropAllBut(new Set())
    },
  }
}

/** What it printed, standard error too. */
async function runIn(cgroup: string, command: readonly string[], input: string): Promise<string> {
  const child = spawn('sh', ['-c', 'echo $$ > "$0/cgroup.procs" && exec "$@" 2>&1', cgroup, ...command], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: RUN_DEADLINE_MS,
  })
  child.stdin?.end(input)
  return child.stdout === null ? '' : text(child.stdout)
}
