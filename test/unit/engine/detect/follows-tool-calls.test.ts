import { describe, expect, it } from 'vitest'
import type { Fact } from '../../../../src/engine/detect/fact.js'
import type { ToolCall } from '../../../../src/engine/detect/tool-call.js'
import { PROCESSES_MAX, ToolCalls } from '../../../../src/engine/detect/tool-calls.js'
import { Story } from '../../../support/session-facts.js'

function follow(facts: readonly Fact[]) {
  const calls = new ToolCalls()
  const ended: ToolCall[] = []
  const began: ToolCall[] = []
  for (const fact of facts) {
    const change = calls.take(fact)
    if (change.began !== null) began.push(change.began)
    // What they list is gone with the next fact.
    ended.push(...change.ended.map((call) => ({ ...call })))
  }
  return { calls, began, ended, told: ended.map(({ class: kind, command }) => [kind, command]) }
}

describe('tool calls', () => {
  it('are what the harness starts, with all that comes of it, until the first process exits', () => {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash', '-c', 'make; git add .'])
    const make = story.exec(bash, ['make'])
    const cc = story.exec(make, ['cc', 'a.c'])
    story.write(cc, 'a.o')
    story.say({ kind: 'attempt', target: 'tcp 1.2.3.4:443', host: 'cache.example', denied: false, count: 1 }, cc)
    story.exit(cc)
    story.exit(make)
    story.exit(story.exec(bash, ['git', 'add', '.']))
    story.exit(bash, 2)
    story.end()
    const { ended } = follow(story.facts)
    expect(ended).toHaveLength(1)
    expect(ended[0]).toMatchObject({ class: 'shell', command: 'make; git add .', processes: 4, exit: { code: 2 } })
    expect([...(ended[0]?.changed ?? [])]).toEqual(['/project/a.o'])
    expect([...(ended[0]?.hosts ?? [])]).toEqual(['cache.example'])
  })

  it('take the class of what a wrapper runs, in its place or below it', () => {
    const story = new Story()
    const env = story.exec(story.harness, ['env', 'A=1', 'python3', '-c', '1'])
    story.exit(story.exec(null, ['python3', '-c', '1'], env))
    const timeout = story.exec(story.harness, ['timeout', '5', 'git', 'status'])
    story.exit(story.exec(timeout, ['git', 'status']))
    story.exit(timeout)
    // One that never ran anything is a program.
    story.exit(story.exec(story.harness, ['sudo', 'ls']), 1)
    story.end()
    expect(follow(story.facts).told).toEqual([
      ['inline-code', 'python3 -c 1'],
      ['program', 'git status'],
      ['program', 'sudo ls'],
    ])
  })

  it('are those of the program that the catalogue names, wherever it was started', () => {
    const story = new Story(['bash', '-c', 'cd x; claude'])
    const claude = story.exec(story.harness, ['claude'])
    story.exit(story.exec(claude, ['git', 'status']))
    const node = story.exec(claude, ['node', '/usr/bin/codex'])
    story.exit(story.exec(node, ['rg', 'x']))
    story.exit(node)
    story.exit(claude)
    story.end()
    expect(follow(story.facts).told).toEqual([
      ['program', 'git status'],
      ['program', 'rg x'],
    ])
  })

  it('are none of a wrapper that became a harness in its place', () => {
    const story = new Story()
    const env = story.exec(story.harness, ['env', 'claude'])
    const claude = story.exec(null, ['claude'], env)
    story.exit(story.exec(claude, ['ls']))
    story.exit(claude)
    story.end()
    expect(follow(story.facts).told).toEqual([['program', 'ls']])
  })

  it('are inputs of a shell that stays, each until the next one, and only those that start something', () => {
    const story = new Story()
    const shell = story.exec(story.harness, ['bash'])
    const input = (text: string) => story.say({ kind: 'stdin', text }, shell)
    input('cd src\n')
    input('make\n')
    const make = story.exec(shell, ['make'])
    story.write(make, 'out')
    story.exit(make)
    input('\n')
    input('git diff | cat\n')
    for (const name of ['git', 'cat']) story.exit(story.exec(shell, [name]))
    story.exit(shell)
    story.end()
    const { ended, began, told } = follow(story.facts)
    expect(told).toEqual([
      ['shell', 'cd src\n\nmake'],
      ['shell', 'git diff | cat'],
    ])
    expect(began.map(({ uid }) => uid)).toEqual(ended.map(({ uid }) => uid))
    expect(ended.map(({ processes }) => processes)).toEqual([1, 2])
  })

  it('end with the session where they had no end of their own', () => {
    const story = new Story()
    story.exec(story.harness, ['sleep', '100'])
    story.end()
    expect(follow(story.facts).ended).toMatchObject([{ command: 'sleep 100', exit: null }])
  })

  it('keep what they left running', () => {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash', '-c', 'server &'])
    const server = story.exec(bash, ['server'])
    story.exit(bash)
    const late = story.exec(server, ['worker'])
    const calls = new ToolCalls()
    const last = story.facts.map((fact) => calls.take(fact)).at(-1)
    expect(late.pid).toBeGreaterThan(0)
    expect(last?.call?.command).toBe('server &')
  })

  it('of a parent that was never seen to exec are the latest call’s', () => {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash', '-c', '(ls; ls)'])
    const subshell = { ...bash, execId: 'boot-999-s999-0' }
    story.exit(story.exec(subshell, ['ls']))
    story.exit(bash)
    story.end()
    expect(follow(story.facts).ended).toMatchObject([{ command: '(ls; ls)', processes: 2 }])
  })

  it('are remembered in bounds, whatever is started', () => {
    const story = new Story()
    for (let at = 0; at < PROCESSES_MAX + 2_000; at += 1) story.exec(story.harness, ['sleep', String(at)])
    const { calls, ended } = follow(story.facts)
    expect(calls.forgotten).toBeGreaterThan(0)
    expect(ended).toEqual([])
  })
})
