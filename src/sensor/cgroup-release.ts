/**
 * Taking a sandbox's cgroup away again, with what the sandbox made below it; its processes killed or given back to where they came
 * from. Every walk is bounded: a sandbox that runs as root can make cgroups faster than they are removed.
 */
import { readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoCode } from '../base/error.js'
import type { Addon, Cgroup } from '../native/addon.js'

/** How long killed processes may take to be gone. */
const EMPTY_DEADLINE_MS = 5_000
const POLL_MS = 2
/** A fork storm can outrun one round of moving. */
const MOVE_ROUNDS_MAX = 50
/** Cgroups of one sandbox that are walked. */
const TREE_MAX = 4_096

/** Waits until nothing runs in the cgroup or below it. False if something still does at the deadline. */
export async function waitUntilEmpty(cgroup: Cgroup, deadlineMs: number = EMPTY_DEADLINE_MS): Promise<boolean> {
  const end = performance.now() + deadlineMs
  while (cgroup.populated()) {
    if (performance.now() > end) return false
    await sleep(POLL_MS)
  }
  return true
}

/** Kills everything in the cgroup at `path` and below it. Returns how many processes there were, as counted just before. */
export async function killAll(addon: Addon, cgroup: Cgroup, path: string): Promise<number> {
  if (!cgroup.populated()) return 0
  let killed = 0
  for (const below of cgroupTree(path)) killed += processesOf(addon, below).length
  cgroup.kill()
  await waitUntilEmpty(cgroup)
  return killed
}

/** Moves every process of the cgroup at `path`, and of those below it, to the one at `originPath`, or to the root if that is gone. */
export function moveAll(addon: Addon, path: string, originPath: string, rootPath: string): void {
  const to = openFirst(addon, [originPath, rootPath])
  try {
    for (let round = 0; round < MOVE_ROUNDS_MAX; round += 1) {
      const pids = cgroupTree(path).flatMap((below) => processesOf(addon, below))
      if (pids.length === 0) return
      for (const pid of pids) moveOne(to, pid)
    }
  } finally {
    to.close()
  }
}

/** Removes the cgroup and all below it. False if one is still in use; true if they are gone, whoever removed them. */
export function removeCgroup(path: string): boolean {
  let gone = true
  for (const below of cgroupTree(path).reverse()) gone = removeOne(below) && gone
  return gone
}

/** The cgroup and all below it, parents first; `visit` is called with each before its own are listed. */
export function cgroupTree(path: string, visit: (path: string) => void = () => {}): string[] {
  const found = [path]
  for (let i = 0; i < found.length && found.length < TREE_MAX; i += 1) {
    visit(found[i] ?? path)
    for (const entry of listFolder(found[i] ?? path)) {
      if (entry.isDirectory()) found.push(join(found[i] ?? path, entry.name))
    }
  }
  return found
}

function listFolder(path: string) {
  try {
    return readdirSync(path, { withFileTypes: true })
  } catch {
    return [] // removed meanwhile
  }
}

function processesOf(addon: Addon, path: string): number[] {
  try {
    const cgroup = addon.openCgroup(path, { create: false })
    try {
      return cgroup.processes()
    } finally {
      cgroup.close()
    }
  } catch {
    return [] // removed meanwhile
  }
}

function openFirst(addon: Addon, paths: readonly [string, string]): Cgroup {
  try {
    return addon.openCgroup(paths[0], { create: false })
  } catch {
    return addon.openCgroup(paths[1], { create: false })
  }
}

function moveOne(to: Cgroup, pid: number): void {
  try {
    to.addProcess(pid)
  } catch {
    // It ended between the listing and the move, or is a zombie, which does not keep a cgroup from being removed.
  }
}

/** Removes a cgroup that others may be using, unless they do. */
export function removeIfEmpty(path: string): void {
  removeOne(path)
}

function removeOne(path: string): boolean {
  try {
    rmdirSync(path)
    return true
  } catch (error) {
    return errnoCode(error) === 'ENOENT'
  }
}
