import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { findUser } from '../../../src/base/drop-privileges.js'
import { parseEngineConfig } from '../../../src/engine/config.js'
import { COMMAND_BYTES_MAX, parseRunEnd, parseRunStart, slug } from '../../../src/engine/run-input.js'
import { isSecretName } from '../../../src/engine/secret-names.js'

const good = { pid: 10, command: [Buffer.from('/usr/bin/node')], workdir: Buffer.from('/w') }

describe('run start', () => {
  it('takes its name from the program', () => {
    const parsed = parseRunStart(good)
    expect(parsed.ok && parsed.value).toMatchObject({ name: 'node', pid: 10, agent: '', labels: {} })
    expect(parsed.ok && parsed.value.sandboxId).toMatch(/^node-[0-9a-f]{8}$/)
  })

  it.each([
    ['pid', { pid: 1 }],
    ['pid', { pid: 4_194_305 }],
    ['name', { name: 'x'.repeat(257) }],
    ['agent', { agent: 'a\u001b[31m' }],
    ['task', { task: 'a\nb' }],
    ['user', { user: 'x'.repeat(257) }],
    ['labels', { labels: Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`k${n}`, 'v'])) }],
    ['labels', { labels: { '': 'v' } }],
    ['labels.k', { labels: { k: 'x'.repeat(1_025) } }],
    ['degraded', { degraded: Array.from({ length: 65 }, () => 'x') }],
    ['degraded', { degraded: [''] }],
    ['workdir', { workdir: Buffer.from('relative') }],
    ['workdir', { workdir: Buffer.from(`/${'x'.repeat(4_096)}`) }],
    ['workdir', { workdir: Buffer.from('/a\0b') }],
    ['command', { command: [] }],
  ])('names the field that is wrong: %s', (field, change) => {
    const parsed = parseRunStart({ ...good, ...change })
    expect(parsed.ok ? '' : parsed.problem).toMatch(new RegExp(`^${field}: `))
  })

  it('keeps a long command within its limit and says how much is missing', () => {
    const command = [Buffer.from('x'), Buffer.alloc(COMMAND_BYTES_MAX, 0x61), Buffer.from('y')]
    const parsed = parseRunStart({ ...good, command })
    expect(parsed.ok && parsed.value.command.map((arg) => Buffer.from(arg).toString())).toEqual([
      'x',
      '[2 more arguments]',
    ])
  })

  it('makes a directory name of any name', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (name) => {
        expect(slug(name)).toMatch(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/)
      }),
    )
    expect([slug('Fix: Bug #12'), slug('...'), slug('')]).toEqual(['fix-bug-12', 'run', 'run'])
  })
})

describe('run end', () => {
  it('takes what a command can end with, and nothing else', () => {
    expect(parseRunEnd({ exitCode: 255, signal: 64 })).toEqual({ ok: true, value: { exitCode: 255, signal: 64 } })
    expect(parseRunEnd({ exitCode: 256 }).ok).toBe(false)
    expect(parseRunEnd({ signal: 65 }).ok).toBe(false)
  })
})

describe('engine configuration', () => {
  const config = {
    uplinkSocket: '/run/u',
    controlSocket: '/run/c',
    user: null,
    uplinkUids: [0],
    controlUids: [0, 1000],
    sensorPid: null,
    stateFile: null,
    supervisorPid: null,
    agent: null,
    logLevel: 'info',
  }
  it('is taken whole', () => {
    expect(parseEngineConfig(config)).toEqual(config)
  })
  it.each([
    ['uplinkSocket', { uplinkSocket: 'relative' }],
    ['uplinkTls.key', { uplinkTls: { address: 'a:1', ca: '/ca', cert: '/cert', key: 'key' } }],
    ['uplinkTls.nodes', { uplinkTls: { address: 'a:1', ca: '/ca', cert: '/cert', key: '/key', nodes: [] } }],
    ['user', { user: '' }],
    ['uplinkUids.0', { uplinkUids: [-1] }],
    ['logLevel', { logLevel: 'loud' }],
    ['controlUids', { controlUids: undefined }],
    ['other', { other: 1 }],
  ])('is refused with the path of what is wrong: %s', (path, change) => {
    expect(() => parseEngineConfig({ ...config, ...change })).toThrow(path)
  })
})

describe('a user of passwd(5)', () => {
  const passwd = 'root:x:0:0::/:/bin/sh\nsluice-engine:x:990:980::/:/x\nbroken\nodd:x:a:1::\n'
  it('is found by its exact name', () => {
    expect(findUser(passwd, 'sluice-engine')).toEqual({ uid: 990, gid: 980 })
    expect(['sluice', 'broken', 'odd', ''].map((name) => findUser(passwd, name))).toEqual([null, null, null, null])
  })
})

describe('a secret by its name', () => {
  it.each([
    'password',
    'PGPASSWORD',
    'apiKey',
    'x-api-key',
    'AWS_SECRET_ACCESS_KEY',
    'GITHUB_TOKEN',
    'MYSQL_PWD',
    'client_secret',
    'authToken',
  ])('%s is one', (name) => {
    expect(isSecretName(name)).toBe(true)
  })
  it.each([
    'tokenizer',
    'tokens',
    'max_tokens',
    'token_count',
    'password_file',
    'PWD',
    'OLD_PWD',
    'key',
    'keyboard',
    'monkey',
    'author',
    'secret-name',
  ])('%s is none', (name) => {
    expect(isSecretName(name)).toBe(false)
  })
})
