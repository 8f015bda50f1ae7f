/** A receiver of HTTP for tests: strict about what it is sent, and as unreliable as it is told to be. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'

export interface Asked {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
  /** Unpacked. */
  readonly bytes: Buffer
}

export type Answering = (asked: Asked, answer: ServerResponse, request: IncomingMessage) => void

export interface Receiver {
  readonly port: number
  close(): Promise<void>
}

export async function httpReceiver(
  answering: Answering,
  tls?: { cert: Buffer; key: Buffer },
  port = 0,
): Promise<Receiver> {
  const onRequest = (request: IncomingMessage, answer: ServerResponse) => {
    const chunks: Buffer[] = []
    request.on('error', () => {})
    request.on('data', (chunk: Buffer) => void chunks.push(chunk))
    request.on('end', () => {
      const sent = Buffer.concat(chunks)
      const bytes = request.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent
      const body = bytes.toString('utf8')
      answering({ path: request.url ?? '', headers: request.headers, body, bytes }, answer, request)
    })
  }
  const server: Server = tls === undefined ? createServer(onRequest) : createTlsServer(tls, onRequest)
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

export function reply(answer: ServerResponse, status: number, body = '', headers: Record<string, string> = {}): void {
  answer.writeHead(status, headers)
  answer.end(body)
}
