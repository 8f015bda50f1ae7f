/** The configuration file: what it may say, and for everything else the place and what was meant. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadNodeConfig } from '../../../../src/cli/config/config-files.js'
import { parseNodeConfig } from '../../../../src/cli/config/node-config.js'

const MIB = 1024 * 1024
const isRoot = process.geteuid?.() === 0

describe('a configuration', () => {
  it('is taken as written', () => {
    const text = `# this machine
socket: /run/x.sock
logLevel: debug
agent:
  watch: [/kubepods.slice/**, "/user.slice/*"]
  group: agents
  ringMiB: {bulk: 16}
`
    expect(parseNodeConfig(text, 'c.yaml')).toEqual({
      socket: '/run/x.sock',
      logLevel: 'debug',
      agent: { watch: ['/kubepods.slice/**', '/user.slice/*'], group: 'agents', ringMiB: { bulk: 16 * MIB } },
    })
  })

  it.each(['', '# nothing\n', '---\n', '{}'])('may say nothing: %j', (text) => {
    expect(parseNodeConfig(text, 'c.yaml')).toEqual({})
  })

  const WRONG: [text: string, message: string][] = [
    ['sockett: /x.sock\n', "c.yaml:1:1: unknown key 'sockett'; did you mean 'socket'?"],
    ['logLevel: info\nagent:\n  wach: [/a]\n', "c.yaml:3:3: unknown key 'agent.wach'; did you mean 'watch'?"],
    ['agent:\n  zzz: 1\n', "c.yaml:2:3: unknown key 'agent.zzz'; known are watch, policies, runtimeDir"],
    ['socket: relative\n', 'c.yaml:1:1: socket: must be an absolute path'],
    ['agent:\n  watch: [/a,\n    b]\n', 'c.yaml:3:5: agent.watch[1]: must begin with /'],
    ['agent: {ringMiB: {bulk: 3}}\n', 'c.yaml:1:19: agent.ringMiB.bulk: must be a power of two'],
    ['agent: {ringMiB: {bulk: 4096}}\n', 'agent.ringMiB.bulk: too big'],
    ['agent: {pinDir: /sys/fs/bpf/a.b}\n', 'c.yaml:1:9: agent.pinDir: must have no dots'],
    ['sinks:\n  oncall: {type: alertmanager}\n', 'c.yaml:2:3: sinks.oncall.url: '],
    ['sinks:\n  o:\n    type: slack\n    urlFile: /a\n    minSeverity: LOUD\n', 'c.yaml:5:5: sinks.o.minSeverity: '],
    ['sinks:\n  o:\n    type: slack\n    urlFile: /a\n    kinds: [exec]\n', 'c.yaml:5:5: sinks.o.kinds: '],
    ['agent: 7\n', 'c.yaml:1:1: agent: invalid input: expected object'],
    ['logLevel: loud\n', 'c.yaml:1:1: logLevel: invalid option'],
    ['- a\n', 'c.yaml:1:1: the file: invalid input: expected object'],
    ['socket: /a\nsocket: /b\n', 'c.yaml:2:1: Map keys must be unique'],
    ['agent: [\n', 'c.yaml:2:1: '],
    ['socket: "/a\n', 'c.yaml:2:1: '],
    ['a: &x [*x]\n', 'c.yaml:1:1: unknown key'],
  ]
  it.each(WRONG)('is refused with its place: %j', (text, message) => {
    let thrown: unknown = null
    try {
      parseNodeConfig(text, 'c.yaml')
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'USAGE', message: expect.stringContaining(message) })
  })
})

describe('the configuration files', () => {
  let dir = ''
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-config-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))
  const file = (name: string, text: string, mode = 0o644) => {
    const path = join(dir, name)
    writeFileSync(path, text)
    chmodSync(path, mode)
    return path
  }

  it('are read where they are, and one that is named counts alone', async () => {
    mkdirSync(join(dir, 'sluice'))
    file('sluice/config.yaml', 'color: never\n')
    expect(await loadNodeConfig({ named: null, userConfigHome: dir })).toMatchObject({ color: 'never' })
    const named = file('named.yaml', 'logLevel: warn\n')
    expect(await loadNodeConfig({ named, userConfigHome: dir })).toEqual({ logLevel: 'warn' })
    expect(await loadNodeConfig({ named: null, userConfigHome: null })).toEqual({})
  })

  it('that are named must be there and be files', async () => {
    await expect(loadNodeConfig({ named: join(dir, 'none'), userConfigHome: null })).rejects.toThrow('no such file')
    await expect(loadNodeConfig({ named: dir, userConfigHome: null })).rejects.toThrow('not a regular file')
    const huge = file('huge.yaml', '#'.repeat(1024 * 1024 + 1))
    await expect(loadNodeConfig({ named: huge, userConfigHome: null })).rejects.toMatchObject({ code: 'LIMIT' })
  })

  it.skipIf(!isRoot)('give root no orders where somebody else may write them', async () => {
    const open = file('open.yaml', '', 0o666)
    const theirs = file('theirs.yaml', '')
    chownSync(theirs, 65534, 65534)
    const link = join(dir, 'link.yaml')
    symlinkSync(theirs, link)
    for (const named of [open, theirs, link]) {
      await expect(loadNodeConfig({ named, userConfigHome: null })).rejects.toMatchObject({ code: 'PRIVILEGE' })
    }
    // A home that sudo left in place.
    mkdirSync(join(dir, 'sluice'))
    chownSync(file('sluice/config.yaml', 'socket: /evil.sock\n'), 65534, 65534)
    expect(await loadNodeConfig({ named: null, userConfigHome: dir })).toEqual({})
  })
})
