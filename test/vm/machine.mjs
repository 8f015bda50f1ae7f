/**
 * One guest: QEMU with software emulation, no network, the host's files read only, one folder to write to. Whatever happens, its
 * processes are gone and its mount is too when `runGuest` returns.
 */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { root } from '../../scripts/project.mjs'
import { StepFailure } from '../../scripts/run-command.mjs'

/** For one that says nothing of its own: boot and a job take a minute or two where nothing else runs, and many times that where much does. */
const GUEST_DEADLINE_MS = 1_800_000
export const MEMORY_MIB = 2048
/** Not `max`: wide registers, five levels of page tables and the guards of the kernel's memory cost a tenth of the time where they are emulated. */
const CPU = 'Nehalem,+fsgsbase,+rdrand,+rdtscp'
/** The emulated TSCs agree, which the kernel would not believe: asking another clock for the time is a way out of the guest, each time. */
const CLOCK = 'tsc=reliable'
/** The kernel waits a moment for a first interrupt of its timer, and panics where a busy host let the emulator have no turn in it. */
const TIMER = 'no_timer_check'
const SOCKET_DEADLINE_MS = 5_000
const END_DEADLINE_MS = 5_000
const POLL_MS = 50
const CPU_POLL_MS = 500
/** USER_HZ, which is 100 on every machine that QEMU emulates this one on. */
const TICKS_PER_S = 100
/** Where distributions keep it, since it is not a command for people. */
const VIRTIOFSD = ['/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd']

/** Where we are killed, a guest must not run on. */
const DIES_WITH_US = ['--pdeathsig', 'KILL', '--']

/** A mount of its own namespace, so that no mistake of the guest's can write to the host. */
const SHARE_READ_ONLY = 'mount --bind / "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'

/**
 * Boots the kernel, lets the guest do its job, and waits for its end.
 * @param {object} guest
 * @param {string[]} guest.emulator
 * @param {string} guest.image
 * @param {string} guest.initramfs
 * @param {string} guest.outDir gets serial.log and whatever the guest leaves
 * @param {string} guest.job the script of test/vm/guest
 * @param {string} [guest.append] more of the kernel's command line
 * @param {number} [guest.deadlineMs]
 * @param {AbortSignal} guest.signal ends it early
 * @returns {Promise<{ exitCode: number | null, cpuSeconds: number }>} of the job, null if it never got that far; what the emulator took,
 *   which tells more than the clock where others are at work
 */
export async function runGuest(guest) {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-vm-'))
  const log = openSync(join(guest.outDir, 'host.log'), 'w')
  const processes = []
  let endCpuWatch = () => 0
  let cpuSeconds = 0
  try {
    const { machine, ended } = await startAll(guest, dir, (command, args) => {
      const child = spawn('setpriv', [...DIES_WITH_US, command, ...args], { stdio: ['ignore', log, log] })
      const exited = new Promise((resolve) => {
        child.on('error', resolve)
        child.on('exit', resolve)
      })
      processes.push({ child, exited })
      return { child, exited }
    })
    endCpuWatch = watchCpu(machine)
    const deadline = sleep(guest.deadlineMs ?? GUEST_DEADLINE_MS, null, { ref: false })
    await Promise.race([ended, deadline, aborted(guest.signal)])
  } finally {
    cpuSeconds = endCpuWatch()
    await endAll(processes)
    closeSync(log)
    rmSync(dir, { recursive: true, force: true })
  }
  const code = readOrNull(join(guest.outDir, 'exit-code'))
  return { exitCode: code === null ? null : Number(code), cpuSeconds }
}

/** A function that ends the watch and tells how much CPU time the process has taken, until shortly before its end. */
function watchCpu({ pid }) {
  let seconds = 0
  const look = () => {
    const stat = readOrNull(`/proc/${pid}/stat`)
    const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
    // utime and stime; a process that is gone, or only not reaped yet, says nothing more.
    seconds = Math.max(seconds, (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_S)
  }
  const timer = setInterval(look, CPU_POLL_MS)
  return () => {
    clearInterval(timer)
    return seconds
  }
}

/** Resolves once all are started, with the machine's own process and the promise of its end. */
async function startAll(guest, dir, start) {
  const [view, host, out] = ['root', 'host.sock', 'out.sock'].map((name) => join(dir, name))
  mkdirSync(view)
  start('unshare', ['-m', 'sh', '-c', SHARE_READ_ONLY, 'sh', view, ...shareCommand(host, view)])
  const [daemon, ...args] = shareCommand(out, guest.outDir)
  start(daemon, args)
  await waitForFiles([host, out], guest.signal)
  const [qemu, ...qemuFirst] = guest.emulator
  const { child, exited } = start(qemu, [...qemuFirst, ...qemuArguments(guest, { host, out })])
  return { machine: child, ended: exited }
}

function aborted(signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', resolve, { once: true })
  })
}

function shareCommand(socket, source) {
  const daemon = VIRTIOFSD.find((path) => existsSync(path))
  if (daemon === undefined) throw new StepFailure(`test:vm: virtiofsd is in none of ${VIRTIOFSD.join(', ')}`)
  return [daemon, `--socket-path=${socket}`, '-o', `source=${source}`, '-o', 'sandbox=chroot', '-o', 'cache=always']
}

function qemuArguments({ image, initramfs, outDir, job, append: more = '' }, { host, out }) {
  const share = (id, socket) => [
    ...['-chardev', `socket,id=${id},path=${socket}`],
    ...['-device', `vhost-user-fs-pci,chardev=${id},tag=${id}`],
  ]
  const append = [
    `console=ttyS0 quiet panic=-1 nokaslr mitigations=off random.trust_cpu=on ${CLOCK} ${TIMER} rdinit=/init`,
    `SLUICE_ROOT=${root}`,
    `SLUICE_NODE_DIR=${dirname(process.execPath)}`,
    `SLUICE_JOB=${job}`,
    more,
  ]
  return [
    ...['-M', 'q35', '-accel', 'tcg,thread=single', '-cpu', CPU, '-smp', '2', '-m', String(MEMORY_MIB)],
    ...['-object', `memory-backend-memfd,id=mem,size=${MEMORY_MIB}M,share=on`, '-numa', 'node,memdev=mem'],
    ...['-nodefaults', '-no-reboot', '-display', 'none', '-serial', `file:${join(outDir, 'serial.log')}`],
    ...share('host', host),
    ...share('out', out),
    ...['-kernel', image, '-initrd', initramfs, '-append', append.join(' ')],
  ]
}

async function waitForFiles(paths, signal) {
  const deadline = Date.now() + SOCKET_DEADLINE_MS
  while (!paths.every((path) => existsSync(path))) {
    signal.throwIfAborted()
    if (Date.now() > deadline) throw new StepFailure('test:vm: virtiofsd did not start: see host.log')
    await sleep(POLL_MS)
  }
}

/** Last started, first ended. By the child's own handle, which can't hit another process. */
async function endAll(processes) {
  for (const { child, exited } of processes.toReversed()) {
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      if (child.exitCode !== null || child.signalCode !== null) break
      child.kill(signal)
      await Promise.race([exited, sleep(END_DEADLINE_MS, null, { ref: false })])
    }
  }
}

function readOrNull(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
