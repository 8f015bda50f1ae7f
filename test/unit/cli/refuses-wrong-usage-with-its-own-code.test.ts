import { readFileSync } from 'node:fs'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { SLUICE_BIN } from '../../support/sluice-run.js'

const DEADLINE_MS = 20_000
const sluice = (args: string[], env: Record<string, string> = {}) =>
  execa(SLUICE_BIN, args, { reject: false, timeout: DEADLINE_MS, env, stdin: 'ignore' })

describe('the command line', () => {
  it.each([
    [['run'], 'sluice: no command given; sluice run [options] -- CMD [ARG…]'],
    [['run', '--bogus', '--', 'true'], "sluice: unknown option '--bogus'"],
    [['run', '--mode', 'enforce', '--', 'true'], 'sluice: --mode enforce takes a policy: say which with --policy'],
    [['run', '--policy', '', '--', 'true'], 'sluice: --policy is empty'],
    [['run', '--summary', 'x', '--', 'true'], "argument 'x' is invalid. Allowed choices are text, json, none."],
    [['--log-level', 'debug', 'run', '--record'], "sluice: option '--record <file>' argument missing"],
  ])('fails %j with 125, which no command is mistaken for', async (args, message) => {
    const result = await sluice(args)
    expect(result).toMatchObject({ exitCode: 125, stdout: '' })
    expect(result.stderr).toContain(message)
  })

  it.each([
    [['bogus'], "sluice: unknown command 'bogus'"],
    [['--bogus'], "sluice: unknown option '--bogus'"],
    [['events', '--bogus', 'f'], "sluice: unknown option '--bogus'"],
    [['--color', 'pink', 'doctor'], 'Allowed choices are auto, always, never.'],
    [['doctor', 'extra'], 'too many arguments'],
    [[], 'Usage: sluice'],
  ])('fails %j with 2', async (args, message) => {
    const result = await sluice(args)
    expect(result).toMatchObject({ exitCode: 2, stdout: '' })
    expect(result.stderr).toContain(message)
  })

  it('fails a variable that can not be with the code of the command', async () => {
    const env = { SLUICE_COLOR: 'pink' }
    expect((await sluice(['run', '--', 'true'], env)).exitCode).toBe(125)
    expect(await sluice(['events', 'f'], env)).toMatchObject({
      ...{ exitCode: 2, stderr: "sluice: SLUICE_COLOR is 'pink': it must be one of auto, always, never" },
    })
  })

  it('prints its version and only the commands that there are', async () => {
    const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
    expect(await sluice(['--version'])).toMatchObject({ exitCode: 0, stdout: manifest.version })
    const help = await sluice(['--help'])
    expect(help.exitCode).toBe(0)
    const listed = help.stdout.split('Commands:')[1]?.match(/^ {2}(\w+)/gm) ?? []
    const parts = ['run', 'agent', 'engine', 'sensor', 'sandboxes']
    const commands = [...parts, 'events', 'sessions', 'baselines', 'sinks', 'policy', 'replay', 'doctor', 'help']
    expect(listed.map((name) => name.trim())).toEqual(commands)
  })
})
