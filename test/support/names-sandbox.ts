/**
 * A sandbox of a test's own whose queries for names go to the gateway's resolver in this process: the core object, its cgroup hooks at a
 * cgroup of the test's, and processes that are moved there before they run. Nothing else on the machine is touched.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { ABI } from '../../src/native/generated/abi.js'
import { ATTACH_PLAN } from '../../src/sensor/attach-plan.js'
import { encodeSandbox, sandboxKey } from '../../src/sensor/map-values.js'
import { encodePolicyState, encodeSandboxPolicy, POLICY_STATE_KEY } from '../../src/sensor/policy-values.js'
import { Redirects } from '../../src/sensor/redirects.js'
import { freeCgroupPath, removeCgroupTree } from './cgroup-folder.js'
import { CoreObject } from './core-object.js'

const HEARTBEAT_MS = 200
/** Of a policy that no map has: whatever it is asked, it denies. */
const NO_POLICY = 0xffffffff

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class NamesSandbox {
  readonly core = new CoreObject()
  readonly redirects = new Redirects({
    object: this.core.object,
    bootTimeNs: () => this.core.addon.bootTimeNs(),
    netns: this.core.addon.netnsCookie(),
  })
  readonly #cgroup = freeCgroupPath()
  readonly sandbox: bigint
  #isSilent = false
  readonly #heart = setInterval(() => {
    if (!this.#isSilent) this.redirects.alive()
  }, HEARTBEAT_MS)

  constructor() {
    mkdirSync(this.#cgroup)
    this.redirects.alive()
    this.sandbox = statSync(this.#cgroup, { bigint: true }).ino
    for (const { program, at } of ATTACH_PLAN)
      if (at === 'cgroup-root') this.core.object.attachCgroup(program, this.#cgroup)
    this.core.object.update('sl_sandboxes', sandboxKey(this.sandbox), encodeSandbox(this.sandbox))
  }

  /** In the sandbox; `stranger`: in its cgroup while that is none, so that the hooks run for somebody else's process. */
  async run(command: readonly string[], options: { stranger?: boolean; input?: string } = {}): Promise<Ran> {
    const { stranger = false, input = '' } = options
    if (stranger) this.core.object.delete('sl_sandboxes', sandboxKey(this.sandbox))
    const child = spawn('/bin/sh', ['-c', 'read -r _; exec "$@"', 'sh', ...command], {
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    writeFileSync(join(this.#cgroup, 'cgroup.procs'), String(child.pid))
    child.stdin?.end(`\n${input}`)
    const result = await resultOf(child)
    if (stranger) this.core.object.update('sl_sandboxes', sandboxKey(this.sandbox), encodeSandbox(this.sandbox))
    return result
  }

  /** Whether nothing is heard of the gateway. */
  silence(is: boolean): void {
    this.#isSilent = is
    if (!is) this.redirects.alive()
  }

  /** Whether the sandbox has a policy: one that allows nothing. */
  policed(is: boolean): void {
    const { object } = this.core
    const policy = encodeSandboxPolicy({
      sandbox: this.sandbox,
      policy: NO_POLICY,
      generation: 1,
      flags: ABI.enums.SL_POLICY_ENFORCED,
    })
    if (is) object.update('sl_sandbox_policies', sandboxKey(this.sandbox), policy)
    else object.delete('sl_sandbox_policies', sandboxKey(this.sandbox))
    object.update('sl_policy_state', POLICY_STATE_KEY, encodePolicyState({ policed: is }))
  }

  async close(): Promise<void> {
    clearInterval(this.#heart)
    await removeCgroupTree(this.#cgroup)
    this.core.close()
  }
}

async function resultOf(child: ChildProcess): Promise<Ran> {
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  if (child.stdout === null || child.stderr === null) throw new Error('no pipes')
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  return { code, stdout, stderr }
}
