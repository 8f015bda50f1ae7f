/**
 * Sandboxes in network namespaces of their own, of the strongest kind: loopback and no route. Names are answered there as elsewhere, by
 * sockets that the sensor made and the gateway holds; where there are none they are refused. What else there is to that, whatever the
 * kernel, is in once/.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ASK, askAgain, inOwn, type NamesApart, openNamesApart } from '../support/names-apart.js'
import type { NamesHost } from '../support/names-host.js'
import { patient } from '../support/patience.js'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('bpf')

describe.skipIf(skip)(`a sandbox in a network namespace of its own ${reason}`, () => {
  let apart: NamesApart
  let names: NamesHost

  beforeAll(async () => {
    apart = await openNamesApart()
    names = apart.names
  }, patient(30_000))

  afterAll(() => apart?.close(), patient(30_000))

  it.each([
    ['UDP', '192.0.2.1', ''],
    ['TCP', '192.0.2.1', '+tcp'],
    ['UDP over IPv6', '2001:db8::53', ''],
    ['TCP over IPv6', '2001:db8::53', '+tcp'],
  ])('is answered by %s, with no route to anywhere', async (_, server, options) => {
    const out = await names.run('box', inOwn(askAgain(`${ASK} ${options} @${server} api.example.net`)))
    expect(out).toContain('93.184.216.34')
    expect(out).toContain(`SERVER: ${server}#53`)
  })

  it('is refused what no rule names, and answered in the gateway’s namespace meanwhile', async () => {
    expect(await names.run('box', inOwn(askAgain(`${ASK} @192.0.2.1 other.example.net`)))).toContain('status: REFUSED')
    expect(await names.run('box', ['sh', '-c', askAgain(`${ASK} +short @192.0.2.1 api.example.net`)])).toBe(
      '93.184.216.34\n',
    )
  })
})
