import { describe, expect, it } from 'vitest'
import { SecretAccessDetector } from '../../../../src/engine/detect/secret-access.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

function told(args: readonly string[], path: string, asked?: string): string[] {
  const story = new Story()
  const process = story.exec(story.harness, args)
  story.read(process, path.replace('<own>', String(process.pid)), asked)
  return story.tell(detectionBy(new SecretAccessDetector())).map(({ reason }) => reason)
}

describe('secret_access', () => {
  it.each([
    ['cat', '/home/jo/.ssh/id_ed25519', 'an SSH key'],
    ['cat', '/project/deploy/id_rsa', 'an SSH key'],
    ['python3', '/project/.env', 'a .env file'],
    ['cat', '/project/app/.env.production', 'a .env file'],
    ['cat', '/root/.aws/credentials', 'credentials of AWS'],
    ['node', '/home/jo/.npmrc', "a registry's token"],
    ['cat', '/home/jo/.config/gcloud/application_default_credentials.json', 'credentials of Google Cloud'],
    ['curl', '/run/secrets/kubernetes.io/serviceaccount/..2026_01/token', 'a service account token'],
    ['cat', '/home/jo/.git-credentials', 'passwords of hosts'],
    ['cat', '/home/jo/.docker/config.json', "a registry's token"],
    ['cat', '/etc/shadow', 'password hashes'],
    ['cat', '/home/jo/.kube/config', 'credentials of Kubernetes'],
    ['cat', '/proc/1/environ', "another process's environment"],
    ['cat', '/home/jo/.claude/.credentials.json', "an agent's own credentials"],
    ['/tmp/ssh', '/home/jo/.ssh/id_rsa', 'an SSH key'],
    ['/project/bin/aws', '/root/.aws/credentials', 'credentials of AWS'],
  ])('tells of %s that reads %s', (program, path, what) => {
    expect(told([program, 'x'], path)).toEqual([`${program.replace(/.*\//, '')} read ${path}: ${what}`])
  })

  it.each([
    [['ssh', 'git@host'], '/home/jo/.ssh/id_ed25519'],
    [['cat'], '/home/jo/.ssh/id_ed25519.pub'],
    [['git', 'push'], '/home/jo/.ssh/known_hosts'],
    [['node', '/usr/lib/node_modules/npm/bin/npm-cli.js', 'ci'], '/home/jo/.npmrc'],
    [['python3', '/usr/bin/aws', 's3', 'ls'], '/root/.aws/credentials'],
    [['git', 'fetch'], '/home/jo/.git-credentials'],
    [['cat'], '/project/.env.example'],
    [['cat'], '/project/src/environment.ts'],
    [['sudo', 'ls'], '/etc/shadow'],
    [['ps', 'aux'], '/proc/77/environ'],
    [['cat'], '/proc/<own>/environ'],
    [['cat'], '/project/docs/secrets.md'],
  ])('does not tell of %j that reads %s', (args, path) => {
    expect(told(args, path)).toEqual([])
  })

  it('knows its own environment however its number is', () => {
    expect(told(['cat'], '/proc/7/environ', '/proc/self/environ')).toEqual([])
  })

  it('tells a file once, and counts them', () => {
    const story = new Story()
    const cat = story.exec(story.harness, ['cat'])
    for (const path of ['/a/.env', '/a/.env', '/b/.env']) story.read(cat, path)
    const findings = story.tell(detectionBy(new SecretAccessDetector()))
    expect(findings.map(({ measured }) => measured)).toEqual([1, 2])
    expect(findings[1]?.evidence).toEqual(['uid-3', 'uid-5'])
    expect(story.tell(detectionBy(new SecretAccessDetector({ files: 2 })))).toHaveLength(1)
  })

  it('lets a harness read what is its own, and no more', () => {
    const story = new Story()
    for (const path of ['/home/jo/.claude/.credentials.json', '/project/.env', '/home/jo/.ssh/id_rsa']) {
      story.read(story.harness, path)
    }
    expect(story.tell(detectionBy(new SecretAccessDetector()))).toMatchObject([
      { reason: expect.stringContaining('id_rsa') },
    ])
  })
})
