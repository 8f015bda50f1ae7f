/**
 * One script at a time in one checkout, or in a folder that several share: a lock file that names its holder. A lock whose holder
 * is gone is taken over, so a killed build blocks nobody. It guards against our own scripts only, not against other tools that write
 * the same files.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StepFailure, say } from './run-command.mjs'

const WAIT_MAX_MS = 15 * 60 * 1000
const POLL_MS = 150

/** Runs `work` while holding the lock at `path`; waits for another holder, and says so once. */
export async function withLock(path, work) {
  mkdirSync(dirname(path), { recursive: true })
  const own = `${path}.${process.pid}`
  writeFileSync(own, identity(process.pid))
  const release = () => {
    rmSync(own, { force: true })
    if (readOrNull(path) === identity(process.pid)) rmSync(path, { force: true })
  }
  process.on('exit', release)
  try {
    await acquire(path, own)
    return await work()
  } finally {
    release()
    process.off('exit', release)
  }
}

async function acquire(path, own) {
  const deadline = Date.now() + WAIT_MAX_MS
  let said = false
  while (!tryLink(own, path)) {
    const holder = readOrNull(path)
    if (holder === null) continue
    if (!isAlive(holder)) {
      takeAway(path, own, holder)
      continue
    }
    const pid = holder.split(' ')[0]
    if (Date.now() > deadline) {
      throw new StepFailure(`${path} is still held by process ${pid}: end that process, then try again`)
    }
    if (!said) say(`waiting for process ${pid}, which holds ${path}`)
    said = true
    await sleep(POLL_MS)
  }
}

/** link(2) makes the lock appear with its content, and fails when there is one: nobody ever reads a half-written holder. */
function tryLink(own, path) {
  try {
    linkSync(own, path)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
}

/** Two may find the same dead holder; who moved away a lock that somebody else took meanwhile puts it back. */
function takeAway(path, own, deadHolder) {
  const aside = `${own}.stale`
  try {
    renameSync(path, aside)
  } catch (error) {
    if (error.code === 'ENOENT') return
    throw error
  }
  if (readOrNull(aside) !== deadHolder) tryLink(aside, path)
  rmSync(aside, { force: true })
}

function isAlive(holder) {
  const pid = Number(holder.split(' ')[0])
  return Number.isInteger(pid) && pid > 0 && identity(pid) === holder
}

/** "pid starttime": a recycled pid has another start time. */
function identity(pid) {
  const stat = readOrNull(`/proc/${pid}/stat`)
  if (stat === null) return `${pid} gone`
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' ? `${pid} gone` : `${pid} ${fields[19]}`
}

function readOrNull(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
