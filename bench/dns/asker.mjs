/** Asks a resolver in a thread of its own, so that what is measured is the answer's time and not that of the engine beside it. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { parentPort } from 'node:worker_threads'

const NAMES = 100

function query(index) {
  const labels = [`n${index % NAMES}`, 'example', 'net'].map((text) =>
    Buffer.from(`${String.fromCharCode(text.length)}${text}`),
  )
  const head = Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
  head.writeUInt16BE(index & 0xffff, 0)
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, 1, 0, 1])])
}

/** Milliseconds of each, in order of the answers, and of all. */
async function ask(port, { count, outstanding, pauseMs = 0 }) {
  const socket = createSocket('udp4')
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const sentAt = new Array(0x10000)
  const times = []
  let sent = 0
  const next = () => {
    if (sent >= count) return
    sentAt[sent & 0xffff] = performance.now()
    socket.send(query(sent++))
  }
  const start = performance.now()
  await new Promise((resolve, reject) => {
    const stuck = setTimeout(() => reject(new Error(`${times.length} of ${count} answers`)), 20_000)
    socket.on('message', (bytes) => {
      if (bytes.readUInt16BE(6) !== 1) reject(new Error('a question was not answered'))
      times.push(performance.now() - sentAt[bytes.readUInt16BE(0)])
      if (times.length === count) {
        clearTimeout(stuck)
        resolve()
      } else if (pauseMs > 0) setTimeout(next, pauseMs)
      else next()
    })
    for (let index = 0; index < outstanding; index++) next()
  })
  const all = performance.now() - start
  socket.close()
  return { times: times.sort((a, b) => a - b), all }
}

parentPort?.on('message', async ({ port, ...how }) => {
  parentPort?.postMessage(await ask(port, how))
})
