/** Node opens a debugger on SIGUSR1: in a role that would be code with its privileges for a sandbox that may signal it. */
import { describe, expect, test } from 'vitest'
import { privileged } from '../support/privileged.js'
import { sluiceRun } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

/** Signals every Node process that is a child of our launcher's parent: the roles of this run. Then tries the debugger's port. */
const ATTACK = `
import os, signal, socket, time
def ppid(pid):
    try: return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    except OSError: return -1
supervisor = os.getppid()
roles = [int(p) for p in os.listdir("/proc") if p.isdigit() and ppid(p) == supervisor and int(p) != os.getpid()]
for pid in roles: os.kill(pid, signal.SIGUSR1)
time.sleep(0.5)
s = socket.socket()
print(len(roles), s.connect_ex(("127.0.0.1", 9229)))
`

describe.skipIf(skip)(`a role's debugger${reason ? ` (skipped: ${reason})` : ''}`, () => {
  test('stays shut when a root sandbox signals the roles, and the run goes on', async () => {
    const run = await sluiceRun(['/usr/bin/python3', '-c', ATTACK])
    expect(run.exitCode, run.stderr).toBe(0)
    const [roles, error] = run.stdout.split(' ').map(Number)
    expect(roles).toBe(2)
    expect(error).toBe(111) // ECONNREFUSED
    const last = run.events.at(-1)
    expect(last && 'sandboxEnded' in last && last.sandboxEnded.summary.complete).toBe(true)
  })
})
