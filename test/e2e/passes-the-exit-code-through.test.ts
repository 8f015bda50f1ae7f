/** The exit code of `sluice run` is the command's own; ours are 125, and 126 and 127 say that the command did not start. */
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { execs, exits, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { goOn } from '../support/shell-loops.js'
import { startSluice } from '../support/sluice-process.js'
import { SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

// Side by side, as each is about a run of its own.
describe.skipIf(skip)(`the exit code ${reason}`, { concurrent: true }, () => {
  test.each([
    { name: 'success', command: ['true'], exitCode: 0, recorded: { code: 0, signal: 0 } },
    { name: 'a failure', command: ['sh', '-c', 'exit 42'], exitCode: 42, recorded: { code: 42, signal: 0 } },
    { name: 'its own 125', command: ['sh', '-c', 'exit 125'], exitCode: 125, recorded: { code: 125, signal: 0 } },
    { name: 'a kill', command: ['sh', '-c', 'kill -KILL $$'], exitCode: 137, recorded: { code: 0, signal: 9 } },
    { name: 'a termination', command: ['sh', '-c', 'kill $$'], exitCode: 143, recorded: { code: 0, signal: 15 } },
    { name: 'a broken pipe', command: ['sh', '-c', 'kill -PIPE $$'], exitCode: 141, recorded: { code: 0, signal: 13 } },
  ])('is the command’s: $name', async ({ command, exitCode, recorded }) => {
    const run = await sluiceRun(command)
    expect(run).toMatchObject({ exitCode, stdout: '', stderr: '' })
    expectComplete(run.events)
    const last = exits(run.events).at(-1)
    expect(last?.exit).toMatchObject(recorded)
    const { signal } = recorded
    const exit = signal === 0 ? { exitCode: recorded.code, signal: 0 } : { exitCode: 0, signal }
    expect(run.events.at(-1)).toMatchObject({ sandboxEnded: { summary: exit } })
  })

  test.each([
    { name: 'a directory', command: ['/tmp'], exitCode: 126, says: /^sluice: cannot run '\/tmp': permission denied$/ },
    { name: 'a file without x', command: ['/etc/passwd'], exitCode: 126, says: /cannot run '\/etc\/passwd'/ },
    { name: 'a name in no PATH', command: ['no-such-command'], exitCode: 127, says: /no-such-command.*not found$/ },
    { name: 'a path to nothing', command: ['/no/such'], exitCode: 127, says: /'\/no\/such': not found$/ },
  ])('says that it did not start: $name', async ({ command, exitCode, says }) => {
    const run = await sluiceRun(command)
    expect(run.exitCode).toBe(exitCode)
    expect(run.stderr).toMatch(says)
    expect(run.stdout).toBe('')
    expect(execs(run.events)).toEqual([])
    expectComplete(run.events)
  })

  test.each([
    { name: 'no command', args: ['run'], says: /no command/ },
    { name: 'an unknown option', args: ['run', '--polcy', 'x', '--', 'true'], says: /--polcy/ },
    {
      name: 'a mode without a policy',
      args: ['run', '--mode', 'enforce', '--', 'true'],
      says: /say which with --policy/,
    },
    { name: '--fail-on outside', args: ['run', '--fail-on', 'outside', '--', 'true'], says: /--fail-on deny/ },
    { name: 'no such user', args: ['run', '--user', 'no-such-user', '--', 'true'], says: /no such user/ },
    { name: 'no place for the record', args: ['run', '--record', '/no/dir/r', '--', 'true'], says: /\/no\/dir\/r/ },
    { name: 'a directory as record', args: ['run', '--record', '/tmp', '--', 'true'], says: /is a directory/ },
    { name: 'no such workdir', args: ['run', '--workdir', '/no/dir', '--', 'true'], says: /\/no\/dir/ },
    { name: 'a file as workdir', args: ['run', '--workdir', '/etc/passwd', '--', 'true'], says: /is not a directory$/ },
    {
      name: 'the engine’s user',
      args: ['run', '--user', 'sluice-engine', '--', 'true'],
      says: /--user 'sluice-engine'/,
    },
    { name: 'a control character', args: ['run', '--agent', 'a\tb', '--', 'true'], says: /--agent holds a control/ },
  ])('is 125 for ours: $name', async ({ args, says }) => {
    const result = await execa(SLUICE_BIN, args, { reject: false, stdin: 'ignore' })
    expect(result.exitCode).toBe(125)
    expect(result.stderr).toMatch(says)
    expect(result.stdout).toBe('')
  })

  test('is 125, and nothing is run, without root', async () => {
    // May read everything, so that it reaches the checkout wherever that is, and nothing else.
    const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=+dac_read_search']
    const args = [...nobody, '--ambient-caps=+dac_read_search', SLUICE_BIN, 'run', '--', 'echo', 'ran']
    const result = await execa('setpriv', args, { reject: false, stdin: 'ignore' })
    expect(result).toMatchObject({ exitCode: 125, stdout: '' })
    expect(result.stderr).toMatch(/needs root.*sudo/s)
  })

  test('is left alone by --fail-on deny where nothing is denied', async () => {
    const options = ['--fail-on', 'deny']
    expect(await sluiceRun(['true'], { options })).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await sluiceRun(['sh', '-c', 'exit 5'], { options })).toMatchObject({ exitCode: 5, stderr: '' })
  })

  test('is the command’s whatever signals come between its end and ours', async () => {
    await withTempDir(async (dir) => {
      const run = startSluice(['sh', '-c', 'trap "" TERM HUP USR1; echo ready; sleep 0.3; exit 7'], { dir })
      await new Promise((resolve) => run.child.stdout?.once('data', resolve))
      const signals = (['SIGTERM', 'SIGHUP', 'SIGUSR1'] as const).map((name) => () => run.child.kill(name))
      let sent = 0
      const timer = setInterval(() => {
        for (const send of signals) if (send()) sent += 1
      }, 1)
      const result = await run.result
      clearInterval(timer)
      expect(result).toMatchObject({ exitCode: 7, signal: null })
      expect(sent).toBeGreaterThan(100)
    })
  })

  test.each(['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR1'] as const)('comes from the command: %s to us', async (signal) => {
    await withTempDir(async (dir) => {
      const trap = `trap 'echo got; exit 7' ${signal.slice(3)}; echo ready; ${goOn()}`
      const run = startSluice(['sh', '-c', trap], { dir })
      await new Promise((resolve) => run.child.stdout?.once('data', resolve))
      const { cli } = await run.running()
      process.kill(cli, signal)
      expect(await run.result).toEqual({ exitCode: 7, signal: null, stdout: 'ready\ngot\n', stderr: '' })
    })
  })
})
