/**
 * Ways to somebody else's listener on loopback (`local.listeners: own`): by a port that is the sandbox's own when it connects and not any more
 * when it sends, or that both have at once.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { openForAll } from '../../support/bypass.js'
import { privileged } from '../../support/privileged.js'
import { waitFor } from '../../support/sensor-process.js'

const { skip, reason } = privileged('bpf')
const TAKEN_OVER = 7110
const SHARED = 7111
const CONNECTS = 60

/** Says how many datagrams, or connections, came in, once its standard input ends. */
const OTHER = `
import select, socket, sys
kind, port = sys.argv[1], int(sys.argv[2])
stream = kind == "tcp"
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("127.0.0.1", port))
if stream: s.listen(100)
print("ready", flush=True)
count = 0
while True:
    ready, _, _ = select.select([s, sys.stdin], [], [])
    if s in ready:
        if stream: s.accept()[0].close()
        else: s.recv(100)
        count += 1
    elif sys.stdin in ready: break
print(count, flush=True)
`

/** Connects to a listener of its own, closes that, says so by a file, and sends when somebody else has the port: when its input ends. */
const TAKES_OVER = `
import socket, sys
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); own.bind(("127.0.0.1", ${TAKEN_OVER}))
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.connect(own.getsockname())
c.send(b"own"); print(own.recv(9).decode(), flush=True)
own.close()
open(sys.argv[1], "w").close(); sys.stdin.read()
for _ in range(3):
    try: c.send(b"others"); print("sent", flush=True)
    except OSError as e: print(e.errno, flush=True)
`

const SHARES = `
import socket
own = socket.socket(); own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); own.bind(("127.0.0.1", ${SHARED})); own.listen(100)
through = 0
for _ in range(${CONNECTS}):
    c = socket.socket(); c.settimeout(0.2)
    try: c.connect(("127.0.0.1", ${SHARED})); through += 1
    except OSError: pass
    c.close()
print(through)
`

describe.skipIf(skip)(`a sandbox that may reach its own listeners ${reason}`, () => {
  const bypass = openForAll()

  async function startOther(kind: string, port: number) {
    const args = [`--net=${bypass().network.inside}`, 'python3', '-c', OTHER, kind, String(port)]
    const other = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(other.stdout, 'data')
    return {
      /** What came in. */
      async end(): Promise<number> {
        other.stdin.end()
        return Number(await text(other.stdout))
      },
    }
  }

  it('sends nothing to who took the port of a listener that it had', async () => {
    const closed = join(bypass().dir, 'closed')
    const { ended, end } = bypass().sandbox.runWithInput(['python3', '-c', TAKES_OVER, closed])
    await waitFor('the port to be free', () => existsSync(closed))
    const other = await startOther('udp', TAKEN_OVER)
    end()
    const { out } = await ended
    expect(await other.end()).toBe(0)
    expect(out.split('\n').slice(0, 2)).toEqual(['own', '1'])
  }, 60_000)

  it('connects to nobody else who has the same port at once', async () => {
    const shares = async () => Number((await bypass().sandbox.run(['python3', '-c', SHARES])).out)
    expect(await shares()).toBe(CONNECTS)
    // How many of its own it still gets is by chance, and can be none.
    const other = await startOther('tcp', SHARED)
    await shares()
    expect(await other.end()).toBe(0)
  }, 60_000)
})
