import { describe, expect, it } from 'vitest'
import { OutOfWorkspaceDetector } from '../../../../src/engine/detect/out-of-workspace.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

function told(args: readonly string[], path: string, allowed: readonly string[] = []): string[] {
  const story = new Story()
  story.write(story.exec(story.harness, args), path)
  return story
    .tell(detectionBy(new OutOfWorkspaceDetector({}, allowed)))
    .map(({ reason }) => reason.split(',')[0] ?? '')
}

describe('out_of_workspace', () => {
  it.each([
    ['bash', '/etc/motd'],
    ['cp', '/usr/local/bin/tool'],
    ['python3', '/home/jo/other-project/src/a.py'],
    ['bash', '/projects/x'],
    ['bash', '/opt/x/y/z/deep'],
    ['bash', '/home/jo/notes.txt'],
    ['/project/pip', '/usr/lib/x'],
  ])('tells of %s that writes %s', (program, path) => {
    expect(told([program], path)).toEqual([`${program.replace(/.*\//, '')} changed ${path}`])
  })

  it.each([
    [['bash'], '/project/src/a.ts'],
    [['bash'], '/tmp/x'],
    [['node'], '/home/jo/.cache/x'],
    [['node'], '/home/jo/.npm/_logs/x'],
    [['go', 'build'], '/root/go/pkg/mod/x'],
    [['bash'], '/home/jo/.bash_history'],
    [['ssh'], '/home/jo/.ssh/known_hosts'],
    [['python3'], '/usr/lib/python3/dist-packages/x/__pycache__/a.cpython-311.pyc.140'],
    [['apt-get', 'install', 'jq'], '/usr/bin/jq'],
    [['pip', 'install', 'x'], '/usr/lib/python3/dist-packages/x.py'],
    [['bash'], '/dev/shm/x'],
  ])('does not tell of %j that writes %s', (args, path) => {
    expect(told(args, path)).toEqual([])
  })

  it('takes what an installer started for its own', () => {
    const story = new Story()
    const apt = story.exec(story.harness, ['apt-get', 'install', 'x'])
    story.write(story.exec(story.exec(apt, ['dpkg', '-i']), ['sh', '/var/lib/dpkg/info/x.postinst']), '/etc/x.conf')
    expect(story.tell(detectionBy(new OutOfWorkspaceDetector()))).toEqual([])
  })

  it('lets the policy name more places, and only these', () => {
    expect(told(['bash'], '/data/out/a', ['/data/out'])).toEqual([])
    expect(told(['bash'], '/data/outside', ['/data/out'])).toHaveLength(1)
  })

  it('tells a folder once', () => {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash'])
    for (let at = 0; at < 50; at += 1) story.write(bash, `/opt/app/lib/f${at}`)
    story.write(bash, '/srv/x')
    expect(story.tell(detectionBy(new OutOfWorkspaceDetector())).map(({ measured }) => measured)).toEqual([1, 2])
  })
})
