/**
 * The built command line as a user has it: that events come, and that none is lost unsaid. What the events mean in detail is for the
 * tests of the host, and for those of them that a guest runs too.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { compiledC } from '../../support/compiled.mjs'
import { outDir, runChecks, sluice } from './checks.mjs'

const OPENS = 2_000
const EXECS = 30
const ECONNREFUSED = 111
const STORM = compiledC('storm')

/** One of each, and an end of its own; sh waits for nothing in the background. */
const SCRIPT = `
echo text >first; cat first >/dev/null; mv first second; chmod 600 second; rm second
(exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null
(exec 3<>/dev/tcp/::1/9) 2>/dev/null
./missing 2>/dev/null
exit 7`

/** Runs a command watched; returns how it ended and its record. */
function run(name, cwd, args) {
  const record = join(outDir, `${name}.jsonl`)
  const ended = sluice(['run', '--record', record, '--summary', 'none', '--workdir', cwd, '--', ...args])
  const lines = ended.status === 125 ? [] : readFileSync(record, 'utf8').trimEnd().split('\n')
  return { ...ended, events: lines.map((line) => JSON.parse(line)) }
}

const of = (events, kind) => events.filter((event) => kind in event)

/** Opens by the storm of `count` that the record tells of: an event stands for one, or for those that only repeated. */
function opened(events, count) {
  const own = of(events, 'fileOpen').filter(({ process }) => process.args.join(' ') === `${STORM} opens ${count}`)
  return own.reduce((sum, event) => sum + Number(event.fileOpen.count), 0)
}

/** Events that the record says are missing. */
function lost(events, kind) {
  const gaps = of(events, 'gap').filter((event) => event.gap.kind === kind)
  return gaps.reduce((sum, event) => sum + Number(event.gap.count), 0)
}

function expectGapless(events) {
  assert.deepEqual(
    events.map((event) => event.seq),
    events.map((_, index) => String(index + 1)),
  )
}

runChecks({
  'every program loads and attaches'() {
    const { status, stdout, said } = sluice(['doctor', '--json'])
    assert.equal(status, 0, said)
    const { checks } = JSON.parse(stdout)
    assert.match(checks.find((check) => check.name === 'programs').found, /^(\d+) of \1 load and attach$/)
  },

  'a run is recorded, complete'() {
    const cwd = join(outDir, 'work')
    mkdirSync(cwd)
    const { status, said, events } = run('run', cwd, ['bash', '-c', SCRIPT])
    assert.equal(status, 7, said)
    expectGapless(events)
    assert.deepEqual(of(events, 'gap'), [])
    const commands = of(events, 'exec').map(({ process }) => process.args[0])
    assert.deepEqual(commands, ['bash', 'cat', 'mv', 'chmod', 'rm'])
    const made = of(events, 'fileOpen').find((event) => event.fileOpen.userPath === 'first')
    assert.equal(made.fileOpen.path, join(cwd, 'first'))
    const changes = of(events, 'fileChange').map(({ fileChange }) => fileChange.op)
    for (const op of ['RENAME', 'CHMOD', 'UNLINK']) assert.ok(changes.includes(op), `${op} is not among ${changes}`)
    assert.deepEqual(
      // bash also looks its user up, over a unix socket.
      of(events, 'connect').flatMap(({ connect: { via, protocol, address, port, errno } }) =>
        via === 'CONNECT' && protocol === 'TCP' ? [[address, port, errno]] : [],
      ),
      [
        ['127.0.0.1', 9, ECONNREFUSED],
        ['::1', 9, ECONNREFUSED],
      ],
    )
    assert.equal(of(events, 'exit').at(-1).exit.code, 7)
    const { summary } = events.at(-1).sandboxEnded
    assert.deepEqual([summary.complete, summary.lost, summary.events], [true, '0', String(events.length)])
  },

  [`${OPENS} opens and ${EXECS} programs are received or counted, with the end of each`]() {
    const storms = `${STORM} opens 0 && ${STORM} opens ${OPENS} && exec ${STORM} execs ${EXECS}`
    const { status, said, events } = run('storms', outDir, ['sh', '-c', storms])
    assert.equal(status, 0, said)
    expectGapless(events)
    const [calm, stormed] = ['0', String(OPENS)].map((count) => opened(events, count))
    assert.notEqual(calm, 0)
    assert.equal(stormed + lost(events, 'fileOpen'), calm + OPENS)
    const others = ['sh', 'opens 0', `opens ${OPENS}`].length
    // What became of sh is one that is run, and ends once.
    assert.equal(of(events, 'exec').length + lost(events, 'exec'), EXECS + others + 1)
    assert.equal(of(events, 'exit').length + lost(events, 'exit'), EXECS + others)
  },
})
