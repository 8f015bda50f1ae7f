import { describe, expect, it } from 'vitest'
import { ConfigTamperDetector } from '../../../../src/engine/detect/config-tamper.js'
import type { MutationHow, ProcessFact } from '../../../../src/engine/detect/fact.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

function told(args: readonly string[], path: string): string[] {
  const story = new Story()
  story.write(story.exec(story.harness, args), path)
  return story.tell(detectionBy(new ConfigTamperDetector())).map(({ reason }) => reason.replace(/^.*: /, ''))
}

describe('config_tamper', () => {
  it.each([
    ['bash', '.git/hooks/pre-commit', 'a git hook'],
    ['python3', '.git/config', "git's settings"],
    ['bash', '/home/jo/.bashrc', "a shell's start"],
    ['tee', '/etc/profile.d/x.sh', "a shell's start"],
    ['node', '.mcp.json', "an agent's settings"],
    ['bash', '/home/jo/.claude/settings.json', "an agent's settings"],
    ['bash', '.cursor/mcp.json', "an agent's settings"],
    ['bash', '/etc/cron.d/job', 'a timer'],
    ['cp', '/etc/systemd/system/x.service', 'a service'],
    ['vi', '.sluice.yaml', "sluice's own settings"],
    ['bash', '/root/.ssh/authorized_keys', 'who may log in'],
    ['bash', '/etc/ld.so.preload', 'what every program loads'],
    ['sed', '/etc/hosts', 'where names and packages come from'],
    ['/tmp/git', '.git/config', "git's settings"],
  ])('tells of %s that writes %s', (program, path, what) => {
    expect(told([program], path)).toEqual([what])
  })

  it.each([
    [['git', 'clone', 'x'], '.git/hooks/pre-commit.sample'],
    [['git', 'remote', 'add', 'origin', 'x'], '.git/config'],
    [['git', 'config', '--global', 'user.email', 'a@b'], '/root/.gitconfig'],
    [['dpkg', '--unpack', 'cron.deb'], '/etc/cron.d/anacron'],
    [['useradd', 'app'], '/etc/passwd'],
    [['npm', 'config', 'set', 'x', 'y'], '/home/jo/.npmrc'],
    [['bash'], 'src/hooks/use-state.ts'],
    [['bash'], 'docs/bashrc.md'],
    [['bash'], '.github/workflows/ci.yml'],
    [['bash'], 'etc/hosts'],
  ])('does not tell of %j that writes %s', (args, path) => {
    expect(told(args, path)).toEqual([])
  })

  it('tells git that it sets up to run something', () => {
    expect(told(['git', 'config', 'core.hooksPath', '/tmp/h'], '.git/config')).toEqual(["git's settings"])
    expect(told(['git', 'config', '--global', 'alias.st', '!sh'], '/root/.gitconfig')).toEqual(["git's settings"])
  })

  it('tells a rename onto it, a try that was refused, and each file once', () => {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash'])
    const paths = ['/project/tmp1', '/project/.git/hooks/post-merge']
    for (let at = 0; at < 2; at += 1) story.say({ kind: 'mutation', how: 'RENAME', paths, file: '' }, bash)
    story.say({ kind: 'refused', path: '/home/jo/.zshrc', asked: '', write: true }, bash)
    story.say({ kind: 'refused', path: '/home/jo/.profile', asked: '', write: false }, bash)
    const findings = story.tell(detectionBy(new ConfigTamperDetector()))
    expect(findings).toMatchObject([
      { severity: 'high', measured: 1, reason: expect.stringContaining('changed /project/.git/hooks/post-merge') },
      { measured: 2, reason: expect.stringContaining('tried to change /home/jo/.zshrc') },
    ])
  })

  it('lets a harness write its own settings, and no hooks', () => {
    const story = new Story()
    story.write(story.harness, '/home/jo/.claude.json')
    story.write(story.harness, '/project/.git/hooks/pre-push')
    expect(story.tell(detectionBy(new ConfigTamperDetector()))).toHaveLength(1)
  })

  it.each([
    ['rm -rf of a repository', ['.git/config', '.git/hooks/pre-push', '.npmrc'], ['.git/hooks', '.git', '']],
    ['a fresh start', ['.git/config'], ['.git']],
  ])('does not tell of %s', (_what, files, folders) => {
    const { story, rm } = removing(files)
    for (const folder of folders) rmdir(story, rm, folder)
    story.exit(rm)
    story.end()
    expect(changes(story)).toEqual([])
  })

  it('does not tell of a program that clears its own workspace away when it ends', () => {
    const { story } = removing(['.git/config'], 'harness')
    rmdir(story, story.harness, '.git')
    story.end()
    expect(changes(story)).toEqual([])
  })

  it.each([
    ['a hook alone', ['.git/hooks/pre-commit'], ['.git/hooks']],
    ['the settings alone', ['.git/config'], []],
    ["an agent's settings with their folder", ['.claude/settings.json'], ['.claude']],
    ['what stands for the whole machine', ['/etc/cron.d/job'], []],
  ])('tells of a removal of %s', (_what, files, folders) => {
    const { story, rm } = removing(files)
    for (const folder of folders) rmdir(story, rm, folder)
    story.exit(rm)
    expect(changes(story)).toEqual([`rm removed ${inProject(files[0] ?? '')}`])
  })

  it('tells of a removal by one that goes on, and by one that is there at the end', () => {
    const goesOn = removing(['.git/hooks/pre-commit'])
    goesOn.story.atMs += 60_000
    goesOn.story.write(goesOn.story.harness, 'notes.md')
    expect(changes(goesOn.story)).toHaveLength(1)
    const { story } = removing(['.git/hooks/pre-commit'])
    story.say({ kind: 'ended' }, null)
    expect(changes(story)).toHaveLength(1)
  })

  it('tells of more removals than it waits for', () => {
    const { story } = removing(Array.from({ length: 17 }, (_, at) => `.git/hooks/hook-${at}`))
    expect(changes(story)).toEqual(['rm removed /project/.git/hooks/hook-0'])
  })

  it('tells once who removes it and makes it anew, at once', () => {
    const { story, rm } = removing(['.git/config'])
    story.write(rm, '.git/config')
    expect(changes(story)).toEqual(['rm changed /project/.git/config'])
    rmdir(story, rm, '.git')
    story.exit(rm)
    expect(changes(story)).toEqual(['rm changed /project/.git/config'])
  })

  it.each([
    ['RENAME', ['/project/fixture', '/project/.git'], "git's settings"],
    ['SYMLINK', ['/project/.git'], "git's settings"],
    ['WRITE', ['/project/.git'], "git's settings"],
    ['RENAME', ['/tmp/h', '/project/.git/hooks'], 'a git hook'],
    ['SYMLINK', ['/project/.git/modules/a/hooks'], 'a git hook'],
  ] as const)('tells of a %s that puts %j in the place of them all', (how, paths, what) => {
    expect(putBy(['bash'], how, paths)).toEqual([what])
    expect(putBy(['git', 'submodule', 'absorbgitdirs'], how, paths)).toEqual(what === 'a git hook' ? [what] : [])
  })

  it.each([
    ['MKDIR', ['/project/.git']],
    ['RMDIR', ['/project/.git/hooks']],
    ['RENAME', ['/project/.git', '/project/old']],
  ] as const)('does not tell of a %s of %j', (how, paths) => {
    expect(putBy(['bash'], how, paths)).toEqual([])
  })

  it.each([
    [['git', 'config', '--rename-section', 'x', 'alias'], true],
    [['git', 'config', 'set', 'diff.external', '/tmp/x'], true],
    [['git', 'clone', '-c', 'core.sshCommand=/tmp/x', 'url'], true],
    [['git', 'clone', '--config=url.x.insteadOf=y', 'url'], true],
    [['git', 'config', 'http.proxy', 'x'], true],
    [['git', '-c', 'core.hooksPath=/dev/null', '-C', '/tmp', 'clone', 'url'], false],
    [['git', 'clone', 'https://example.com/squid-proxy'], false],
    [['git', 'clone', 'https://example.com/command-pager.git'], false],
    [['git', 'branch', '--set-upstream-to', 'origin/editor'], false],
  ])('%j sets git up to run something: %s', (args, is) => {
    expect(told(args, '.git/config')).toEqual(is ? ["git's settings"] : [])
  })
})

function inProject(path: string): string {
  return path.startsWith('/') ? path : `/project/${path}`.replace(/\/$/, '')
}

function removing(files: readonly string[], by: 'rm' | 'harness' = 'rm') {
  const story = new Story()
  const rm = by === 'rm' ? story.exec(story.harness, ['rm', '-rf', 'x']) : story.harness
  for (const file of files) story.say({ kind: 'mutation', how: 'UNLINK', paths: [inProject(file)], file: '' }, rm)
  return { story, rm }
}

function rmdir(story: Story, process: ProcessFact, folder: string): void {
  story.say({ kind: 'mutation', how: 'RMDIR', paths: [inProject(folder)], file: '' }, process)
}

/** Who did what, without what it was. */
function changes(story: Story): string[] {
  return story.tell(detectionBy(new ConfigTamperDetector())).map(({ reason }) => reason.replace(/: [^:]*$/, ''))
}

function putBy(args: readonly string[], how: MutationHow, paths: readonly string[]): string[] {
  const story = new Story()
  story.say({ kind: 'mutation', how, paths, file: '' }, story.exec(story.harness, args))
  return story.tell(detectionBy(new ConfigTamperDetector())).map(({ reason }) => reason.replace(/^.*: /, ''))
}
