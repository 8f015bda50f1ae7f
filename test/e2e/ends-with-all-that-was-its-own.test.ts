/** The end of a sandbox that did not stay in its place: processes that left its cgroup, and cgroups that it made itself. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findCgroupRoot } from '../../src/sensor/cgroup-root.js'
import { privileged } from '../support/privileged.js'
import { type SluiceRun, sluiceRun } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

/** Prints the pid of a process that outlives the command by far, unless it is ended. */
const LEAVE_BEHIND =
  'read -r pid < <(echo $BASHPID > "$target/cgroup.procs"; echo $BASHPID; exec sleep 60 > /dev/null); echo $pid'
const OWN = `own=${'$root'}$(sed -n 's/^0:://p' /proc/self/cgroup)`

async function endOf(prepare: string): Promise<{ run: SluiceRun; killed: number; pid: string }> {
  const script = `root=${findCgroupRoot()}; ${OWN}; ${prepare}; ${LEAVE_BEHIND}; exit 5`
  const run = await sluiceRun(['bash', '-c', script])
  expect(run.exitCode, run.stderr).toBe(5)
  const last = run.events.at(-1)
  const summary = last && 'sandboxEnded' in last ? last.sandboxEnded.summary : null
  expect(summary?.complete).toBe(true)
  return { run, killed: summary?.killedAtEnd ?? -1, pid: run.stdout.trim() }
}

function expectGone({ run, killed, pid }: Awaited<ReturnType<typeof endOf>>): void {
  expect(run.stderr).toBe('')
  expect(pid).toMatch(/^\d+$/)
  expect(killed).toBe(1)
  expect(existsSync(join(findCgroupRoot(), run.events[0]?.sandbox.cgroupPath ?? ''))).toBe(false)
  // A zombie that init has yet to reap is no process any more.
  expect(existsSync(`/proc/${pid}/exe`)).toBe(false)
}

describe.skipIf(skip)(`a sandbox ends ${reason}`, () => {
  test('with the process that left its cgroup', async () => {
    expectGone(await endOf('target=$root'))
  })

  test('with the cgroups that it made, and what runs in them', async () => {
    expectGone(await endOf('target=$own/a/b; mkdir -p "$target"'))
  })
})

describe.skipIf(skip)(`a connect by MPTCP ${reason}`, () => {
  test('is recorded, though it connects by a socket of its own', async () => {
    const code =
      'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); print(s.connect_ex(("127.0.0.1", 9)))'
    const run = await sluiceRun(['/usr/bin/python3', '-c', code])
    const errno = Number(run.stdout)
    if (run.exitCode !== 0) return expect(run.stderr).toMatch(/Protocol not (available|supported)/)
    const connects = run.events.flatMap((event) =>
      'connect' in event && event.connect.via === 'CONNECT' ? [event.connect] : [],
    )
    expect(connects).toMatchObject([{ protocol: 'TCP', address: '127.0.0.1', port: 9, errno }])
  })
})
