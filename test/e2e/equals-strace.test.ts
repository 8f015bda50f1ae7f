/**
 * A second witness: each command runs under strace inside the sandbox, so that both see the very same processes, and what they saw
 * is compared call by call. Left out on our side is strace itself: its own opens, which it does not trace.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join, posix } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { textToBytes } from '../../src/proto/text.js'
import { opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'
import { parseStrace, STRACE_ARGS, STRACE_CALLS, type StraceReport } from '../support/strace.js'

const { skip, reason } = privileged('bpf')
/** npm is a script with `#!/usr/bin/env node`, which may find another Node. */
const NPM = realpathSync(join(dirname(process.execPath), 'npm'))

const PYTHON = `
import subprocess, threading, socket, os, sys
for code in (0, 3):
    subprocess.run(["/bin/sh", "-c", f"exit {code}"])
subprocess.run(["/bin/echo", "two words", "", "üñî", "a\\nb"], stdout=subprocess.DEVNULL)
threads = [threading.Thread(target=lambda: open("/etc/passwd").close()) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
for path in ("/nonexistent", "relative", "/root/x/y"):
    try: open(path)
    except OSError: pass
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    s = socket.socket(family)
    try: s.connect((address, 9))
    except OSError: pass
    u = socket.socket(family, socket.SOCK_DGRAM); u.connect((address, 9)); u.close()
open("written", "w").write("x")
os.rename("written", "renamed")
os.mkdir("d"); os.link("renamed", "d/link"); os.symlink("../renamed", "d/symlink"); os.chmod("renamed", 0o600)
os.truncate("renamed", 3); f = open("renamed", "r+"); os.ftruncate(f.fileno(), 2); os.fchmod(f.fileno(), 0o644)
d = os.open("d", os.O_RDONLY); os.unlink("link", dir_fd=d); os.unlink("symlink", dir_fd=d); os.rmdir("d")
for call in (lambda: os.rmdir("/nonexistent/x"), lambda: os.rename("nope", "/tmp/nope"), lambda: os.execv("/nonexistent", ["x"]), lambda: os.execv("/etc/passwd", ["x"])):
    try: call()
    except OSError: pass
`

const NODE = `
const { execFileSync, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const net = require('node:net')
const { Worker } = require('node:worker_threads')
execFileSync('/bin/sh', ['-c', 'cat /etc/hostname > copied'])
spawnSync('/bin/true', ['x'.repeat(5000)])
fs.writeFileSync('file', 'x'); fs.readFileSync('file')
new Worker("require('node:fs').readFileSync('/etc/hosts')", { eval: true }).on('exit', () => {
  net.connect(9, '127.0.0.1').on('error', () => {})
})
`

/** A package of some twenty files with as many tests, some of which start processes, threads and servers; run by Node's own runner. */
function preparePackage(dir: string): void {
  const scripts = { test: 'node --test --test-concurrency=2 test/' }
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'pack', version: '1.0.0', type: 'module', scripts }))
  for (const folder of ['src', 'test', 'data']) mkdirSync(join(dir, folder))
  for (let i = 0; i < 10; i++) {
    writeFileSync(join(dir, 'data', `${i}.json`), JSON.stringify({ i }))
    const before = i === 0 ? '' : `import { value as before } from './m${i - 1}.js'\n`
    writeFileSync(join(dir, 'src', `m${i}.js`), `${before}export const value = ${i === 0 ? 1 : 'before + 1'}\n`)
  }
  const cases = [
    `import { value } from '../src/m9.js'; test('value', () => assert.equal(value, 10))`,
    `import { readFileSync } from 'node:fs'; test('data', () => { for (let i = 0; i < 10; i++) JSON.parse(readFileSync(new URL('../data/' + i + '.json', import.meta.url))) })`,
    `import { execFileSync } from 'node:child_process'; test('child', () => assert.equal(execFileSync('/bin/sh', ['-c', 'echo a | cat'], { encoding: 'utf8' }), 'a\\n'))`,
    `import net from 'node:net'; test('server', async () => { const s = net.createServer((c) => c.end('x')).listen(0, '127.0.0.1'); await new Promise((ok) => s.once('listening', ok)); const c = net.connect(s.address().port, '127.0.0.1'); await new Promise((ok) => c.once('end', ok).resume()); s.close() })`,
    `import { mkdtempSync, writeFileSync, renameSync, rmSync } from 'node:fs'; test('files', () => { const d = mkdtempSync('tmp-'); writeFileSync(d + '/a', 'x'); renameSync(d + '/a', d + '/b'); rmSync(d, { recursive: true }) })`,
  ]
  cases.forEach((body, i) => {
    const imports = `import assert from 'node:assert'\nimport test from 'node:test'\n`
    writeFileSync(join(dir, 'test', `t${i}.test.js`), `${imports}${body}\n`)
  })
}

