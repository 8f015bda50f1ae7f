import { describe, expect, it } from 'vitest'
import { classOf } from '../../../../src/engine/detect/classify.js'
import { isHarness } from '../../../../src/engine/detect/harness.js'

const program = (line: string) => {
  const args = line.split(' ')
  return { exe: (args[0] ?? '').startsWith('/') ? (args[0] ?? '') : `/usr/bin/${args[0]}`, args }
}

describe('the class of a call', () => {
  it.each([
    ['bash -c ls', 'shell'],
    ['sh script.sh', 'shell'],
    ['bash', 'shell'],
    ['-bash', 'shell'],
    ['bash -lc ls', 'shell'],
    ['busybox sh -c ls', 'shell'],
    ['busybox wc', 'program'],
    ['zsh -o errexit -c ls', 'shell'],
    ['python3 -c print(1)', 'inline-code'],
    ['python3.12 -Bc print(1)', 'inline-code'],
    ['python -', 'inline-code'],
    ['python', 'inline-code'],
    ['python --version', 'program'],
    ['python script.py -c', 'program'],
    ['python -m pytest -c x', 'program'],
    ['python -W ignore script.py', 'program'],
    ['node -e 1', 'inline-code'],
    ['node --eval=1', 'inline-code'],
    ['node index.js -e', 'program'],
    ['perl -pe s/a/b/', 'inline-code'],
    ['perl -ne print', 'inline-code'],
    ['perl x.pl', 'program'],
    ['ruby -e 1', 'inline-code'],
    ['php -r 1', 'inline-code'],
    ['deno eval 1', 'inline-code'],
    ['git status', 'program'],
    ['rg foo', 'program'],
    ['mcp-server-git --repo .', 'mcp'],
    ['npx @modelcontextprotocol/server-filesystem /tmp', 'mcp'],
    ['node /opt/mcp/server.js', 'mcp'],
    ['grep -rn foo src/mcp/index.ts', 'program'],
    ['cat docs/mcp.md', 'program'],
    ['env A=1 ls', null],
    ['timeout 10 ls', null],
    ['nice -n 5 ls', null],
    ['sudo ls', null],
  ])('of %s is %s', (line, expected) => {
    expect(classOf(program(line))).toBe(expected)
  })

  it('of a shell that only runs another program is that program’s', () => {
    expect(classOf({ exe: '/bin/sh', args: ['sh', '-c', 'exec git status'] })).toBeNull()
    expect(classOf({ exe: '/bin/sh', args: ['sh', '-c', 'executable'] })).toBe('shell')
  })
})

describe('a harness', () => {
  it.each([
    ['claude', true],
    ['/usr/local/bin/codex exec', true],
    ['node /usr/local/bin/gemini', true],
    ['node --no-warnings /usr/lib/node_modules/@openai/codex/bin/codex.js', true],
    ['node /usr/lib/node_modules/@anthropic-ai/claude-code/cli.js', true],
    ['python3 -m aider', true],
    ['python3 /home/u/.local/bin/aider', true],
    ['node server.js', false],
    ['bash -c claude', false],
    ['grep claude', false],
    ['python3 claude/main.py', false],
  ])('is %s: %s', (line, expected) => {
    expect(isHarness(program(line))).toBe(expected)
  })
})
