/** A cgroup of a test's own in the real cgroup v2 hierarchy, and its removal with everything below it. */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { patient } from './patience.js'

const EMPTY_DEADLINE_MS = patient(5_000)
const EMPTY_STEP_MS = 5

/** Mount point of cgroup v2, wherever it is; null without one. */
export function cgroupMount(): string | null {
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [left, right] = line.split(' - ')
    if (right?.startsWith('cgroup2 ')) return left?.split(' ')[4] ?? null
  }
  return null
}

/** A path that is free; the caller makes the directory. */
export function freeCgroupPath(): string {
  const mount = cgroupMount()
  if (mount === null) throw new Error('no cgroup v2 hierarchy is mounted here')
  return join(mount, `sluice-test-${randomBytes(6).toString('hex')}`)
}

/** Kills what is in the cgroup and below it, and removes it. Nothing happens if it isn't there. */
export async function removeCgroupTree(path: string): Promise<void> {
  try {
    writeFileSync(join(path, 'cgroup.kill'), '1')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  const deadline = performance.now() + EMPTY_DEADLINE_MS
  while (/^populated 1$/m.test(readFileSync(join(path, 'cgroup.events'), 'utf8'))) {
    if (performance.now() > deadline) throw new Error(`${path} does not become empty`)
    await sleep(EMPTY_STEP_MS)
  }
  removeBelow(path)
}

function removeBelow(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeBelow(join(path, entry.name))
  }
  rmdirSync(path)
}
