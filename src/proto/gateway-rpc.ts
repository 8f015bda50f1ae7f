/**
 * The one call of GatewayService, both sides, as plain functions and callbacks. Guards that nothing is sent after the end and that what a
 * slow other side has not read has a limit. Not here: connections (rpc.ts), and what messages mean.
 */
import type * as grpc from '@grpc/grpc-js'
import { encodeBuffer, type IServeRequest, type IServeResponse, ServeRequest, ServeResponse } from './codec.js'
import { watchStatus } from './rpc-status.js'

/** grpc.status.OK: grpc-js itself is rpc.ts's to load. */
const STATUS_OK = 0
/** Messages that wait for the other side to read them; one that leaves so many does not work any more. */
const UNREAD_MAX = 4_096

const SERVE = {
  path: '/sluice.v1.GatewayService/Serve',
  requestStream: true,
  responseStream: true,
  requestSerialize: (message: IServeRequest) => encodeBuffer(ServeRequest, message),
  requestDeserialize: (bytes: Buffer): IServeRequest => ServeRequest.decode(bytes),
  responseSerialize: (message: IServeResponse) => encodeBuffer(ServeResponse, message),
  responseDeserialize: (bytes: Buffer): IServeResponse => ServeResponse.decode(bytes),
} as const

/** One side of the stream: `S` is sent, `R` comes. */
export interface GatewayCall<S, R> {
  /** False: it was not taken, as the call is over or the other side does not read. */
  send(message: S): boolean
  onMessage(cb: (message: R) => void): void
  /** Once. */
  onEnd(cb: (why: string) => void): void
  end(): void
}

export interface GatewayClientCall extends GatewayCall<IServeRequest, IServeResponse> {
  /** Ends it when the other side has read all; resolves with whether it has, within the deadline. */
  finish(deadlineMs: number): Promise<boolean>
}
export type GatewayServerCall = GatewayCall<IServeResponse, IServeRequest>

export type GatewayHandler = (call: GatewayServerCall) => void

export function gatewayCall(client: grpc.Client): GatewayClientCall {
  const stream = client.makeBidiStreamRequest(SERVE.path, SERVE.requestSerialize, SERVE.responseDeserialize)
  const status = watchStatus(stream)
  stream.once('status', () => client.close())
  return {
    send: (message) => !status.over() && write(stream, message),
    onMessage: (cb) => void stream.on('data', cb),
    onEnd: (cb) => void stream.once('end', () => cb(status.error()?.message ?? 'the engine ended the stream')),
    end: () => stream.cancel(),
    finish: (deadlineMs) => finished(stream, deadlineMs),
  }
}

function finished(stream: grpc.ClientDuplexStream<IServeRequest, IServeResponse>, deadlineMs: number) {
  return new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => {
      stream.cancel()
      resolve(false)
    }, deadlineMs)
    stream.once('status', ({ code }) => {
      clearTimeout(timer)
      resolve(code === STATUS_OK)
    })
    stream.end()
  })
}

type ServerStream = grpc.ServerDuplexStream<IServeRequest, IServeResponse>

/** A service for grpc.Server.addService, and what does its work. */
export function gatewayMethods(handler: GatewayHandler): {
  definition: grpc.ServiceDefinition
  implementation: grpc.UntypedServiceImplementation
} {
  return {
    definition: { serve: { ...SERVE } },
    implementation: { serve: (stream: ServerStream) => handler(serverCall(stream)) },
  }
}

function serverCall(stream: ServerStream): GatewayServerCall {
  const ends = new Set<(why: string) => void>()
  const finish = (why: string) => {
    for (const cb of ends) cb(why)
    ends.clear()
  }
  stream.once('end', () => {
    finish('the gateway ended its stream')
    stream.end()
  })
  stream.once('cancelled', () => finish('the gateway is gone'))
  stream.on('error', () => {})
  return {
    send: (message) => !stream.cancelled && write(stream, message),
    onMessage: (cb) => void stream.on('data', cb),
    onEnd: (cb) => void ends.add(cb),
    end: () => stream.end(),
  }
}

function write<T>(
  stream: { writableEnded: boolean; writableLength: number; write(message: T): boolean },
  message: T,
): boolean {
  if (stream.writableEnded || stream.writableLength > UNREAD_MAX) return false
  stream.write(message)
  return true
}
