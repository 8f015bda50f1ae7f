import { describe, expect, it } from 'vitest'
import { DropAndRunDetector } from '../../../../src/engine/detect/drop-and-run.js'
import type { ProcessFact } from '../../../../src/engine/detect/fact.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

class Files extends Story {
  put(writer: ProcessFact, path: string, file: string): void {
    this.say({ kind: 'mutation', how: 'WRITE', paths: [path], file }, writer)
  }

  run(path: string, file: string, more = {}): void {
    const process = {
      ...this.harness,
      execId: `boot-${path}-s-1`,
      parentExecId: this.harness.execId,
      exe: path,
      args: [path],
    }
    this.say({ kind: 'exec', script: '', memfd: false, file, adopted: false, ...more }, process)
  }
}

function told(tell: (story: Files, by: (...args: string[]) => ProcessFact) => void): string[] {
  const story = new Files()
  tell(story, (...args) => story.exec(story.harness, args))
  return story.tell(detectionBy(new DropAndRunDetector())).map(({ reason }) => reason)
}
const WROTE = 'this session wrote it, and no compiler or installer did'

describe('drop_and_run', () => {
  it.each<[string, Parameters<typeof told>[0], string]>([
    [
      'what was fetched',
      (story, by) => {
        story.put(by('curl', '-o', 'x'), '/project/x', '8:1')
        story.run('/project/x', '8:1')
      },
      `/project/x was run: ${WROTE}`,
    ],
    [
      'what has another name by now',
      (story, by) => {
        story.put(by('curl'), '/project/x.part', '8:1')
        story.run('/usr/local/bin/tool', '8:1')
      },
      `/usr/local/bin/tool was run: ${WROTE}`,
    ],
    [
      'by its name where files have no numbers',
      (story, by) => {
        const curl = by('curl')
        story.put(curl, '/tmp/a', '')
        story.say({ kind: 'mutation', how: 'RENAME', paths: ['/tmp/a', '/tmp/b'], file: '' }, curl)
        story.run('/tmp/b', '')
      },
      `/tmp/b was run: ${WROTE}`,
    ],
    [
      'by a compiler that it brought itself',
      (story, by) => {
        story.put(by('/tmp/ld'), '/project/x', '8:1')
        story.run('/project/x', '8:1')
      },
      `/project/x was run: ${WROTE}`,
    ],
    [
      'memory',
      (story) => story.run('/memfd:x', '', { memfd: true }),
      '/memfd:x was run: it is in memory and was never a file',
    ],
    ['shared memory', (story) => story.run('/dev/shm/x', '8:1'), '/dev/shm/x was run: it lies in shared memory'],
    [
      'a script in shared memory',
      (story) => story.run('/bin/sh', '8:1', { script: '/dev/shm/x' }),
      '/bin/sh was run: it lies in shared memory',
    ],
  ])('tells %s', (_, tell, expected) => {
    expect(told(tell)).toEqual([expected])
  })

  it.each<[string, Parameters<typeof told>[0]]>([
    [
      'what was built',
      (story, by) => {
        story.put(by('/usr/bin/x86_64-linux-gnu-ld.bfd', '-o', 'a.out'), '/project/a.out', '8:1')
        story.run('/project/a.out', '8:1')
      },
    ],
    [
      'what a package manager brought',
      (story, by) => {
        const pip = by('python3', '-m', 'pip', 'install', 'ruff')
        story.put(story.exec(pip, ['python3', '-c', 'x']), '/project/.venv/bin/ruff', '8:1')
        story.run('/project/.venv/bin/ruff', '8:1')
      },
    ],
    [
      'a script that it wrote',
      (story, by) => {
        story.put(by('bash'), '/project/run.sh', '8:1')
        story.run('/bin/bash', '8:2', { script: '/project/run.sh' })
      },
    ],
    ['what was there', (story) => story.run('/usr/bin/git', '8:9')],
    ['what ran before it was watched', (story) => story.run('/dev/shm/x', '', { adopted: true })],
  ])('does not tell %s', (_, tell) => {
    expect(told(tell)).toEqual([])
  })

  it('tells a program once, and counts what it forgot', () => {
    const story = new Files()
    const curl = story.exec(story.harness, ['curl'])
    for (let at = 0; at < 1_100; at += 1) story.put(curl, `/project/f${at}`, `8:${at}`)
    for (const file of ['8:1099', '8:1099', '8:2']) story.run(`/project/${file}`, file)
    const detector = new DropAndRunDetector()
    expect(story.tell(detectionBy(detector))).toHaveLength(1)
    expect(detector.shed()).toBe(76)
  })
})
