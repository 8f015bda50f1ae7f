/** Receivers of OTLP for tests, over gRPC and over HTTP: strict about what they are sent, and as unreliable as they are told to be. */
import { type AddressInfo, createServer, type Socket } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { type Asked, httpReceiver, reply } from './http-receiver.js'
import { type OtlpRecord, otlpRecords, otlpResponse, rpcStatusBytes } from './otlp-messages.js'

export const PROTOBUF = 'application/x-protobuf'

/** What a receiver does with a request: the same over both ways. */
export interface OtlpReply {
  /** As gRPC has them, and HTTP. Neither: taken. */
  readonly grpc?: grpc.status
  readonly http?: number
  readonly message?: string
  readonly retryMs?: number
  readonly partial?: { rejected: number; message: string }
  /** It says nothing, or breaks the connection. */
  readonly fault?: 'stall' | 'reset'
}

export interface OtlpAsked {
  readonly records: readonly OtlpRecord[]
  readonly headers: Readonly<Record<string, unknown>>
}

export type OtlpReplying = (asked: OtlpAsked) => OtlpReply

export interface OtlpReceiver {
  /** For a sink's `url`. */
  readonly url: string
  close(): Promise<void>
}

interface Tls {
  readonly ca: Buffer
  readonly cert: Buffer
  readonly key: Buffer
}

interface Options {
  /** With certificates on both sides. */
  readonly tls?: Tls
  /** Of a request, unpacked. */
  readonly bytesMax?: number
}

export function otlpReceiver(
  way: 'grpc' | 'http',
  replying: OtlpReplying,
  options: Options = {},
): Promise<OtlpReceiver> {
  return way === 'grpc' ? overGrpc(replying, options) : overHttp(replying, options)
}

async function overHttp(
  replying: OtlpReplying,
  { tls, bytesMax = Number.MAX_SAFE_INTEGER }: Options,
): Promise<OtlpReceiver> {
  const asPost = ({ path, headers }: Asked) => {
    if (path !== '/v1/logs') return 404
    return headers['content-type'] === PROTOBUF ? null : 415
  }
  const receiver = await httpReceiver(
    (asked, answer, request) => {
      const wrong = asked.bytes.length > bytesMax ? 413 : asPost(asked)
      if (wrong !== null) return reply(answer, wrong)
      const said = replying({ records: otlpRecords(asked.bytes), headers: asked.headers })
      if (said.fault === 'stall') return
      if (said.fault === 'reset') return void request.socket.destroy()
      const { http = 200, message = '', partial, retryMs } = said
      const body = http === 200 ? otlpResponse(partial) : rpcStatusBytes(0, message)
      const after = retryMs === undefined ? {} : { 'retry-after': String(Math.ceil(retryMs / 1_000)) }
      answer.writeHead(http, { 'content-type': PROTOBUF, ...after }).end(body)
    },
    tls === undefined ? undefined : ({ ...tls, requestCert: true, rejectUnauthorized: true } as Tls),
  )
  return { url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${receiver.port}`, close: () => receiver.close() }
}

const bytes = (message: Buffer) => message
const EXPORT = {
  ...{ path: '/opentelemetry.proto.collector.logs.v1.LogsService/Export', requestStream: false, responseStream: false },
  ...{ requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes },
} as const

async function overGrpc(replying: OtlpReplying, { tls, bytesMax }: Options): Promise<OtlpReceiver> {
  const open = new Set<Socket>()
  const server = new grpc.Server(bytesMax === undefined ? {} : { 'grpc.max_receive_message_length': bytesMax })
  const onExport = (call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) => {
    const said = replying({ records: otlpRecords(call.request), headers: call.metadata.getMap() })
    if (said.fault === 'stall') return
    if (said.fault === 'reset') return void [...open].map((socket) => socket.resetAndDestroy())
    const { grpc: code, message: details = '', retryMs, partial } = said
    if (code === undefined) return answer(null, otlpResponse(partial))
    const metadata = new grpc.Metadata()
    if (retryMs !== undefined) metadata.set('grpc-status-details-bin', rpcStatusBytes(code, details, retryMs))
    answer({ code, details, metadata })
  }
  server.addService({ export: EXPORT }, { export: onExport })
  const injector = server.createConnectionInjector(
    tls === undefined
      ? grpc.ServerCredentials.createInsecure()
      : grpc.ServerCredentials.createSsl(tls.ca, [{ cert_chain: tls.cert, private_key: tls.key }], true),
  )
  const listener = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => open.delete(socket))
    injector.injectConnection(socket)
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    async close() {
      for (const socket of open) socket.destroy()
      listener.close()
      server.forceShutdown()
    },
  }
}
