/**
 * Makes a fresh machine able to build and run: system packages (Debian and Ubuntu, as root), npm packages exactly as
 * locked, the system users that the engine and the gateway run as, and the groups whose members may use the node's agent. Every part is skipped when it is already so; safe to run twice at
 * once. It never removes anything and never changes packages that are there.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { withLock } from './lock.mjs'
import { hasCommand, missingNeeds } from './needs.mjs'
import { isStartedDirectly, root } from './project.mjs'
import { hasReceivers, unpackReceivers } from './receivers.mjs'
import { capture, captureOrFail, exitOnFailure, StepFailure, say } from './run-command.mjs'

const NODE_MIN = [20, 19]
/** By what runs as it. */
const USERS = { engine: 'sluice-engine', gateway: 'sluice-gateway' }
/** Of those who may use an agent, and who of them may do everything. Nobody is put into them. */
const GROUPS = ['sluice', 'sluice-admin']
const USER_ATTEMPTS = 5
const USER_RETRY_MS = 500
/** Another apt-get (unattended upgrades on a fresh machine) gets this long to finish. */
const APT_LOCK_SECONDS = 300

/** @param {{ purposes: readonly ('build' | 'demo' | 'test' | 'vm')[] }} options what the machine has to be able to do */
export async function setup({ purposes }) {
  checkPlatform()
  if (isReady(purposes)) return
  await withLock(join(root, 'build', 'setup.lock'), async () => {
    await installSystemPackages(purposes)
    if (purposes.includes('test')) await unpackReceivers()
    await installNpmPackages()
    await createUsers()
    await createGroups()
  })
}

function checkPlatform() {
  if (process.platform !== 'linux') {
    throw new StepFailure(`setup: Sluice watches with eBPF and runs on Linux only; this is ${process.platform}`)
  }
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1])) {
    throw new StepFailure(
      `setup: Node ${process.versions.node} is too old, ${NODE_MIN.join('.')} or newer is needed: see https://nodejs.org/en/download`,
    )
  }
}

function isReady(purposes) {
  return (
    missingNeeds(purposes).length === 0 &&
    (!purposes.includes('test') || hasReceivers()) &&
    readOrNull(stampPath()) === lockHash() &&
    wantedUsers().length === 0 &&
    wantedGroups().length === 0
  )
}

async function installSystemPackages(purposes) {
  const missing = missingNeeds(purposes)
  if (missing.length === 0) return
  const manager = ['apt', 'dnf', 'pacman', 'apk'].find((name) => hasCommand(name === 'apt' ? 'apt-get' : name))
  if (manager !== 'apt' || process.getuid() !== 0) return refuse(missing, manager)

  for (const need of missing) say(`setup: installing ${need.packages.apt}, ${need.why}`)
  const update = await apt(['update'])
  const required = missing.filter((need) => !need.optional)
  const install = await aptInstall(required)
  if (install.code !== 0) {
    // A list that could not be fetched is the usual reason; its own error says more than the failed installation does.
    const output = update.code === 0 ? install.output : `${update.output}\n${install.output}`
    throw new StepFailure('setup: apt-get could not install what is needed: see above', output)
  }
  const left = missingNeeds(purposes).filter((need) => !need.optional)
  if (left.length > 0) {
    const names = left.map((need) => need.sign).join(', ')
    throw new StepFailure(`setup: still missing after the installation: ${names}; is PATH complete?`)
  }
  for (const need of missing.filter((each) => each.optional)) {
    if ((await aptInstall([need])).code !== 0) say(`setup: ${need.packages.apt} can't be had here; going on without it`)
  }
}

async function aptInstall(needs) {
  if (needs.length === 0) return { code: 0, output: '' }
  const packages = unique(needs.map((need) => need.packages.apt))
  const lock = `DPkg::Lock::Timeout=${APT_LOCK_SECONDS}`
  return apt(['install', '-y', '--no-install-recommends', '-o', lock, ...packages])
}

function apt(args) {
  return capture('apt-get', ['-q', ...args], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } })
}

