/**
 * The kernel's audit as a peer: auditd with rules for the same three calls, its log read afterwards. Guards that it only ever takes a
 * machine's audit that nobody uses, and gives it back switched off. One thing stays: a kernel whose audit was ever on gives every new process
 * a context, which makes each of its system calls dearer, unless a rule says `never,task`; that rule is left in place until the next boot.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuSeconds, hasProgram } from './processes.mjs'

/** Marks the load and what it starts; nobody has it. */
const LOGIN_UID = '424242'
/** As Debian's own rules have it, but for the wait: a burst waits until there is room. */
const SETTINGS = ['-b', '8192', '--backlog_wait_time', '60000']
const RULE = ['-a', 'always,exit', '-F', 'arch=b64', '-S', 'execve,openat,connect', '-F', `auid=${LOGIN_UID}`]
const ON = [['-D'], SETTINGS, RULE, ['-e', '1']]
/** For the work without a tracer in between as well. */
const OFF = [['-D'], ['-a', 'never,task'], ['-e', '0']]
const READY_MS_MAX = 10_000
const DRAINED_MS_MAX = 60_000
const STEP_MS = 50
/** On x86-64: the call that each load makes. */
const CALL_OF = { execs: 59, opens: 257, distinct: 257, connects: 42 }

const daemonConfig = (log) => `local_events = yes
write_logs = yes
log_file = ${log}
log_format = RAW
flush = INCREMENTAL_ASYNC
freq = 50
max_log_file = 8000
max_log_file_action = IGNORE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
`

/** `{trace, stop}`, or why it can't be had, as a sentence. */
export async function startAudit() {
  if (!hasProgram('auditd') || !hasProgram('auditctl')) return 'auditd is not installed'
  const before = status()
  if (before === null) return 'the kernel has no audit'
  if (before.pid !== '0' || before.enabled !== '0') return 'audit is in use on this machine'
  const dir = mkdtempSync(join(tmpdir(), 'sluice-audit-'))
  const log = join(dir, 'audit.log')
  mkdirSync(join(dir, 'plugins.d'))
  writeFileSync(join(dir, 'auditd.conf'), daemonConfig(log), { mode: 0o640 })
  const daemon = spawn('auditd', ['-n', '-s', 'nochange', '-c', dir], { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise((resolve) => daemon.once('exit', resolve))
  const stop = async () => {
    for (const args of OFF) spawnSync('auditctl', args)
    daemon.kill('SIGTERM')
    await ended
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    await until(READY_MS_MAX, () => status()?.pid === String(daemon.pid))
    return { trace: (load) => traced(load, { log, own: [daemon.pid, ...kernelThread()] }), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function traced(load, { log, own }) {
  truncateSync(log)
  const lostBefore = Number(status().lost)
  const cpu = () => own.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  const cpuBefore = cpu()
  const script = `echo ${LOGIN_UID} > /proc/self/loginuid; exec "$@"`
  tell(ON)
  const { stdout, stderr } = spawnSync('sh', ['-c', script, 'sh', ...load], { encoding: 'utf8' })
  tell(OFF)
  if (stdout === '') throw new Error(`the load said nothing: ${stderr}`)
  await until(DRAINED_MS_MAX, () => status().backlog === '0')
  return {
    ...JSON.parse(stdout),
    ownS: cpu() - cpuBefore,
    recorded: await countRecords(log, CALL_OF[load[1]]),
    lost: Number(status().lost) - lostBefore,
  }
}

function tell(commands) {
  for (const args of commands) execFileSync('auditctl', args, { stdio: 'ignore' })
}

/** Of `auditctl -s`; null where the kernel has no audit. */
function status() {
  const { stdout, status: code } = spawnSync('auditctl', ['-s'], { encoding: 'utf8' })
  return code === 0 ? Object.fromEntries(stdout.split('\n').map((line) => line.split(' '))) : null
}

/** It carries the records to the daemon. */
function kernelThread() {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.filter((pid) => commOf(pid) === 'kauditd')
}

function commOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}

async function countRecords(log, call) {
  const record = new RegExp(`^type=SYSCALL .* syscall=${call} `)
  let count = 0
  for await (const line of createInterface({ input: createReadStream(log, 'latin1') })) if (record.test(line)) count++
  return count
}

async function until(ms, isSo) {
  const end = performance.now() + ms
  while (!isSo()) {
    if (performance.now() > end) throw new Error('auditd does not do what it should')
    await sleep(STEP_MS)
  }
}
