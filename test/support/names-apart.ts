/**
 * Sandboxes in network namespaces of their own, a gateway in this process, a real recursive resolver behind it: what tests of names in
 * other namespaces begin with.
 */
import { hostPolicy } from './gateway-policy.js'
import { type GatewayHere, type NamesHost, openNamesHost } from './names-host.js'
import { startUnbound } from './unbound.js'

/** How a command inside asks. */
export const ASK = 'dig +tries=1 +time=3'
/** The sensor has to be told of the namespace first: until it listens there a query is refused, and dig gets no reply. */
export const SETTLED =
  'ip link set lo up; for i in $(seq 100); do dig +tries=1 +time=1 @192.0.2.1 settled.test >/dev/null 2>&1 && break; sleep 0.05; done'

/** Asks again where it was refused: a gateway that was not heard of for two seconds is as good as none, and a machine may be that slow. */
export const askAgain = (query: string) =>
  `for i in $(seq 100); do out=$(${query} 2>&1); case $out in *'permission denied'*) sleep 0.1;; *) break;; esac; done; echo "$out"`

/** A script in a namespace of its own, once names are answered there. */
export const inOwn = (script: string) => ['unshare', '-n', 'sh', '-c', `${SETTLED}; ${script}`]

export interface NamesApart {
  readonly names: NamesHost
  /** Can be replaced. */
  gateway: GatewayHere
  close(): Promise<void>
}

/** With two sandboxes: `box` may ask for api.example.net, `second` for other.example.net, both for many.example.net. */
export async function openNamesApart(): Promise<NamesApart> {
  const unbound = await startUnbound({
    'example.net':
      'api A 93.184.216.34\napi AAAA 2606:2800:220:1::1\nother A 93.184.216.35\n' +
      Array.from({ length: 60 }, (_, index) => `many A 93.184.217.${index}`).join('\n'),
  })
  const names = await openNamesHost(unbound.port)
  const apart: NamesApart = {
    names,
    gateway: names.startGateway(),
    async close() {
      await names.close()
      apart.gateway.close()
      await unbound.stop()
    },
  }
  try {
    for (const [id, host] of [
      ['box', 'api'],
      ['second', 'other'],
    ] as const) {
      await names.add(id, hostPolicy({ allow: [`${host}.example.net`, 'many.example.net'], digest: id }))
      await names.redirect(id, apart.gateway)
    }
  } catch (error) {
    await apart.close()
    throw error
  }
  return apart
}
