/** `sluice policy` as a user has it: files, recordings of real runs, exit codes, nothing on a terminal that a file could put there. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { describe, expect, it, test } from 'vitest'
import { privileged } from '../support/privileged.js'
import { SLUICE_BIN, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const DEADLINE_MS = 60_000
const GOOD = 'version: 1\nname: p\nmode: enforce\nbundles: [node]\negress:\n  - host: api.example.com\n'

async function policy(args: readonly string[], given: { home?: string; cwd?: string; input?: string } = {}) {
  const { exitCode, stdout, stderr } = await execa(SLUICE_BIN, ['policy', ...args], {
    reject: false,
    timeout: DEADLINE_MS,
    ...(given.cwd === undefined ? {} : { cwd: given.cwd }),
    ...(given.home === undefined ? {} : { env: { HOME: given.home, npm_config_registry: '' } }),
    ...(given.input === undefined ? { stdin: 'ignore' as const } : { input: given.input }),
  })
  return { exitCode, out: stdout.split('\n'), err: stderr }
}

describe('a policy file', () => {
  it('is checked, expanded and explained, with bundles from the tools of its user', () =>
    withTempDir(async (dir) => {
      writeFileSync(
        join(dir, '.npmrc'),
        'registry=https://npm.corp.example/x/\n//npm.corp.example/x/:_authToken=hunter2\n',
      )
      const file = join(dir, 'p.yaml')
      writeFileSync(file, GOOD)
      expect(await policy(['check', file], { home: dir })).toEqual({
        exitCode: 0,
        out: [''],
        // This machine's own files may name a registry, too.
        err: expect.stringMatching(/: 0 errors, 0 warnings, \d+ rules, enforce$/),
      })
      const expanded = await policy(['expand', file], { home: dir })
      expect(expanded.out[0]).toMatch(/^allow {2}api\.example\.com +443\/tcp {2}egress\[0\] +policy p$/)
      expect(expanded.out.at(-1)).toMatch(
        /^respond {2}secret_then_egress +alert, deny_egress +respond\.secret_then_egress +default of mode enforce$/,
      )
      expect(expanded.out.findLast((line) => line.startsWith('allow'))).toMatch(
        /^allow {2}npm\.corp\.example +443\/tcp {2}bundles\.node\[\d+\] +registry in ~\/\.npmrc$/,
      )
      const explained = await policy(['explain', '-'], { home: dir, input: GOOD })
      expect(explained.out).toContain('p egress[0]: api.example.com may be reached at 443/tcp.')
      expect(explained.out).toContain(
        'respond.loop: alert, then alert, then throttle. Not named by the policy: so it is in enforce mode.',
      )
      expect(JSON.stringify([expanded, explained])).not.toContain('hunter2')
    }))

  it('with mistakes is refused with their places, and the exit code says so', () =>
    withTempDir(async (dir) => {
      const file = join(dir, 'p.yaml')
      writeFileSync(file, 'version: 1\nname: p\nmode: enforce\negress:\n  - host: "*.com"\n')
      const line = `${file}:5:5: error: egress[0].host: "*.com": it would allow every domain under com; name the domain`
      expect(await policy(['check', file])).toEqual({ exitCode: 1, out: [line], err: `${file}: 1 error, 0 warnings` })
      expect(await policy(['explain', file])).toEqual({ exitCode: 1, out: [''], err: line })
      expect(await policy(['check', join(dir, 'none')])).toMatchObject({
        exitCode: 1,
        err: expect.stringContaining('no such file'),
      })
      expect((await policy(['check'])).exitCode).toBe(2)
    }))

  it('puts no control character on a terminal', () =>
    withTempDir(async (dir) => {
      const file = join(dir, 'p.yaml')
      writeFileSync(file, 'version: 1\nname: p\nmode: enforce\negress:\n  - host: "a\\u001b[31m\\u202e.com"\n')
      const { exitCode, out } = await policy(['check', file])
      expect(exitCode).toBe(1)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
      expect(out.join('\n')).not.toMatch(/[\x00-\x08\x0b-\x1f\u202e]/)
      expect(out.join('\n')).toContain('\\e[31m\\u202e')
    }))

  it('has a schema for editors, the one of the reference', async () => {
    const { out } = await policy(['schema'])
    const kept = readFileSync(
      fileURLToPath(new URL('../../docs/reference/policy.schema.json', import.meta.url)),
      'utf8',
    )
    expect(`${out.join('\n')}\n`).toBe(kept)
  })
})

describe('a project', () => {
  it('gets a first policy that is right, from its lockfiles, its remotes and what was asked for', () =>
    withTempDir(async (dir) => {
      const project = join(dir, 'My Project')
      mkdirSync(join(project, '.git'), { recursive: true })
      writeFileSync(
        join(project, '.git/config'),
        '[remote "origin"]\n\turl = git@github.com:a/b.git\n[remote "own"]\n\turl = ssh://git@git.corp.example:2222/x\n',
      )
      const lock = {
        packages: { x: { resolved: 'https://npm.corp.example/x.tgz', funding: { url: 'https://money.example/x' } } },
      }
      writeFileSync(join(project, 'package-lock.json'), JSON.stringify(lock))
      const { exitCode, out } = await policy(['init', '--bundle', 'claude'], { home: dir, cwd: project })
      expect(exitCode).toBe(0)
      // Whether the machine's own files name a registry is not this test's.
      expect(out.filter((line) => !/^#|^ {2}- node /.test(line))).toEqual([
        ...[
          'version: 1',
          'name: my-project',
          'mode: enforce',
          'bundles:',
          '  - claude # asked for',
          '  - github # the remotes of git',
        ],
        ...['egress:', '  # from the remotes of git', '  - host: git.corp.example', '    ports: [2222]'],
        ...['  # from package-lock.json', '  - host: npm.corp.example'],
      ])
      expect(out.join('\n')).toMatch(
        /^# The tools of node are told no host on this machine|^ {2}- node # package-lock\.json$/m,
      )
      expect(await policy(['init', '--bundle', 'claud'], { cwd: project })).toMatchObject({
        exitCode: 2,
        err: "sluice: there is no bundle 'claud'; did you mean 'claude'?",
      })
    }))
})

describe(`a recording of a real run${reason}`, () => {
  const CONNECT = `
import socket, sys
for port in map(int, sys.argv[1:]):
    socket.create_connection(("127.0.0.1", port)).close()
own = socket.create_server(("127.0.0.1", 0))
socket.create_connection(own.getsockname()).close()
`
  test.skipIf(skip)('is learnt from, and what was learnt allows it; a stricter policy is found out', () =>
    withTempDir(async (dir) => {
      const server = createServer((socket) => socket.end())
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
      try {
        const address = server.address()
        const port = typeof address === 'object' && address !== null ? address.port : 0
        const record = join(dir, 'r.jsonl')
        const command = ['run', '--record', record, '-q', '--', '/usr/bin/python3', '-c', CONNECT, String(port)]
        expect(await execa(SLUICE_BIN, command, { timeout: DEADLINE_MS })).toMatchObject({ exitCode: 0 })
        const { out, exitCode } = await policy(['learn', record])
        expect(exitCode).toBe(0)
        const learnt = join(dir, 'learnt.yaml')
        writeFileSync(learnt, `${out.join('\n')}\nlocal: {listeners: any}\n`)
        expect(await policy(['replay', '--policy', learnt, record])).toMatchObject({ exitCode: 0, out: [''] })
        writeFileSync(learnt, `${out.join('\n')}\n`)
        const strict = await policy(['replay', '--policy', learnt, record])
        expect(strict).toMatchObject({
          exitCode: 3,
          out: [`now denied  127.0.0.1:${port}/tcp  1×  local.listeners: what listens there is not the sandbox`],
        })
        const connect = readFileSync(record, 'utf8')
          .split('\n')
          .find((line) => line.includes(`"port":${port},`) && line.includes('"CONNECT"'))
        const { uid } = JSON.parse(connect ?? '{}') as { uid: string }
        const why = await policy(['why', uid, record, '--policy', learnt])
        expect(why.exitCode).toBe(0)
        expect(why.out.at(-1)).toBe('learnt: DENY, local.listeners: what listens there is not the sandbox')
      } finally {
        server.close()
      }
    }),
  )
})
