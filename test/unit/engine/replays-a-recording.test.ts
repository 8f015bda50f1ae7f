import { describe, expect, it } from 'vitest'
import { LoopDetector } from '../../../src/engine/detect/loop.js'
import { Replay } from '../../../src/engine/replay/derive.js'
import { fromBigInt, type ILadder, ResponseAction } from '../../../src/proto/codec.js'
import type { EventJson } from '../../../src/proto/event-json.js'
import { detectionBy } from '../../support/bash-grammar.js'

const SANDBOX = {
  id: 'box-1',
  name: 'box',
  cgroupId: '7',
  cgroupPath: '/sluice/box-1',
  agent: '',
  task: '',
  labels: {},
}

/** Lines of a session in which the agent runs `commands` one after the other, each by a shell. */
function recording(commands: readonly string[], sessionId = 's1'): string[] {
  const lines: string[] = []
  const say = (body: object, process?: object) => {
    const seq = lines.length + 1
    const time = `2026-01-31T12:00:${String(Math.floor(seq / 10)).padStart(2, '0')}.${String(seq).padStart(9, '0')}Z`
    const node = { name: 'node', bootId: 'boot' }
    const head = {
      schema: 1,
      source: 'x',
      node,
      uid: `uid-${sessionId}-${seq}`,
      time,
      seq: String(seq),
      sandbox: SANDBOX,
    }
    lines.push(JSON.stringify({ ...head, sessionId, toolCallId: '', ...(process ? { process } : {}), ...body }))
  }
  const process = (pid: number, parent: number, args: readonly string[]) => ({
    ...{ execId: `b-${pid}-s-1`, pid, tid: pid, ppid: parent, parentExecId: parent === 0 ? '' : `b-${parent}-s-1` },
    ...{ exe: `/usr/bin/${args[0]}`, args, argsBytes: '1', argsTruncated: false, cwd: '/w', uid: 0, gid: 0 },
    startTime: '2026-01-31T12:00:00.000000000Z',
  })
  const exec = { exec: { script: '', memfd: false } }
  const exit = { exit: { code: 0, signal: 0, runtimeMs: '1' } }
  say({ sandboxStarted: { workdir: '/w' } })
  say(exec, process(1, 0, ['agent']))
  commands.forEach((command, at) => {
    const bash = process(10 + at, 1, ['bash', '-c', command])
    say(exec, bash)
    say(exit, bash)
  })
  say({ sandboxEnded: { summary: { events: String(lines.length + 1), lost: '0' } } })
  return lines
}

function replayed(lines: readonly string[], ladders: readonly ILadder[] = []) {
  const replay = new Replay({ openSession: () => detectionBy(new LoopDetector()), ladders })
  const out: string[] = []
  const bad: string[] = []
  for (const line of lines) {
    try {
      out.push(...replay.take(line))
    } catch (error) {
      bad.push((error as Error).message)
      out.push(...replay.unreadable(error))
    }
  }
  const events = out.map((line) => JSON.parse(line) as EventJson & { recordedSeq?: string })
  return { out, bad, events, replay }
}

const REVERTED = { action: 'FREEZE', trigger: 't', state: 'REVERTED', observed: '', until: null, step: 1 }
const GIT = Array<string>(5).fill('git status')
const { RESPONSE_ACTION_FREEZE: FREEZE } = ResponseAction
const ladder = (detector: string, actions: readonly ResponseAction[]): ILadder => ({
  detector,
  steps: actions.map((action) => ({ action, ttlMs: fromBigInt(60_000n) })),
})
const requests = (events: readonly EventJson[]) =>
  events.flatMap((event) => ('response' in event ? [event.response] : []))

/** Behind the last call, at its time plus so many seconds. */
function withLine(lines: readonly string[], body: object): string[] {
  const last = JSON.parse(lines.at(-2) ?? '{}') as EventJson
  const { process: _, ...head } = {
    ...last,
    exec: undefined,
    exit: undefined,
    uid: 'uid-more',
    ...body,
  } as Partial<EventJson>
  return [...lines.slice(0, -1), JSON.stringify(head), ...lines.slice(-1)]
}