/** A repository with two branches and some hundred objects, the older ones packed. */
function prepareRepository(dir: string): void {
  const script = `
    git init -q -b main repo && cd repo && git config user.name t && git config user.email t@example.invalid
    for i in $(seq 1 20); do mkdir -p d$i && echo $i > d$i/f && git add -A && git commit -qm $i; done
    git gc -q && git checkout -q -b side && echo x > x && git add x && git commit -qm side && git checkout -q main`
  execFileSync('/bin/sh', ['-ec', script], { cwd: dir, env: { ...process.env, HOME: dir } })
}

/** Three units and a library, built by make with two jobs. */
function prepareMake(dir: string): void {
  for (const name of ['one', 'two', 'three']) {
    writeFileSync(
      join(dir, `${name}.c`),
      `#include "all.h"\n#include <string.h>\nint ${name}(void) { return (int)strlen("${name}"); }\n`,
    )
  }
  writeFileSync(join(dir, 'all.h'), 'int one(void); int two(void); int three(void);\n')
  writeFileSync(join(dir, 'main.c'), '#include "all.h"\nint main(void) { return one() + two() + three() != 11; }\n')
  writeFileSync(
    join(dir, 'Makefile'),
    'all: main\n\t$(CURDIR)/main\nlibn.a: one.o two.o three.o\n\tar rcs $@ $^\nmain: main.o libn.a\n\t$(CC) -o $@ $^\n%.o: %.c all.h\n\t$(CC) -O1 -g -c $<\n',
  )
}

const PYTHON_PROCESSES = `
import multiprocessing, subprocess, os, tempfile
def work(n):
    with open("/etc/hostname") as f: f.read()
    return n * n
if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool: assert pool.map(work, range(4)) == [0, 1, 4, 9]
    p = subprocess.Popen(["/bin/sh", "-c", "read a; echo $a | tr a-z A-Z"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert p.communicate("abc\\n")[0] == "ABC\\n"
    os.posix_spawn("/bin/true", ["true", "spawned"], {})
    os.wait()
    with tempfile.TemporaryDirectory() as d:
        open(os.path.join(d, "x"), "w").close()
`

const NODE_PROCESSES = `
const { fork, exec } = require('node:child_process')
const { Worker, isMainThread } = require('node:worker_threads')
const fs = require('node:fs')
if (process.argv[2] === 'child') { fs.readFileSync('/etc/passwd'); process.send('done'); process.disconnect() }
else {
  for (let i = 0; i < 3; i++) new Worker('require("node:fs").readFileSync("/etc/hosts"); require("node:child_process").execFileSync("/bin/true", ["worker"])', { eval: true })
  fork(process.argv[1], ['child']).once('message', () => exec('ls / | head -1', () => {}))
}
`