/** Names what is missing and the command that would install it; optional needs alone are no reason to refuse. */
function refuse(missing, manager = 'apt') {
  if (missing.every((need) => need.optional)) return
  for (const need of missing) {
    say(`setup: ${need.sign} is missing (package ${need.packages[manager]}, ${need.why})`)
  }
  const installer = { apt: 'apt-get install', dnf: 'dnf install', pacman: 'pacman -S', apk: 'apk add' }[manager]
  const packages = unique(missing.map((need) => need.packages[manager])).join(' ')
  const isRoot = process.getuid() === 0
  throw new StepFailure(
    `setup: nothing was installed (${isRoot ? 'this script drives apt-get only' : 'that needs root'}); install what is missing, then try again:\n  ${isRoot ? '' : 'sudo '}${installer} ${packages}`,
  )
}

async function installNpmPackages() {
  const wanted = lockHash()
  if (readOrNull(stampPath()) === wanted) return
  if (!isInstalledAsLocked()) {
    say('setup: installing npm packages as locked (npm ci)')
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    // The npm that runs us, where one does: another one on PATH may be of another Node.
    const npm = process.env.npm_execpath
    const [command, ...before] = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm']
    await captureOrFail(command, [...before, ...args], 'setup: npm ci failed: see above', { cwd: root })
  }
  writeFileSync(stampPath(), wanted)
}

/** npm keeps what it installed in a lock file of its own; the same versions there mean that `npm ci` was already run. */
function isInstalledAsLocked() {
  const installedText = readOrNull(join(root, 'node_modules', '.package-lock.json'))
  if (installedText === null) return false
  const installed = JSON.parse(installedText).packages
  const locked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  const isSame = ([path, entry]) => {
    if (path === '') return true
    const found = installed[path]
    if (found === undefined) return entry.optional === true || entry.os !== undefined || entry.cpu !== undefined
    return found.version === entry.version && found.integrity === entry.integrity && existsSync(join(root, path))
  }
  return Object.entries(locked).every(isSame) && Object.keys(installed).every((path) => locked[path] !== undefined)
}

async function createUsers() {
  for (const [part, user] of wantedUsers()) {
    say(`setup: creating the system user ${user} (the ${part} runs as it, without privileges)`)
    const make = () =>
      hasCommand('useradd')
        ? capture('useradd', [...USERADD_ARGS, user], withSbin())
        : capture('adduser', ['-S', '-D', '-H', '-s', '/sbin/nologin', user], withSbin())
    const isWanted = () => wantedUsers().some(([, each]) => each === user)
    await makeUnlessThere(isWanted, make, `the system user ${user}`)
  }
}

async function createGroups() {
  for (const group of wantedGroups()) {
    say(`setup: creating the system group ${group} (its members may use the node's agent)`)
    await makeUnlessThere(
      () => wantedGroups().includes(group),
      () =>
        hasCommand('groupadd')
          ? capture('groupadd', ['--system', group], withSbin())
          : capture('addgroup', ['-S', group], withSbin()),
      `the system group ${group}`,
    )
  }
}

/** Another one at work holds the lock of the account files, or has just made it. */
async function makeUnlessThere(isWanted, make, what) {
  for (let attempt = 1; isWanted(); attempt += 1) {
    const made = await make()
    if (made.code === 0) return
    if (attempt >= USER_ATTEMPTS) {
      throw new StepFailure(`setup: ${what} could not be created: see above`, made.output)
    }
    await sleep(USER_RETRY_MS)
  }
}

function wantedGroups() {
  if (process.getuid() !== 0) return []
  const known = `\n${readOrNull('/etc/group') ?? ''}`
  return GROUPS.filter((group) => !known.includes(`\n${group}:`))
}

const USERADD_ARGS = [
  '--system',
  '--user-group',
  '--no-create-home',
  '--home-dir',
  '/nonexistent',
  '--shell',
  '/usr/sbin/nologin',
]

function withSbin() {
  return { env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` } }
}

function wantedUsers() {
  if (process.getuid() !== 0) return []
  const known = `\n${readOrNull('/etc/passwd') ?? ''}`
  return Object.entries(USERS).filter(([, user]) => !known.includes(`\n${user}:`))
}

function lockHash() {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
}

function stampPath() {
  return join(root, 'node_modules', '.sluice-lock-hash')
}

function unique(names) {
  return [...new Set(names)]
}

function readOrNull(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

if (isStartedDirectly(import.meta.url)) {
  await exitOnFailure(async () => {
    await setup({ purposes: ['build', 'demo', 'test'] })
    say('setup: ready')
  })
}
