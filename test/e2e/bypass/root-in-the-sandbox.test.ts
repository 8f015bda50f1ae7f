/**
 * Ways out for a command that runs as root (`run --user root`): to what holds it, around it, and to the machine's own network. It has lost the
 * capabilities for all of them.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { script } from '../../support/bypass.js'
import { cgroupMount } from '../../support/cgroup-folder.js'
import { privileged } from '../../support/privileged.js'
import { sluiceRun, tempDirForAll } from '../../support/sluice-run.js'
import {
  ALLOWED,
  ARRIVAL_MS,
  DENIED,
  INSIDE,
  openTestNetwork,
  PORT,
  type TestNetwork,
} from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const POLICY = `version: 1
name: one-neighbour
mode: enforce
egress:
  - cidr: ${ALLOWED.v4}/32
    ports: [${PORT}]
`
const TEXT = 'as-root.'

describe.skipIf(skip)(`root in a run that is enforced ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let said: ReadonlyMap<string, string>

  beforeAll(async () => {
    network = await openTestNetwork()
    const policy = join(dir(), 'policy.yaml')
    writeFileSync(policy, POLICY)
    const tries = [script('as_root.py'), DENIED.v4, String(PORT), TEXT, INSIDE.v4, cgroupMount() ?? '']
    const { stdout } = await sluiceRun(['python3', ...tries], {
      options: ['--policy', policy, '--user', 'root'],
      through: ['nsenter', `--net=${network.inside}`],
    })
    said = new Map(stdout.split('\n').map((line) => [line.split(' ')[0] ?? '', line.split(' ').slice(1).join(' ')]))
  }, 120_000)

  afterAll(() => network?.close(), 60_000)

  it.each([
    ['the programs in the kernel', ['programs', 'program', 'detach', 'pins', 'module']],
    ['their maps and links', ['maps', 'map', 'links', 'link']],
    ['our processes, and the first of the machine', ['trace', 'memory', 'descriptors', 'init', 'init-root']],
    ['namespaces and file systems', ['namespace', 'cgroupfs', 'mounts']],
    ['devices, addresses, routes and transformations', ['tunnel', 'address', 'route', 'neighbour', 'device']],
    ['rules of routing and of IPsec, and raw sockets', ['policy-routing', 'transformation', 'raw']],
  ])('is refused %s', (_, names) => {
    const given = names.map((name) => [name, said.get(name)])
    expect(given).toEqual(names.map((name) => [name, 'refused']))
  })

  it('has sent nothing to the denied neighbour', async () => {
    expect(said.get('connect')).toBe('refused')
    await sleep(ARRIVAL_MS)
    expect([...network.arrived].filter((line) => line.includes(TEXT))).toEqual([])
  })
})