const SCENARIOS: { name: string; prepare(dir: string): void; command: string[] }[] = [
  {
    name: 'a C compile',
    prepare: (dir) => writeFileSync(join(dir, 'a.c'), '#include <stdio.h>\nint main(void) { puts("hi"); return 0; }\n'),
    command: ['gcc', '-O1', '-o', 'a', 'a.c'],
  },
  {
    name: 'a git commit',
    prepare: (dir) => {
      mkdirSync(join(dir, 'src'))
      writeFileSync(join(dir, 'src', 'a.txt'), 'text\n')
    },
    command: [
      'sh',
      '-c',
      'git init -q . && git add -A && git -c user.name=t -c user.email=t@example.invalid commit -qm first && git log --stat',
    ],
  },
  { name: 'a Python script with subprocesses', prepare: () => {}, command: ['/usr/bin/python3', '-c', PYTHON] },
  { name: 'a Node program with a worker thread', prepare: () => {}, command: [process.execPath, '-e', NODE] },
  { name: 'npm test of a package', prepare: preparePackage, command: [process.execPath, NPM, 'test', '--offline'] },
  {
    name: 'git clone of a local repository',
    prepare: prepareRepository,
    command: [
      'sh',
      '-ec',
      'git clone -q repo by-path && git clone -q file://$PWD/repo by-url && git clone -q --no-local --depth 1 file://$PWD/repo shallow',
    ],
  },
  { name: 'a build by make with two jobs', prepare: prepareMake, command: ['make', '-s', '-j2'] },
  {
    name: 'a Python script with pools of processes',
    prepare: (dir) => writeFileSync(join(dir, 'pools.py'), PYTHON_PROCESSES),
    command: ['/usr/bin/python3', 'pools.py'],
  },
  {
    name: 'a Node program with workers and children',
    prepare: (dir) => writeFileSync(join(dir, 'children.js'), NODE_PROCESSES),
    command: [process.execPath, 'children.js'],
  },
]

describe.skipIf(skip)(`execs, opens and connects equal strace's${reason ? ` (skipped: ${reason})` : ''}`, () => {
  test.each(SCENARIOS)('$name', async ({ prepare, command }) => {
    await withTempDir(async (outer) => {
      const dir = join(outer, 'work')
      mkdirSync(dir)
      prepare(dir)
      const log = join(outer, 'strace.txt')
      const run = await sluiceRun(['strace', ...STRACE_ARGS, '-e', STRACE_CALLS, '-o', log, ...command], { cwd: dir })
      expect(run.exitCode, run.stderr).toBe(0)
      const theirs = parseStrace(readFileSync(log, 'utf8'))
      const ours = run.events.filter((event) => event.process !== undefined && !isStraceItself(event))
      expect(theirs.execs.length).toBeGreaterThan(0)
      expect(ourExecs(ours)).toEqual(theirExecs(theirs))
      expect(ourOpens(ours)).toEqual(theirOpens(theirs))
      expect(ourConnects(ours)).toEqual(theirConnects(theirs))
      expect(ourFailedExecs(ours)).toEqual(theirFailedExecs(theirs))
      expectSameChanges(ours, theirs)
    })
  })
})

/** strace, and the child it forks before that execs the command. */
function isStraceItself(event: EventJson): boolean {
  return event.process?.exe.endsWith('/strace') === true
}

/** The record's reversible escaping undone. */
function plain(text: string): string {
  return Buffer.from(textToBytes(text)).toString('utf8')
}

function ourExecs(events: EventJson[]): string[] {
  return events
    .flatMap((event) => ('exec' in event && event.process ? [event.process] : []))
    .map(({ tid, exe, args }) => JSON.stringify([tid, plain(exe), args.map(plain)]))
    .sort()
}

function theirExecs(report: StraceReport): string[] {
  return report.execs
    .map(({ tid, path, argv }) => {
      const script = interpreterOf(path)
      if (script === null) return JSON.stringify([tid, realpathSync(path), argv])
      return JSON.stringify([tid, realpathSync(script[0] ?? ''), [...script, path, ...argv.slice(1)]])
    })
    .sort()
}

