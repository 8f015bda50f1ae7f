/**
 * Names in network namespaces of a sandbox's own, through every client, while sandboxes, namespaces and gateways come and go, and in which
 * of them nobody else gets anywhere.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NAMESPACES_MAX } from '../../../src/sensor/redirects.js'
import { hostPolicy } from '../../support/gateway-policy.js'
import { ASK, inOwn, type NamesApart, openNamesApart, SETTLED } from '../../support/names-apart.js'
import type { NamesHost } from '../../support/names-host.js'
import { privileged } from '../../support/privileged.js'
import { waitFor } from '../../support/sensor-process.js'
import { untilHolds, untilThere } from '../../support/shell-loops.js'

const { skip, reason } = privileged('bpf')
const { EAGAIN } = constants.errno
/** Longer than the sensor waits between two looks. */
const SWEEP_MS = 5_500

describe.skipIf(skip)(`a sandbox in a network namespace of its own ${reason}`, () => {
  let apart: NamesApart
  let names: NamesHost
  const dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))

  beforeAll(async () => {
    apart = await openNamesApart()
    names = apart.names
  })

  afterAll(async () => {
    await apart?.close()
    rmSync(dir, { recursive: true, force: true })
  })

  it.each([
    ['the C library', 'getent hosts api.example.net', '2606:2800:220:1::1'],
    ['busybox', 'busybox nslookup api.example.net 8.8.4.4', '93.184.216.34'],
    ['an answer that is cut off, whole by TCP', `${ASK} +noedns @8.8.8.8 many.example.net`, '93.184.217.59'],
  ])('is answered through %s', async (_, command, wanted) => {
    expect(await names.run('box', inOwn(command))).toContain(wanted)
  })

  it('that was there before its names went to the gateway is answered from the first query on', async () => {
    await names.add('early', hostPolicy({ allow: ['api.example.net'], digest: 'early' }))
    const script = `ip link set lo up; read -r _; ${ASK} +short @192.0.2.1 api.example.net`
    const child = spawn('unshare', ['-n', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] })
    names.moveIn('early', child.pid ?? 0)
    await names.redirect('early', apart.gateway)
    child.stdin?.end('go\n')
    const [first] = (await once(child.stdout ?? child, 'data')) as [Buffer]
    expect(first.toString()).toBe('93.184.216.34\n')
  })

  it('shares it with another sandbox, and neither is answered at the other’s ports or by its rules', async () => {
    const holder = spawn('unshare', ['-n', 'sh', '-c', 'ip link set lo up; echo up; exec sleep 30'])
    try {
      await once(holder.stdout, 'data')
      const inside = ['nsenter', '-t', String(holder.pid), '-n', 'sh', '-c']
      const ask = (id: string, name: string) =>
        names.run(id, [...inside, `${SETTLED}; ${ASK} @192.0.2.1 ${name}.example.net | grep -o 'status: [A-Z]*'`])
      expect(await ask('box', 'api')).toBe('status: NOERROR\n')
      expect(await ask('box', 'other')).toBe('status: REFUSED\n')
      expect(await ask('second', 'other')).toBe('status: NOERROR\n')
      expect(await ask('second', 'api')).toBe('status: REFUSED\n')
      const knock = `${SETTLED}; for p in $(ss -Hltn | grep -o '127.0.0.1:[0-9]*' | cut -d: -f2); do python3 -c '
import socket, sys
try: socket.create_connection(("127.0.0.1", int(sys.argv[1]))); print("in")
except OSError as e: print(e.errno)' $p; done`
      // Sockets are closed where nobody of the sandbox is any more: the other stays until it is knocked at.
      const stays = names.run('second', [...inside, `${SETTLED}; touch ${dir}/in; ${untilThere(`${dir}/out`)}`])
      const asked = `${untilThere(`${dir}/in`)}; ${knock}; touch ${dir}/out`
      const knocks = (await names.run('box', [...inside, asked])).trim().split('\n')
      await stays
      expect(knocks.length).toBeGreaterThanOrEqual(2)
      expect(new Set(knocks)).toEqual(new Set(['1']))
    } finally {
      holder.kill()
    }
  })

  it('is refused while the gateway is silent', async () => {
    const query = `${ASK} @192.0.2.1 api.example.net`
    const refused = `${query} | grep -q 'permission denied'`
    names.silence(true)
    // What was said of it before it fell silent holds for two seconds, from when the sensor heard it.
    const out = await names.run('box', inOwn(`${untilHolds(refused, 'sleep 0.3', 400)}; ${query}`))
    names.silence(false)
    expect(out).toMatch(/permission denied/)
  })

  it('is answered by another gateway after the first is gone', async () => {
    await names.add('kept', hostPolicy({ allow: ['api.example.net'], digest: 'kept' }))
    await names.redirect('kept', apart.gateway)
    const answers = names.run('kept', inOwn(`sleep 2; ${ASK} +short @192.0.2.1 api.example.net`))
    await sleep(1_000)
    apart.gateway.close()
    apart.gateway = names.startGateway()
    for (const id of ['box', 'second', 'kept']) await names.redirect(id, apart.gateway, { instance: 'two' })
    expect(await answers).toBe('93.184.216.34\n')
  })

  it('of which it has more than there are doors for is refused in those', async () => {
    await names.add('many', hostPolicy({ allow: ['api.example.net'], digest: 'many' }))
    await names.redirect('many', apart.gateway, { instance: 'two' })
    // All are there before one asks, and until all have: a door is closed where nobody of the sandbox is any more.
    const count = NAMESPACES_MAX + 4
    const are = (what: string, there: number) => `[ $(ls ${dir} | grep -c ^${what}-) = ${there} ]`
    const until = (condition: string, step = ':') => untilHolds(condition, `${step}; sleep 0.3`, 400)
    const query = `${ASK} +short @192.0.2.1 api.example.net`
    // Until the sensor has come to a namespace it is refused there: who is asks on, and once more when all doors are taken.
    const each = (id: number) =>
      `unshare -n sh -c 'ip link set lo up; touch ${dir}/in-${id}; ${until(are('in', count))}
        mine=${dir}/answered-${id}; ${until(are('answered', NAMESPACES_MAX), `${query} && touch $mine && break`)}
        [ -e $mine ] || ${query}; touch ${dir}/asked-${id}; ${until(are('asked', count))}' &`
    const script = Array.from({ length: count }, (_, id) => each(id)).join('\n')
    const out = await names.run('many', ['sh', '-c', `${script}\nwait`])
    expect(out.split('\n').filter((line) => line === '93.184.216.34')).toHaveLength(NAMESPACES_MAX)
    expect(out.split('\n').filter((line) => line.includes('permission denied')).length).toBeGreaterThanOrEqual(4)
  })

  /** Until the gateway, which is this very process and reads nothing meanwhile, takes no more. */
  function fillMailbox(): void {
    try {
      for (;;) names.addon.sendFds(names.mailbox.path, 'no letter', [])
    } catch (error) {
      expect(error).toMatchObject({ errno: EAGAIN })
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
  }

  it('is not kept alive when nobody is in it any more', async () => {
    await names.run('box', inOwn('true'))
    // For as long as the sensor looks for those that nobody uses, the gateway does not read what it is told, and has no room for more.
    const until = performance.now() + SWEEP_MS
    while (performance.now() < until) fillMailbox()
    await waitFor('its doors to be closed', () => apart.gateway.sandboxes.namespacesOf('box').length === 0)
  })

  it('gets no sockets from who does not have the token', async () => {
    const before = apart.gateway.sandboxes.namespacesOf('box')
    const letter = JSON.stringify({ token: 'x'.repeat(64), sandbox: 'box', open: '1' })
    names.addon.sendFds(names.mailbox.path, letter, [0, 0])
    names.addon.sendFds(names.mailbox.path, 'no letter at all', [])
    await sleep(100)
    expect(apart.gateway.sandboxes.namespacesOf('box')).toEqual(before)
  })
})
