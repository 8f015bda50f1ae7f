/**
 * An agent whose events go to real receivers of syslog over TLS: whatever a command had in its arguments, rsyslog and syslog-ng have each event whole,
 * exactly as the record of the run has it.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { makeAuthority } from '../support/certificates.js'
import { privileged } from '../support/privileged.js'
import { until } from '../support/sluice-process.js'
import { sluiceRun } from '../support/sluice-run.js'
import { type SyslogProgram, type SyslogReceiver, startSyslog } from '../support/syslog-receiver.js'

const { skip, reason } = privileged('bpf')
const PROGRAMS: readonly SyslogProgram[] = ['rsyslog', 'syslog-ng']
const LONG_BYTES = 64 * 1024
/** What must be taken neither for the end of a message, nor for another one, nor for what a template stands for. */
const AWKWARD = [
  'for x in 1 2\ndo\n\techo "$x"\r\ndone\n',
  Array.from({ length: 31 }, (_, code) => String.fromCharCode(code + 1)).join(''),
  '\u007f\u0080\u0085\u009b31m',
  '𝕊é→\u2028\u2029\ufeff עברית',
  '"quoted" \\ ] %msg% $MSG $(uuid)',
  '\n<34>1 2026-01-01T00:00:00Z h sluice - - - {"uid":"forged"}',
  '56 <34>1 - - sluice - - - {"uid":"forged"}',
]

describe.skipIf(skip)(`an agent and receivers of syslog ${reason}`, () => {
  let dir = ''
  let agent: TestAgent
  const receivers: SyslogReceiver[] = []

  beforeAll(async () => {
    // The engine's user reads nothing here: keys are read before it is that user.
    dir = mkdtempSync(join(tmpdir(), 'sluice-syslog-'))
    chmodSync(dir, 0o755)
    const authority = makeAuthority(dir)
    const served = authority.sign('logs', { san: 'DNS:localhost,IP:127.0.0.1' })
    const tls = authority.sign('node', { usage: 'clientAuth' })
    for (const program of PROGRAMS) receivers.push(await startSyslog(program, join(dir, program), served))
    const sinks = receivers.map(({ port }, at) => [
      PROGRAMS[at],
      { type: 'syslog', transport: 'tls', address: `127.0.0.1:${port}`, tls, batch: { seconds: 0.2 } },
    ])
    agent = await startTestAgent({ config: { sinks: Object.fromEntries(sinks) } })
  })
  afterAll(async () => {
    await agent?.stop()
    for (const receiver of receivers) await receiver.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  test('leaves them every event whole, and nothing that was made up', async () => {
    const long = 'ä'.repeat(LONG_BYTES / 2)
    const command = ['sh', '-c', '/bin/true "$@"; /bin/true "$1"', 'sh', ...AWKWARD, long]
    const { events, exitCode } = await sluiceRun(command, { options: ['--socket', agent.socket] })
    expect(exitCode).toBe(0)
    const wanted = new Map(events.map((event) => [event.uid, event]))
    const args = events.flatMap((event) => event.process?.args ?? [])
    // As the record writes bytes: one backslash is two.
    for (const each of AWKWARD) expect(args).toContain(each.replaceAll('\\', '\\\\'))
    expect(Math.max(...events.map((event) => Number(event.process?.argsBytes ?? 0)))).toBeGreaterThan(LONG_BYTES)
    for (const receiver of receivers) {
      const ofRun = () => receiver.received().filter(({ message }) => wanted.has(uidOf(message)))
      await until('it has them', () => ofRun().length >= wanted.size)
      const got = ofRun().map(({ message }) => JSON.parse(message) as EventJson)
      expect(got).toEqual(events)
      for (const { about, message } of receiver.received()) {
        expect(JSON.parse(message).uid).not.toBe('forged')
        expect(about).toMatch(/^sluice (\d+|-)? [a-zA-Z]+ \[sluice@32473 uid="[-0-9a-f]+" session="/)
      }
    }
  })
})

function uidOf(message: string): string {
  return (JSON.parse(message) as EventJson).uid
}