/** `#!` line of a script as the kernel splits it: interpreter and at most one argument. */
function interpreterOf(path: string): string[] | null {
  const head = readFileSync(path).subarray(0, 256).toString('latin1')
  if (!head.startsWith('#!')) return null
  const [line = ''] = head.slice(2).split('\n')
  const match = /^\s*(\S+)(?:\s+(.*?))?\s*$/.exec(line)
  return [match?.[1] ?? '', ...(match?.[2] ? [match[2]] : [])]
}

function ourOpens(events: EventJson[]): string[] {
  return opens(events)
    .map(({ process, fileOpen: { userPath, path, errno } }) =>
      JSON.stringify([process.tid, plain(userPath), errno === 0 ? plain(path) : errno]),
    )
    .sort()
}

function theirOpens(report: StraceReport): string[] {
  return report.opens
    .map(({ tid, userPath, path, error }) => JSON.stringify([tid, userPath, error === null ? path : errnoOf(error)]))
    .sort()
}

function byThread<T extends { tid: number }>(items: readonly T[]): Map<number, T[]> {
  const threads = new Map<number, T[]>()
  for (const item of items) threads.set(item.tid, [...(threads.get(item.tid) ?? []), item])
  return threads
}

function ourFailedExecs(events: EventJson[]): string[] {
  return events
    .flatMap((event) =>
      'execFailed' in event && event.process ? [{ ...event.execFailed, tid: event.process.tid }] : [],
    )
    .map(({ tid, path, errno }) => JSON.stringify([tid, plain(path), errno]))
    .sort()
}

function theirFailedExecs(report: StraceReport): string[] {
  return report.failedExecs.map(({ tid, path, error }) => JSON.stringify([tid, path, errnoOf(error)])).sort()
}

/** Thread by thread, in order. strace does not say what a relative path of rename(2) and its like starts from: only its end is compared. */
function expectSameChanges(events: EventJson[], report: StraceReport): void {
  const ours = events.flatMap((event) =>
    'fileChange' in event && event.process ? [{ ...event.fileChange, tid: event.process.tid }] : [],
  )
  const rest = byThread(ours)
  for (const [tid, theirs] of byThread(report.changes)) {
    const mine = rest.get(tid) ?? []
    rest.delete(tid)
    expect(mine.map(({ op, errno }) => [op, errno])).toEqual(
      theirs.map(({ op, error }) => [op, error === null ? 0 : errnoOf(error)]),
    )
    theirs.forEach(({ path, newPath }, i) => {
      expect(`/${plain(mine[i]?.path ?? '')}`).toMatch(endingWith(path))
      expect(`/${plain(mine[i]?.newPath ?? '')}`).toMatch(endingWith(newPath))
    })
  }
  expect([...rest.keys()]).toEqual([])
}

function endingWith(path: string): RegExp {
  const end = posix
    .normalize(path === '' ? '/' : `/${path}`)
    .replace(/\/$/, '')
    .replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  return new RegExp(`${path === '' ? '^/$' : `${end}$`}`)
}

function ourConnects(events: EventJson[]): string[] {
  const connects: string[] = []
  for (const event of events) {
    if (!('connect' in event) || !event.process || event.connect.via !== 'CONNECT') continue
    const { protocol, address, port, errno } = event.connect
    // The other families have a test of their own.
    if (protocol === 'TCP' || protocol === 'UDP')
      connects.push(JSON.stringify([event.process.tid, address, port, errno]))
  }
  return connects.sort()
}

function theirConnects(report: StraceReport): string[] {
  return report.connects
    .map(({ tid, address, port, error }) => JSON.stringify([tid, address, port, error === null ? 0 : errnoOf(error)]))
    .sort()
}

function errnoOf(name: string): number {
  return (constants.errno as Record<string, number>)[name] ?? -1
}