describe('a replay', () => {
  it('has every line of the recording, numbered anew, with its calls and what was noticed behind what caused it', () => {
    const lines = recording(GIT)
    const { events, replay } = replayed(lines)
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, at) => String(at + 1)))
    expect(events.flatMap(({ recordedSeq }) => recordedSeq ?? [])).toEqual(lines.map((_, at) => String(at + 1)))
    const kinds = events.map((event) =>
      Object.keys(event).find((key) => ['exec', 'exit', 'toolCall', 'detection'].includes(key)),
    )
    expect(kinds.slice(2, 5)).toEqual(['exec', 'exit', 'toolCall'])
    expect(kinds.filter((kind) => kind === 'toolCall')).toHaveLength(5)
    expect(replay.detections).toBe(1)
    const at = events.findIndex((event) => 'detection' in event)
    expect(events[at]).toMatchObject({
      ...{ time: events[at - 1]?.time, source: 'engine', toolCallId: events[at - 1]?.toolCallId },
      detection: { detector: 'loop', severity: 'MEDIUM', measured: 5, threshold: 5, baseline: null },
    })
    const uids = new Set(events.map(({ uid }) => uid))
    for (const uid of 'detection' in (events[at] ?? {})
      ? (events[at] as never as { detection: { evidence: string[] } }).detection.evidence
      : []) {
      expect(uids).toContain(uid)
    }
  })

  it('says of each event which call it belongs to, with the id that the call has', () => {
    const { events } = replayed(recording(['ls', 'git status']))
    const calls = events.filter((event) => 'toolCall' in event)
    expect(new Set(calls.map(({ toolCallId }) => toolCallId)).size).toBe(2)
    for (const { toolCallId } of calls) {
      expect(events.filter((event) => event.toolCallId === toolCallId)).toHaveLength(3)
    }
  })

  it('ends with the session’s end, which knows how many events there are', () => {
    const { events } = replayed(recording(['ls']))
    expect(events.at(-1)).toMatchObject({ sandboxEnded: { summary: { events: String(events.length), lost: '0' } } })
  })

  it('is the same for the same recording, and for one that was replayed before', () => {
    const once = replayed(recording(GIT)).out
    expect(replayed(recording(GIT)).out).toEqual(once)
    const withoutNumbers = (lines: readonly string[]) =>
      lines.map((line) => JSON.stringify({ ...(JSON.parse(line) as object), seq: '', recordedSeq: '' }))
    expect(withoutNumbers(replayed(once).out)).toEqual(withoutNumbers(once).map((line) => line))
  })

  it('has what its detections would lead to by a policy, and what became of it then is left out', () => {
    const ladders = [ladder('loop', [FREEZE])]
    const undone = { response: { ...REVERTED, undoneBy: 'time' } }
    const lines = withLine(recording(GIT), undone)
    const { events } = replayed(lines, ladders)
    const detection = events.find((event) => 'detection' in event)
    const at = events.findIndex((event) => 'response' in event)
    expect(requests(events)).toEqual([
      expect.objectContaining({ action: 'FREEZE', state: 'REQUESTED', trigger: detection?.uid, step: 1 }),
    ])
    expect(events[at - 1]).toBe(detection)
    expect(replayed(lines).events.some((event) => 'response' in event)).toBe(false)
    expect(replayed(replayed(lines, ladders).out, ladders).events.filter((event) => 'response' in event)).toHaveLength(
      1,
    )
  })

  it('has nothing done again that an operator had undone', () => {
    const thawed = withLine(recording(GIT.slice(1)), { response: { ...REVERTED, undoneBy: 'operator: user 0' } })
    const [again] = recording(GIT).slice(-3, -2)
    const lines = [...thawed.slice(0, -1), again ?? '', recording(GIT).at(-2) ?? '', ...thawed.slice(-1)]
    const { events } = replayed(lines, [ladder('loop', [FREEZE])])
    expect(events.some((event) => 'detection' in event)).toBe(true)
    expect(requests(events)).toEqual([])
    const hostile = withLine(recording(GIT), {
      response: { state: 'REVERTED', action: 'NONE', undoneBy: 'operator: x' },
    })
    expect(requests(replayed(hostile, [ladder('loop', [FREEZE])]).events)).toHaveLength(1)
  })

  it('has what a limit leads to: not that it has to wait for CPU, and a throttle only where it is a step of this', () => {
    const hit = (what: string, rule = `limits.${what}`) => ({
      limitHit: { what, refused: '1', windowMs: '0', verdict: { decision: 'DENY', rule } },
    })
    const told = (body: object, ...more: object[]) =>
      requests(
        replayed(more.reduce<string[]>(withLine, withLine(recording([]), body)), [
          ladder('limits', [ResponseAction.RESPONSE_ACTION_THROTTLE, FREEZE]),
        ]).events,
      ).map(({ action, trigger }) => [action, trigger])
    expect(told(hit('connects'))).toEqual([['THROTTLE', 'uid-more']])
    expect(told(hit('cpu'))).toEqual([])
    expect(told(hit('connects', 'throttle'))).toEqual([])
    const later = { ...hit('connects', 'throttle'), time: '2026-01-31T12:00:59.000000000Z' }
    expect(told(hit('connects'), later).map(([action]) => action)).toEqual(['THROTTLE', 'FREEZE'])
  })

  it('keeps fields that it does not know, and takes an argument that looks like a kind for what it is', () => {
    const lines = recording(['echo \'"toolCall":{\''])
    const [first = '', ...rest] = lines
    const odd = JSON.stringify({ ...(JSON.parse(first) as object), future: { a: 1 } })
    const { events } = replayed([odd, ...rest])
    expect(events[0]).toMatchObject({ future: { a: 1 } })
    expect(events).toHaveLength(lines.length + 1)
  })

  it('skips lines that are none, and says in the record that they are missing', () => {
    const lines = recording(['ls'])
    const { bad, events } = replayed(['garbage first', ...lines.slice(0, 3), '{"a":', ...lines.slice(3)])
    expect(bad).toHaveLength(2)
    expect(events.filter((event) => 'gap' in event)).toMatchObject([{ gap: { stage: 'DECODE', count: '1' } }])
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, at) => String(at + 1)))
  })

  it.each([
    ['without a program', { exe: undefined }, 'process.exe is missing'],
    ['with a number for arguments', { args: ['a', 5] }, 'process.args is not a list of strings'],
    ['with a text for its id', { pid: 'x' }, 'process.pid is not a number'],
    ['with an odd spawner', { spawnerExecId: 1 }, 'process.spawnerExecId is not a string'],
  ])('says what is wrong with a process %s, and goes on', (_, of, said) => {
    const lines = recording(['ls', 'git status'])
    const at = lines.findIndex((line) => line.includes('git status'))
    const odd = JSON.parse(lines[at] ?? '{}') as { process: object }
    const text = JSON.stringify({ ...odd, process: { ...odd.process, ...of } })
    const { bad, events } = replayed([...lines.slice(0, at), text, ...lines.slice(at)])
    expect(bad).toEqual([`not an event: ${said}`])
    expect(events.filter((event) => 'gap' in event)).toMatchObject([{ gap: { cause: expect.stringContaining(said) } }])
    expect(events.filter((event) => 'toolCall' in event)).toHaveLength(2)
  })

  it('keeps sessions apart', () => {
    const [one, two] = [recording(GIT.slice(0, 4), 's1'), recording(GIT.slice(0, 4), 's2')]
    const { replay } = replayed(one.flatMap((line, at) => [line, two[at] ?? '']))
    expect(replay.detections).toBe(0)
  })
})
