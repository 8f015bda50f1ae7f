/** The capabilities and the command of deploy/ are enough for the agent, and each manifest lists the same. */
import { mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { parsePattern } from '../../src/sensor/watch-patterns.js'
import { startTestAgent } from '../support/agent-process.js'
import { cgroupMount } from '../support/cgroup-folder.js'
import { execs, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

interface Container {
  args: string[]
  command: string[]
  securityContext: { capabilities: { drop: string[]; add: string[] } }
}

function container(): Container {
  const text = readFileSync(new URL('../../deploy/kubernetes/daemonset.yaml', import.meta.url), 'utf8')
  const objects = parseAllDocuments(text).map((document) => {
    expect(document.errors).toEqual([])
    return document.toJS()
  })
  return objects.find((object) => object.kind === 'DaemonSet').spec.template.spec.containers[0]
}

function unitCapabilities(): string[] {
  const text = readFileSync(new URL('../../deploy/systemd/sluice-agent.service', import.meta.url), 'utf8')
  const line = /^CapabilityBoundingSet=(.*)$/m.exec(text)?.[1] ?? ''
  return line.split(' ').map((name) => name.replace(/^CAP_/, ''))
}

/** Starts what follows with these capabilities and no others, for good. */
function limited(capabilities: readonly string[]): string[] {
  const set = ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(',')
  return ['setpriv', `--bounding-set=${set}`, '--no-new-privs', '--']
}

async function expectToWork(under: readonly string[]): Promise<void> {
  const agent = await startTestAgent({ under })
  try {
    const options = ['--socket', agent.socket, '--user', 'nobody']
    const run = await sluiceRun(['sh', '-c', 'sleep 60 & /bin/true watched'], { options })
    expect(run).toMatchObject({ exitCode: 0, stderr: '' })
    expectComplete(run.events)
    // Which of the two comes last is the scheduler's.
    expect(execs(run.events).map((event) => event.process.args)).toContainEqual(['/bin/true', 'watched'])
    expect(run.events.at(-1)).toMatchObject({ sandboxEnded: { summary: { killedAtEnd: 1 } } })
  } finally {
    expect(await agent.stop()).toEqual({ code: 0, signal: null })
  }
}

const POD = '0a1b2c3d_1111_2222_3333_444455556666'

/** What a pattern means, by its own description: `*` stays within one level. */
function means(pattern: string, path: string): boolean {
  const { parts } = parsePattern(pattern)
  const found = path.slice(1).split('/')
  const part = (text: string) =>
    new RegExp(
      `^${text
        .split('*')
        .map((piece) => piece.replaceAll('.', '\\.'))
        .join('.*')}$`,
    )
  return parts.length === found.length && parts.every((text, index) => part(text).test(found[index] ?? ''))
}

describe('deploy', () => {
  test.each([
    [`/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${POD}.slice`, 1],
    [`/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${POD}.slice`, 1],
    [`/kubepods.slice/kubepods-pod${POD}.slice`, 1],
    [`/kubepods/burstable/pod${POD}`, 1],
    [`/kubepods/pod${POD}`, 1],
    // What pods are in, and what is in them, is no pod.
    ['/kubepods.slice/kubepods-burstable.slice', 0],
    ['/kubepods/burstable', 0],
    [`/kubepods/pod${POD}/${'c'.repeat(64)}`, 0],
    ['/system.slice/kubelet.service', 0],
  ])('watches %s: %d', (path, times) => {
    const patterns = container().args.flatMap((arg) => /^--watch=(.*)$/.exec(arg)?.[1] ?? [])
    expect(patterns.filter((pattern) => means(pattern, path))).toHaveLength(times)
  })

  test('gives a container and a service the same capabilities', () => {
    const { drop, add } = container().securityContext.capabilities
    expect(drop).toEqual(['ALL'])
    expect([...add].sort()).toEqual(unitCapabilities().sort())
  })
})

describe.skipIf(skip)(`the agent ${reason}`, () => {
  test('works as the service is started', async () => {
    await expectToWork(limited(unitCapabilities()))
  })

  test('works as the container is started, from a cgroup namespace of its own', async () => {
    const { command, securityContext } = container()
    // The last word is the program in the image; here it is the built one. Not every machine lets root look at its first process.
    const entry = command.slice(0, -1).map((word) => word.replace('/proc/1/', `/proc/${process.pid}/`))
    expect(entry.join()).toContain(`/proc/${process.pid}/ns/cgroup`)
    const cgroup = mkdtempSync(join(cgroupMount() ?? '', 'sluice-test-container-'))
    try {
      const inside = ['sh', '-c', 'echo $$ >"$0/cgroup.procs" && exec unshare --cgroup "$@"', cgroup]
      await expectToWork([...inside, ...limited(securityContext.capabilities.add), ...entry])
    } finally {
      rmdirSync(cgroup)
    }
  })
})
