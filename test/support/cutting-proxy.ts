/** A TCP proxy on loopback whose connections a test can cut, as a network does, and which it can close for a while. */
import net from 'node:net'

export interface CuttingProxy {
  readonly port: number
  /** Bytes that went to the target so far. */
  carried(): number
  /** Connections that it made to the target so far. */
  made(): number
  /** Those that are open end at once, in the middle of whatever they carry. `block`: new ones are refused until `unblock`. */
  cut(block?: boolean): void
  unblock(): void
  close(): void
}

export async function cuttingProxy(target: () => number): Promise<CuttingProxy> {
  const open = new Set<net.Socket>()
  let [carried, made, blocked] = [0, 0, false]
  const server = net.createServer((near) => {
    near.on('error', () => {})
    if (blocked) return void near.destroy()
    made += 1
    const far = net.connect(target(), '127.0.0.1')
    for (const socket of [near, far]) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        open.delete(socket)
        near.destroy()
        far.destroy()
      })
    }
    near.on('data', (chunk) => {
      carried += chunk.length
      if (!far.write(chunk)) near.pause()
    })
    far.on('drain', () => near.resume())
    far.pipe(near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    carried: () => carried,
    made: () => made,
    cut(block = false) {
      blocked = block
      for (const socket of open) socket.resetAndDestroy()
    },
    unblock() {
      blocked = false
    },
    close() {
      server.close()
      for (const socket of open) socket.destroy()
    },
  }
}
