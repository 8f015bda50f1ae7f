/** Agents that loop, storm or fail without end, as real processes, noticed while they do; and work that looks busy and is fine, which is not. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { compileC } from '../support/c-program.js'
import { expectGapless } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { type SluiceRunOptions, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

const detections = (events: EventJson[]) =>
  events
    .flatMap((event) => ('detection' in event ? [event.detection] : []))
    .filter(({ detector }) => detector !== 'novelty')
const faults = (events: EventJson[]) =>
  detections(events).filter(({ severity }) => severity === 'MEDIUM' || severity === 'HIGH')
const calls = (events: EventJson[]) => events.flatMap((event) => ('toolCall' in event ? [event.toolCall] : []))

/** A harness that does this; its last line keeps bash from exec'ing in its place. */
async function agent(script: string, options: SluiceRunOptions = {}): Promise<EventJson[]> {
  const { events, exitCode } = await sluiceRun(['bash', '-c', `${script}\n:`], options)
  expect(exitCode).toBe(0)
  expectGapless(events)
  return events
}

/** Two programs, made of many files, tested, and put under version control. */
const BUILD = `
set -e
for n in $(seq 12); do echo "int f$n(void) { return $n; }" > f$n.c; done
echo 'int f1(void); int main(void) { return f1() - 1; }' > main.c
printf 'OBJS := $(patsubst %%.c,%%.o,$(wildcard *.c))\\napp: $(OBJS)\\n\\t$(CC) -o $@ $^\\n' > Makefile
make -s -j4 && ./app
sh -c 'git init -q . && git add . && git -c user.name=a -c user.email=a@b.c commit -qm one'
sh -c 'echo "/* */" >> f1.c && make -s -j4 && ./app'
printf "const t = require('node:test')\\nfor (let n = 0; n < 20; n++) t.test('is ' + n, () => {})\\n" > some.test.js
sh -c 'node --test some.test.js > /dev/null'
sh -c 'git add -A && git -c user.name=a -c user.email=a@b.c commit -qm two && git log --oneline > /dev/null'
`

/** Many times as many as are too many, so that a slow machine has them together, too. */
const SOCKETS = `
import socket, threading
def loop():
    for _ in range(250):
        with socket.socket() as s:
            s.connect_ex(("127.0.0.1", 9))
threads = [threading.Thread(target=loop) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
`
const DEMO_AGENT = fileURLToPath(new URL('../../examples/demo-agent/agent.mjs', import.meta.url))

describe.skipIf(skip)(`what is noticed while it happens ${reason}`, () => {
  test('is a shell that is told the same again and again on its standard input', async () => {
    const events = await agent(
      'for n in 1 2 3 4 5 6; do echo "grep -c root /etc/passwd > /dev/null"; sleep 0.2; done | bash',
    )
    const told = calls(events).filter(({ command }) => command.includes('grep -c root'))
    expect(told.length).toBeGreaterThanOrEqual(5)
    expect(faults(events)[0]).toMatchObject({ detector: 'loop' })
  })

  test('is one command in a storm', async () => {
    const events = await agent(`sh -c 'n=0; while [ $n -lt 70 ]; do curl -s http://127.0.0.1:9/; n=$((n+1)); done; :'`)
    expect(faults(events).map(({ detector }) => detector)).toContain('exec_storm')
  })

  test('are two searches in turns', async () => {
    const events = await agent(
      `for n in 1 2 3 4 5; do sh -c 'grep -c root /etc/passwd; :'; sh -c 'grep -c bin /etc/group; :'; done > /dev/null`,
    )
    expect(faults(events)[0]).toMatchObject({ detector: 'loop' })
  })

  test('is a failing test that is run again without an edit, and not one with an edit', async () => {
    const failing = (edit: string) => `for n in 1 2 3 4 5 6; do ${edit}; sh -c 'grep -q passes result.txt'; done; :`
    await withTempDir(async (dir) => {
      writeFileSync(join(dir, 'result.txt'), 'fails\n')
      const again = await agent(failing('true'), { cwd: dir })
      expect(faults(again)[0]).toMatchObject({ detector: 'loop' })
      const edited = await agent(failing('echo "$n" >> result.txt'), { cwd: dir })
      expect(faults(edited)).toEqual([])
    })
  })

  test('are three hundred connections within four seconds', async () => {
    await withTempDir(async (dir) => {
      const events = await agent(`${compileC('storm', dir)} connects 400`)
      expect(faults(events).map(({ detector }) => detector)).toContain('volume')
    })
  })

  test('are the sockets of eight threads', async () => {
    const events = await agent(`python3 -c '${SOCKETS}'`)
    expect(faults(events)[0]).toMatchObject({ detector: 'volume', threshold: 300 })
  })

  test('are settings of git that were removed and made anew, and not a repository that was', async () => {
    await withTempDir(async (cwd) => {
      const events = await agent(
        `git init -q gone && rm -rf gone && git init -q less && rm less/.git/config && git init -q new
        python3 -c 'import os; path = "new/.git/config"; os.unlink(path); open(path, "w")'`,
        { cwd },
      )
      expect(faults(events).map(({ reason: why }) => why)).toEqual([
        `rm removed ${cwd}/less/.git/config: git's settings`,
        expect.stringMatching(`^python3.* changed ${cwd}/new/.git/config: git's settings$`),
      ])
    })
  })

  test('is nothing that the demo agent does', async () => {
    const { events, exitCode } = await sluiceRun([process.execPath, DEMO_AGENT, '--fast'])
    expect(exitCode).toBe(0)
    expect(calls(events).map(({ command }) => command)).toContain('git add -A')
    expect(faults(events)).toEqual([])
  })

  test('is not what the policy took out', async () => {
    await withTempDir(async (dir) => {
      const policy = join(dir, 'policy.yaml')
      writeFileSync(
        policy,
        'version: 1\nname: calm\nmode: monitor\ndetect: {loop: {off: true}, bash_heavy: {min_calls: 3}}\n',
      )
      const script = `for n in 1 2 3 4 5 6; do sh -c 'grep -c root /etc/passwd > /dev/null; :'; done`
      const told = detections(await agent(script, { options: ['--policy', policy] }))
      expect(told.map(({ detector, threshold }) => [detector, threshold])).toEqual([['bash_heavy', 0.9]])
    })
  })

  test('is not a build with its tests and its commits, nor is anything done to it', async () => {
    await withTempDir(async (dir) => {
      const policy = join(dir, 'policy.yaml')
      const respond = 'respond: {loop: [freeze], volume: [freeze], exec_storm: [freeze], retry_storm: [freeze]}'
      writeFileSync(policy, `version: 1\nname: strict\nmode: monitor\n${respond}\n`)
      const options = ['--policy', policy, '--fail-on', 'detection']
      const { events, exitCode, stderr } = await sluiceRun(['bash', '-c', BUILD], { cwd: dir, options })
      expect(faults(events)).toEqual([])
      expect(events.filter((event) => 'response' in event)).toEqual([])
      expect(stderr).toBe('')
      expect(exitCode).toBe(0)
    })
  })
})
