import { describe, expect, it } from 'vitest'
import { EscapeAttemptDetector } from '../../../../src/engine/detect/escape-attempt.js'
import type { FactBody } from '../../../../src/engine/detect/fact.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

function told(body: FactBody, args: readonly string[] = ['bash']): string[] {
  const story = new Story()
  story.say(body, story.exec(story.harness, args))
  return story
    .tell(detectionBy(new EscapeAttemptDetector()))
    .map(({ reason }) => reason.replace(/^.* reached for /, ''))
}
const socket = (path: string, more = {}): FactBody => ({
  ...{ kind: 'attempt', target: `unix ${path}`, host: '', denied: false, count: 1 },
  ...more,
})
const opened = (path: string, asked = path): FactBody => ({ kind: 'read', path, asked })
const refused = (path: string, asked = path): FactBody => ({ kind: 'refused', path, asked, write: true })
const wrote = (path: string): FactBody => ({ kind: 'special', path, asked: path })

describe('escape_attempt', () => {
  it.each<[string, FactBody, string]>([
    ['a container engine', socket('/run/docker.sock'), "a container engine's socket: /run/docker.sock"],
    ['systemd', socket('/run/systemd/private'), "systemd's socket: /run/systemd/private"],
    ['a mount', { kind: 'mount', path: '/mnt', done: false }, 'mounts: /mnt'],
    ['leaving its cgroup', { kind: 'cgroup', op: 'ESCAPE', path: '/other' }, 'another cgroup: /other'],
    [
      'a write to cgroup.procs',
      { kind: 'mutation', how: 'WRITE', paths: ['/sys/fs/cgroup/x/cgroup.procs'], file: '' },
      'cgroups: /sys/fs/cgroup/x/cgroup.procs',
    ],
    ['a try of it', refused('/sys/fs/cgroup/cgroup.procs'), 'cgroups: /sys/fs/cgroup/cgroup.procs'],
    ['core_pattern', wrote('/proc/sys/kernel/core_pattern'), "the kernel's switches: /proc/sys/kernel/core_pattern"],
    [
      'the host root',
      opened('/etc/hostname', '/proc/1/root/etc/hostname'),
      "another process's files: /proc/1/root/etc/hostname",
    ],
    ['memory of another', wrote('/proc/1/mem'), "another process's memory: /proc/1/mem"],
    ['a disk', opened('/dev/sda1'), 'a raw device: /dev/sda1'],
    ['a disk, refused', refused('/dev/nvme0n1'), 'a raw device: /dev/nvme0n1'],
    ['kernel memory', refused('/dev/mem'), 'a raw device: /dev/mem'],
  ])('tells of %s', (_, body, expected) => {
    expect(told(body)).toEqual([expected])
  })

  it.each([
    [['nsenter', '-t', '1', '-m'], 'namespaces of others: nsenter'],
    [['unshare', '-r', 'sh'], 'namespaces of its own: unshare'],
    [['insmod', 'x.ko'], 'a kernel module: insmod'],
    [['bpftool', 'prog'], 'programs in the kernel: bpftool'],
    [['strace', '-p', '1'], 'a process that runs: strace'],
    [['gdb', '-p', '1'], 'a process that runs: gdb'],
  ])('tells of the program %j', (args, expected) => {
    expect(told({ kind: 'exit', code: 0, signal: 0 }, args)).toEqual([expected])
  })

  it.each<[string, FactBody, string[]?]>([
    ['a socket of its own', socket('/tmp/mysql.sock')],
    ['an engine that is not there', socket('/run/docker.sock', { isAbsent: true })],
    ['an engine that the policy allows', socket('/run/docker.sock', { rule: 'local.unix[0]' })],
    ['a terminal', wrote('/dev/tty')],
    ['nothing', wrote('/dev/null')],
    ['its own memory', wrote('/proc/self/mem')],
    ['a debugger at its own work', wrote('/proc/4711/mem'), ['gdb', './a.out']],
    ['its own root', opened('/etc/hostname', '/proc/self/root/etc/hostname')],
    ['a cgroup of its own', { kind: 'cgroup', op: 'MKDIR', path: '/box/x' }],
    ['a program that tells about itself', { kind: 'exit', code: 0, signal: 0 }, ['unshare', '--help']],
    ['a program traced from its start', { kind: 'exit', code: 0, signal: 0 }, ['strace', '-f', 'ls']],
    ['what the kernel tells', opened('/proc/meminfo')],
    ['a file of that name', { kind: 'mutation', how: 'WRITE', paths: ['/project/dev/sda'], file: '' }],
  ])('does not tell of %s', (_, body, args) => {
    expect(told(body, args)).toEqual([])
  })

  it('tells a way and target once', () => {
    const story = new Story()
    const bash = story.exec(story.harness, ['bash'])
    for (let at = 0; at < 9; at += 1) story.say(refused(at % 2 === 0 ? '/dev/sda' : '/dev/sdb'), bash)
    const findings = story.tell(detectionBy(new EscapeAttemptDetector()))
    expect(findings.map(({ measured, severity }) => [measured, severity])).toEqual([
      [1, 'high'],
      [2, 'high'],
    ])
  })
})
