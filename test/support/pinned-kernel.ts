/** The kernel side as an agent's sensor has it, pinned, in a BPF file system and with a sandbox of a test's own. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Cgroup, loadAddon } from '../../src/native/addon.js'
import { findCgroupRoot } from '../../src/sensor/cgroup-root.js'
import { type KernelSide, openKernelSide } from '../../src/sensor/kernel-side.js'
import { readCounters } from '../../src/sensor/kind-counters.js'
import { encodeSandbox, encodeTask, sandboxKey } from '../../src/sensor/map-values.js'
import { openPinFolder, type PinFolder } from '../../src/sensor/pin-folder.js'
import { mountOwnBpfFs, type OwnBpfFs } from './bpf-fs.js'
import { freeCgroupPath, removeCgroupTree } from './cgroup-folder.js'
import { type Launched, launch } from './launcher.js'
import { until } from './sluice-process.js'

const RING_BYTES = { priority: 4096, bulk: 4096 }
/** read(2) of the sync descriptor, as /proc/PID/syscall writes it. */
const WAITS_FOR_GO = '0 0x3 '

export class PinnedKernel {
  readonly addon = loadAddon()
  readonly dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  readonly bpfFs: OwnBpfFs = mountOwnBpfFs(this.dir)
  readonly pins: PinFolder = openPinFolder(this.addon, this.bpfFs.pinDir)
  readonly #path = freeCgroupPath()
  readonly cgroup: Cgroup = this.addon.openCgroup(this.#path, { create: true })
  #side: KernelSide | null = null

  async open(): Promise<void> {
    this.#side = await this.#openSide()
    this.side.object.update('sl_sandboxes', sandboxKey(this.cgroup.id), encodeSandbox(this.cgroup.id))
  }

  get side(): KernelSide {
    if (this.#side === null) throw new Error('it was not opened')
    return this.#side
  }

  #openSide(): Promise<KernelSide> {
    const { addon, pins } = this
    return openKernelSide({ addon, cgroupRoot: findCgroupRoot(), ringBytes: RING_BYTES, pins })
  }

  /** As the next sensor takes over. */
  async handOverOnce(): Promise<void> {
    const next = await this.#openSide()
    this.#side?.close()
    this.#side = next
  }

  attempted(kind: number): number {
    return Number(readCounters(this.side.object).kinds.get(kind)?.attempted ?? 0n)
  }

  /** Starts a program that is ours from its first instruction on. */
  async start(command: string[]): Promise<Launched> {
    const launched = launch({ command })
    const pid = launched.child.pid ?? 0
    // Else its own loading would count as well.
    await until('the launcher waits', () => readFileSync(`/proc/${pid}/syscall`, 'utf8').startsWith(WAITS_FOR_GO))
    this.side.object.updateTask('sl_tasks', pid, encodeTask(this.cgroup.id))
    this.cgroup.addProcess(pid)
    launched.go('G')
    return launched
  }

  async close(): Promise<void> {
    this.pins.removeAll()
    this.#side?.close()
    this.pins.close()
    this.cgroup.close()
    await removeCgroupTree(this.#path)
    this.bpfFs.unmount()
    rmSync(this.dir, { recursive: true, force: true })
  }
}
