/**
 * What stands before a mock broker of librdkafka for a test: its one address though the broker is another after a restart, TLS, and a limit of a request's length and topics that are not there, none of which it
 * has. What it does not refuse goes through as it is, but for the broker's address in answers. https://kafka.apache.org/protocol
 */
import net from 'node:net'
import tls from 'node:tls'

const HOST = '127.0.0.1'
const PRODUCE = 0
const UNKNOWN_TOPIC = 3
const MESSAGE_TOO_LARGE = 10
const HEADER_BYTES = 12

export interface KafkaFrontOptions {
  readonly target: () => number
  readonly tls?: tls.TlsOptions
  /** In bytes: longer ones that bring events are refused, as by a topic's max.message.bytes. */
  readonly produceMax?: number
  readonly topic: string
  /** A topic that is not there: the mock makes whatever it is asked for. */
  readonly absent?: string
}

export interface KafkaFront {
  readonly port: number
  close(): void
}

export async function kafkaFront(options: KafkaFrontOptions): Promise<KafkaFront> {
  const open = new Set<net.Socket>()
  const join = (near: net.Socket) => {
    const far = net.connect(options.target(), HOST)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
    }
    const requests = framer((frame) => {
      const isTooLong =
        frame.readInt16BE(4) === PRODUCE && frame.length > (options.produceMax ?? Number.MAX_SAFE_INTEGER)
      if (isTooLong) near.write(refusal(frame, options.topic))
      else far.write(frame)
    })
    const answers = framer((frame) => near.write(without(options.absent, moved(frame, options.target(), port))))
    near.on('data', requests)
    far.on('data', answers)
  }
  const server = options.tls === undefined ? net.createServer(join) : tls.createServer(options.tls, join)
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  const { port } = server.address() as net.AddressInfo
  return {
    port,
    close() {
      server.close()
      for (const socket of open) socket.destroy()
    },
  }
}

/** Each with its length before it. */
function framer(take: (frame: Buffer) => void): (chunk: Buffer) => void {
  let kept = Buffer.alloc(0)
  return (chunk) => {
    kept = Buffer.concat([kept, chunk])
    while (kept.length >= 4 && kept.length >= kept.readInt32BE(0) + 4) {
      const end = kept.readInt32BE(0) + 4
      take(kept.subarray(0, end))
      kept = kept.subarray(end)
    }
  }
}

function moved(frame: Buffer, from: number, to: number): Buffer {
  const found = Buffer.from(frame)
  const address = Buffer.alloc(HOST.length + 4, HOST)
  address.writeInt32BE(from, HOST.length)
  for (let at = found.indexOf(address); at >= 0; at = found.indexOf(address, at + 1)) {
    found.writeInt32BE(to, at + HOST.length)
  }
  return found
}

/** An answer that describes topics has what is wrong with each before its name. */
function without(topic: string | undefined, frame: Buffer): Buffer {
  if (topic === undefined) return frame
  const name = Buffer.alloc(2 + topic.length)
  name.writeInt16BE(topic.length, 0)
  name.write(topic, 2)
  const at = frame.indexOf(name)
  if (at >= 2) frame.writeInt16BE(UNKNOWN_TOPIC, at - 2)
  return frame
}

/** Of version 5 to 7: one partition says it for all. */
function refusal(request: Buffer, topic: string): Buffer {
  const answer = Buffer.alloc(8 + 4 + 2 + topic.length + 4 + 4 + 2 + 24 + 4)
  let at = answer.writeInt32BE(answer.length - 4, 0)
  at += request.copy(answer, at, HEADER_BYTES - 4, HEADER_BYTES)
  at = answer.writeInt32BE(1, at)
  at = answer.writeInt16BE(topic.length, at)
  at += answer.write(topic, at)
  at = answer.writeInt32BE(1, at)
  at = answer.writeInt32BE(0, at)
  answer.writeInt16BE(MESSAGE_TOO_LARGE, at)
  return answer
}
