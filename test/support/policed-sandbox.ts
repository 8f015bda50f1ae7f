/**
 * A sandbox with a policy, held by a sensor's own process and ordered about by the test as an engine would: a cgroup of the test's own, in which
 * programs are started in a network of the test's own.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { CommandOutcome } from '../../src/engine/command-outcome.js'
import { PolicySender } from '../../src/engine/policy-sender.js'
import {
  type ICommand,
  type ICompiledPolicy,
  type INetEntry,
  type KernelEvent,
  Listeners,
  Mode,
  Protocol,
} from '../../src/proto/codec.js'
import { freeCgroupPath, removeCgroupTree } from './cgroup-folder.js'
import { patient } from './patience.js'
import { hostSensors, type SensorHost, startSensor } from './sensor-process.js'
import type { TestNetwork } from './test-network.js'
import { ALLOWED, PORT } from './test-network.js'

export const SANDBOX_ID = 'box'
const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
const RUN_DEADLINE_MS = patient(60_000)

/** 16 bytes, IPv4 as ::ffff:a.b.c.d. Of IPv6 only what has one `::`. */
export function addressBytes(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from([...MAPPED, ...address.split('.').map(Number)])
  const [head = '', tail = ''] = address.split('::')
  const words = (part: string) => (part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16)))
  const [before, after] = [words(head), words(tail)]
  const all = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]))
}

export const TCP = Protocol.PROTOCOL_TCP
export const UDP = Protocol.PROTOCOL_UDP
export const ICMP = Protocol.PROTOCOL_ICMP

export function net(
  address: string,
  options: { rule?: number; deny?: boolean; port?: number; protocols?: readonly Protocol[]; bits?: number } = {},
): INetEntry {
  const { rule = 1, deny = false, port = PORT, protocols = [TCP, UDP, ICMP], bits = 128 } = options
  const ports = protocols.map((protocol) => {
    const only = protocol === ICMP ? 0 : port
    return { rule, deny, range: { protocol, first: only, last: only } }
  })
  return { prefix: addressBytes(address), prefixLength: bits, ports }
}

/** Allows the one neighbour, at one port. */
export function testPolicy(changes: Partial<ICompiledPolicy> = {}): ICompiledPolicy {
  return {
    name: 'test',
    digest: 'test',
    mode: Mode.MODE_ENFORCE,
    listeners: Listeners.LISTENERS_OWN,
    // What tests run in it runs as root.
    ...{ allowPrivileged: true, allowBrokers: true },
    rules: [{ path: 'default' }, { path: 'egress[0]', policy: 'test' }],
    nets: [net(ALLOWED.v4), net(ALLOWED.v6)],
    ...changes,
  }
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
}

export interface RunOptions {
  /** Standard input's descriptor; closed otherwise. */
  readonly stdin?: number
  readonly env?: Readonly<Record<string, string>>
  /** Moved in there instead of into the sandbox. */
  readonly cgroup?: string
  /** Not moved in: whatever gets it into the sandbox is its own. */
  readonly outside?: boolean
}

export interface PolicedSandbox {
  readonly cgroup: string
  /** Of the sensor that holds it. */
  readonly sensorPid: number
  readonly host: SensorHost
  /** Generation of the policy. */
  apply(policy: ICompiledPolicy | null): Promise<number>
  /** Runs a program in the sandbox and in the inner namespace. */
  run(command: readonly string[], options?: RunOptions): Promise<Ended>
  /** The same, with something to read until `end` is called. */
  runWithInput(command: readonly string[]): { ended: Promise<Ended>; end(): void }
  /** Connects and sends that were told, of every kind that has an address. */
  events(): readonly KernelEvent[]
  close(): Promise<void>
}

export async function openPolicedSandbox(network: TestNetwork): Promise<PolicedSandbox> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  const cgroup = freeCgroupPath()
  mkdirSync(cgroup)
  const host = await hostSensors(dir)
  const runDir = join(dir, 'run')
  mkdirSync(runDir)
  const sensor = await startSensor({ runtimeDir: dir, runDir, uplinkSocket: host.uplinkSocket })
  await host.command({ adoptSandbox: { sandboxId: SANDBOX_ID, cgroupPath: `/${basename(cgroup)}` } })
  return {
    cgroup,
    sensorPid: sensor.pid,
    host,
    apply: (policy) => applyPolicy(host, SANDBOX_ID, policy),
    run: (command, options = {}) => runIn(options.cgroup ?? cgroup, network.inside, command, options),
    runWithInput(command) {
      const [reader, writer] = openPipe(dir)
      const ended = runIn(cgroup, network.inside, command, { stdin: reader }).finally(() => closeSync(reader))
      return { ended, end: () => closeSync(writer) }
    },
    events: () => host.heard.events.filter(({ connect }) => connect),
    async close() {
      await host.command({ releaseSandbox: { sandboxId: SANDBOX_ID } })
      await sensor.stop()
      await host.close()
      await removeCgroupTree(cgroup)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Its reading and its writing end: a FIFO that is open for both is never at its end before its writer is closed. */
function openPipe(dir: string): [reader: number, writer: number] {
  const path = join(dir, `pipe-${randomBytes(4).toString('hex')}`)
  execFileSync('mkfifo', [path])
  const both = openSync(path, 'r+')
  const reader = openSync(path, 'r')
  const writer = openSync(path, 'w')
  closeSync(both)
  return [reader, writer]
}

/** As the engine does it: big ones in parts. Generation of the policy. */
function applyPolicy(host: SensorHost, sandboxId: string, policy: ICompiledPolicy | null): Promise<number> {
  const outcome = ({
    generation,
    unknownContent,
  }: {
    generation: number
    unknownContent: boolean
  }): CommandOutcome => ({
    ...{ ok: true, cgroupId: 0n, cgroupPath: '', killed: 0, processes: 0, degraded: [], sandboxId: '', inUse: false },
    ...{ generation, unknownContent },
  })
  const issue = (command: Omit<ICommand, 'id'>, done: (outcome: CommandOutcome) => void) => {
    host.command(command).then(
      (result) => done(outcome(result)),
      (error: Error) => done({ ok: false, problem: error.message }),
    )
  }
  const sender = new PolicySender({
    apply: (apply, done) => issue({ applyPolicy: apply }, done),
    part: (policyPart, done) => issue({ policyPart }, done),
  })
  return new Promise((resolve, reject) => {
    sender.apply({ sandboxId, policy }, (applied) => {
      if (applied.ok) resolve(applied.generation)
      else reject(new Error(applied.problem))
    })
  })
}

async function runIn(
  cgroup: string,
  space: string,
  command: readonly string[],
  { stdin, env, outside }: RunOptions,
): Promise<Ended> {
  const enter = outside ? 'exec "$@"' : 'echo $$ > "$0/cgroup.procs" && exec "$@"'
  const child = spawn('sh', ['-c', enter, cgroup, 'nsenter', `--net=${space}`, ...command], {
    stdio: [stdin ?? 'ignore', 'pipe', 'inherit'],
    timeout: RUN_DEADLINE_MS,
    env: { ...process.env, ...env },
  })
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.once('exit', (code, signal) => resolve([code, signal]))
  })
  const out = child.stdout === null ? '' : await text(child.stdout)
  const [code, signal] = await ended
  return { code, signal, out }
}
