/** `sluice sessions` on the journal of a real run: what is there, whether it is what was written, and the auditor's question. */
import { appendFileSync, cpSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { privileged } from '../support/privileged.js'
import { readCef } from '../support/read-cef.js'
import { SLUICE_BIN, type SluiceRun, sluiceRun, tempDirForAll } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

describe.skipIf(skip)(`the journal of a run ${reason}`, () => {
  const temp = tempDirForAll()
  const dir = () => join(temp(), 'journal')
  let server: Server
  let port = 0
  let run: SluiceRun
  let session = ''
  const sessions = (...args: string[]) => execa(SLUICE_BIN, ['sessions', ...args, '--dir', dir()], { reject: false })

  beforeAll(async () => {
    server = createServer((socket) => socket.end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    port = typeof address === 'object' && address !== null ? address.port : 0
    const connects = `exec 3<>/dev/tcp/127.0.0.1/${port}; touch made; :`
    run = await sluiceRun(['bash', '-c', connects], {
      options: ['--own', '--agent', 'forge-coder-7', '--task', 'build-pr-1402'],
      ...{ env: { SLUICE_JOURNAL: dir() }, cwd: temp() },
    })
    session = run.events[0]?.sessionId ?? ''
  })
  afterAll(() => new Promise((resolve) => server.close(resolve)))

  test('is sealed, has what the record has, and is listed', async () => {
    expect(run.exitCode).toBe(0)
    const verified = await sessions('verify', '--json')
    expect(verified.exitCode).toBe(0)
    const records = String(run.events.length)
    const [report, index] = verified.stdout.split('\n').map((line) => JSON.parse(line))
    expect(report).toMatchObject({ sessionId: session, state: 'SEALED', records, problem: null })
    expect(index).toMatchObject({ index: { state: 'GOOD', problem: null, first: 1, entries: 2, last: 2 } })
    const exported = await sessions('export', session)
    expect(exported.stdout.split('\n').map((line) => JSON.parse(line))).toEqual(run.events)
    const uids = run.events.map(({ uid }) => uid)
    const ecs = (await sessions('export', session, '-o', 'ecs')).stdout.split('\n').map((line) => JSON.parse(line))
    expect(ecs.map(({ event }) => event.id)).toEqual(uids)
    expect(ecs[0]).toMatchObject({ ecs: { version: expect.any(String) }, '@timestamp': expect.any(String) })
    const cef = (await sessions('export', session, '-o', 'cef')).stdout.split('\n').map(readCef)
    expect(cef.map(({ extension }) => extension.get('externalId'))).toEqual(uids)
    const [listed] = (await sessions('ls', '--json')).stdout.split('\n').map((line) => JSON.parse(line))
    expect(listed).toMatchObject({ sessionId: session, state: 'SEALED', events: records })
    expect((await sessions('show', session)).stdout).toContain(`127.0.0.1:${port}`)
  })

  test('says which hosts an agent on a task reached between two times, by what process, under what rule', async () => {
    const asked = (...args: string[]) =>
      sessions(
        'export',
        '--agent',
        'forge-coder-7',
        '--since',
        '1h',
        '--type',
        'connect',
        '-o',
        'reached',
        '--json',
        ...args,
      )
    const reached = (await asked('--task', 'build-pr-1402')).stdout.split('\n').map((line) => JSON.parse(line))
    expect(reached).toContainEqual(
      expect.objectContaining({ address: '127.0.0.1', port, exe: '/usr/bin/bash', decision: 'ALLOW', rule: 'none' }),
    )
    // Nor a socket that has no other end.
    expect(reached.filter(({ address }) => address === '')).toEqual([])
    expect((await asked('--task', 'another')).stdout).toBe('')
    expect((await asked('--until', '30m')).stdout).toBe('')
  })

  test('has a tree, a screen for who reviews it, who did so, and what another session did besides', async () => {
    const tree = (await sessions('tree', session, '--json')).stdout.split('\n').map((line) => JSON.parse(line))
    const bash = tree.find(({ execs }) => execs[0]?.exe === '/usr/bin/bash')
    expect(bash).toMatchObject({ exit: { code: 0, signal: 0 } })
    expect(tree.find(({ execs }) => execs.some(({ args }: { args: string[] }) => args[0] === 'touch'))).toMatchObject({
      parentId: bash.id,
    })
    const sampled = await sessions('review', '--sample', '100%')
    expect(sampled.stdout).toContain(`${session} forge-coder-7/build-pr-1402: `)
    const screen = await sessions('review', session, '--keep', '--note', 'odd')
    expect(screen.exitCode).toBe(0)
    const shown = ['forge-coder-7 on build-pr-1402', '$WORKDIR/made', 'tcp 127.0.0.1:', 'no policy', 'SEALED']
    for (const text of shown) expect(screen.stdout).toContain(text)
    expect(screen.stdout.split('\n').length).toBeLessThanOrEqual(40)
    const again = await sessions('review', session, '--json')
    expect(JSON.parse(again.stdout)).toMatchObject({
      ...{ sessionId: session, readers: [{ act: 'KEEP', note: 'odd' }], verification: { state: 'SEALED' } },
      programs: { names: expect.arrayContaining([{ name: '/usr/bin/touch', count: 1 }]) },
    })
    expect((await sessions('review', '--sample', '100%')).stdout).toBe('')
    const { onlyA, onlyB, both } = JSON.parse((await sessions('diff', session, session, '--json')).stdout).programs
    expect([onlyA, onlyB, both]).toEqual([[], [], 2])
    expect((await sessions('verify')).exitCode).toBe(0)
  })

  test('is found out when it was changed, wherever it was copied to, by the public key alone', async () => {
    const copy = join(temp(), session)
    cpSync(join(dir(), 'sessions', session), copy, { recursive: true })
    const key = readdirSync(join(dir(), 'keys')).find((name) => name.endsWith('.pub')) ?? ''
    const verify = (...args: string[]) => sessions('verify', copy, '--key', join(dir(), 'keys', key), ...args)
    expect((await verify()).exitCode).toBe(0)
    appendFileSync(join(copy, '000001.journal'), 'more')
    const found = await verify()
    expect(found.exitCode).toBe(1)
    expect(found.stdout).toContain(`BAD: record ${run.events.length + 1}`)
    const witness = join(dir(), 'checkpoints', 'checkpoints.jsonl')
    rmSync(join(copy, '000001.journal'))
    expect((await verify('--witness', witness)).stdout).toContain('BAD: record 1 ')
    expect((await sessions('verify', '--witness', witness)).exitCode).toBe(0)
    rmSync(join(dir(), 'sessions', session), { recursive: true })
    const gone = await sessions('verify')
    expect(gone.exitCode).toBe(1)
    expect(gone.stdout).toContain(`${session}: MISSING: the node's index knows it`)
  })

  test('can not be asked for what is no session', async () => {
    const { exitCode, stderr } = await sessions('show', 'nonsense')
    expect(exitCode).toBe(2)
    expect(stderr).toContain("'nonsense' is neither the id of a session")
  })
})
