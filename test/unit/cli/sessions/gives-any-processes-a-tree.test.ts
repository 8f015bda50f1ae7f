/** A tree of whatever processes a journal names: each once, each under one that is there, however they are linked. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProcessForest, type ProcessNode } from '../../../../src/cli/sessions/process-forest.js'
import { treeJsonLines, treeLines } from '../../../../src/cli/sessions/show-tree.js'
import { fromBigInt } from '../../../../src/proto/codec.js'
import { type EventJson, eventToJson } from '../../../../src/proto/event-json.js'

const T0_NS = 1_800_000_000_000_000_000n

interface Told {
  of: string
  by?: string
  at?: number
  call?: string
  args?: string[]
  kind?: object
}

function event({ of, by = '', at = 0, call = '', args = ['prog'], kind }: Told): EventJson {
  const execId = of === '' ? '' : `boot-${of}-start-1`
  return eventToJson({
    ...{
      uid: 'u',
      node: {},
      sandbox: {},
      sessionId: 's',
      toolCallId: call,
      timeUnixNs: fromBigInt(T0_NS + BigInt(at) * 1_000_000n),
    },
    process: {
      ...{ execId, pid: Number(of) || 0, parentExecId: by === '' ? '' : `boot-${by}-start-1`, ppid: Number(by) || 0 },
      ...{ exe: Buffer.from('/bin/prog'), args: args.map((arg) => Buffer.from(arg)) },
    },
    ...(kind ?? { exec: {} }),
  })
}

function forestOf(events: readonly EventJson[]): ProcessForest {
  const forest = new ProcessForest()
  for (const each of events) forest.add(each)
  return forest
}

const exit = (code: number, signal = 0) => ({ exit: { code, signal, runtimeMs: fromBigInt(1_200n) } })

describe('the tree of a session', () => {
  it('has programs under who started them, with their ends, their calls, and what they became', () => {
    const forest = forestOf([
      event({ of: '10', args: ['agent'] }),
      event({ of: '11', by: '10', at: 5, call: 'c1', args: ['bash', '-c', 'make test'] }),
      event({ of: '12', by: '11', at: 6, call: 'c1', args: ['sh'] }),
      event({ of: '12', by: '11', at: 7, call: 'c1', args: ['make', '\n\u001b[31m'] }),
      event({ of: '12', by: '11', at: 8, call: 'c1', kind: exit(2) }),
      event({ of: '11', by: '10', at: 9, call: 'c1', kind: exit(0, 9) }),
      event({ of: '11', by: '10', at: 9, call: 'c1', kind: { toolCall: { class: 1, ended: true } } }),
      event({ of: '13', by: '10', at: 10, call: 'c2', kind: { fileOpen: {} } }),
    ])
    expect([...treeLines(forest)]).toEqual([
      '08:00:00.000 10 agent → not ended',
      "08:00:00.005 ├─ 11 bash -c 'make test' → killed by SIGKILL after 1.2 s  [call 1 shell]",
      '08:00:00.006 │  └─ 12 sh → exit 2 after 1.2 s',
      "08:00:00.007 │        then make $'\\n\\e[31m'",
      '08:00:00.010 └─ 13 (forked) → not ended  [call 2, not ended]',
    ])
    const lines = [...treeJsonLines(forest)].map((line) => JSON.parse(line))
    expect(lines.map(({ pid, depth }) => [pid, depth])).toEqual([
      [10, 0],
      [11, 1],
      [12, 2],
      [13, 1],
    ])
    expect(lines[2]).toMatchObject({ parentId: lines[1].id, exit: { code: 2, signal: 0 }, toolCallId: 'c1' })
    expect(lines[1]).toMatchObject({ toolCall: { class: 'SHELL', number: 1, ended: true } })
    expect(lines[2].toolCall).toBeNull()
  })

  it('finds the place of a parent that is heard of later than its child', () => {
    const forest = forestOf([
      event({ of: '1', args: ['root'] }),
      event({ of: '3', by: '2', args: ['child'] }),
      event({ of: '2', by: '1', kind: { fileOpen: {} } }),
    ])
    expect([...treeJsonLines(forest)].map((line) => JSON.parse(line).pid)).toEqual([1, 2, 3])
    expect(forest.roots).toHaveLength(1)
  })

  it('has every process once, whoever is said to be whose parent', () => {
    const id = fc.constantFrom('', '1', '2', '3', '4', '5')
    fc.assert(
      fc.property(fc.array(fc.record({ of: id, by: id, call: id }), { maxLength: 30 }), (told) => {
        const forest = forestOf(told.map((each) => event(each)))
        const shown = [...treeJsonLines(forest)].map((line) => JSON.parse(line).id)
        expect(new Set(shown).size).toBe(shown.length)
        expect(shown).toHaveLength(forest.processes)
        expect([...treeLines(forest)].length).toBeGreaterThanOrEqual(shown.length)
        const check = (node: ProcessNode): boolean => node.children.every((c) => c.parent === node && check(c))
        expect(forest.roots.every((root) => root.parent === null && check(root))).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  it('is shown however deep it is', () => {
    const chain = Array.from({ length: 12_000 }, (_, at) =>
      event({ of: String(at + 1), by: at === 0 ? '' : String(at) }),
    )
    expect([...treeLines(forestOf(chain))]).toHaveLength(12_000)
  })
})
