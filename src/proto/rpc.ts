/**
 * The one importer of @grpc/grpc-js: the services of sluice.v1 over unix sockets, the uplink over TLS too, as plain calls with
 * callbacks.
 *
 * It guards that a refused peer's bytes are never parsed, that what isn't read isn't sent for (back-pressure reaches the sender), that
 * messages have a limit, and that every wait has an end. It does not guard what messages say.
 */
import { accessSync, constants } from 'node:fs'
import type { ServerHttp2Session } from 'node:http2'
import { isIP } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkServerIdentity } from 'node:tls'
import * as grpc from '@grpc/grpc-js'
import { errnoCode, messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { ConnectResponse, encodeBuffer, type IConnectResponse } from './codec.js'
import {
  type ControlClient,
  type ControlHandler,
  controlCalls,
  controlMethods,
  http2SessionOf,
  property,
  rememberCaller,
} from './control-rpc.js'
import { type GatewayClientCall, type GatewayHandler, gatewayCall, gatewayMethods } from './gateway-rpc.js'
import { POLICY_BYTES_MAX } from './policy-size.js'
import { failureStatus, watchStatus } from './rpc-status.js'
import { parseTcpAddress, type TcpAddress } from './tcp-address.js'
import { tlsFailure, tlsSilence } from './tls-failure.js'
import type { TlsIdentity } from './tls-files.js'
import { listenTls, type RefusedRemote, type TlsPeer } from './tls-listener.js'
import { checkSocketPath, listenUnix, type PeerCheck, type PeerVetting } from './unix-listener.js'

export type {
  ControlClient,
  ControlHandler,
  RunCall,
  RunServerCall,
  WatchCall,
  WatchServerCall,
} from './control-rpc.js'
export type { GatewayClientCall, GatewayHandler, GatewayServerCall } from './gateway-rpc.js'
export type { TlsIdentity } from './tls-files.js'
export { isNameOf, loadTlsIdentity, namesOf } from './tls-files.js'
export type { RefusedRemote, TlsPeer } from './tls-listener.js'
export type { Caller, PeerCheck, PeerVetting } from './unix-listener.js'

/** Of one message that no policy is in. A batch has 256 KiB, one event at most some 50 KiB. */
export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024
/** Of one with a policy, and who it is for. */
export const POLICY_MESSAGE_BYTES_MAX = POLICY_BYTES_MAX + 64 * 1024
/** Open calls of one connection. */
export const CALLS_PER_CONNECTION_MAX = 64

/** What a sensor may have underway before the engine has read it, and the largest piece of it. */
const UPLINK_WINDOW_BYTES = 1024 * 1024
const UPLINK_FRAME_BYTES = 256 * 1024
/** What an engine may have underway to a client that has not read it. */
const CLIENT_WINDOW_BYTES = 1024 * 1024

const SOCKET_POLL_MS = 20
/** From a socket's bind to the change of its group. */
const GROUP_DEADLINE_MS = 500
const RECONNECT_MIN_MS = 50
const RECONNECT_MAX_MS = 250
/** From our half-close until the call is cut off. */
const END_DEADLINE_MS = 2_000

const LIMITS: grpc.ChannelOptions = {
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': POLICY_MESSAGE_BYTES_MAX,
  'grpc.enable_channelz': 0,
}
/** For those that policies are sent to: sensor and gateway by the engine, the engine by its clients. */
const TAKES_POLICIES: grpc.ChannelOptions = { 'grpc.max_receive_message_length': POLICY_MESSAGE_BYTES_MAX }

/** Keepalive stays off: a unix socket says at once when its other end is gone. */
const CLIENT_OPTIONS: grpc.ClientOptions = {
  ...LIMITS,
  ...TAKES_POLICIES,
  // Events of a run come in messages of some hundred KiB: with HTTP/2's 64 KiB each would take several turns.
  'grpc-node.flow_control_window': CLIENT_WINDOW_BYTES,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': RECONNECT_MIN_MS,
  'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS,
  'grpc.default_authority': 'localhost',
}

/** A network does not say that the other end is gone: both ask, and are sure after both times together. */
const KEEPALIVE: grpc.ChannelOptions = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
}
/** Said in the handshake, where the engine is named by an address: that can't be said there. */
const UNNAMED_SERVER = 'sluice-engine'

/** Requests are bytes on both sides: the sensor's addon encoded them, the engine decodes what it wants to. */
const CONNECT = {
  path: '/sluice.v1.UplinkService/Connect',
  requestStream: true,
  responseStream: true,
  requestSerialize: (bytes: Buffer) => bytes,
  requestDeserialize: (bytes: Buffer) => bytes,
  responseSerialize: (message: IConnectResponse) => encodeBuffer(ConnectResponse, message),
  responseDeserialize: (bytes: Buffer): IConnectResponse => ConnectResponse.decode(bytes),
} as const

/** The sensor's side of its stream to the engine. */
export interface UplinkCall {
  /**
   * Takes the wire bytes of one ConnectRequest and keeps them until it calls `sent`: don't write to `request` before that. False =
   * taken, but send no more before `onDrain`. After the end it does nothing and returns true; `sent` may then never be called.
   */
  send(request: Buffer, sent?: () => void): boolean
  onDrain(cb: () => void): void
  onMessage(cb: (message: IConnectResponse) => void): void
  /** Once, after the last message. Null: the engine ended the stream in order. */
  onEnd(cb: (error: Error | null) => void): void
  /** Nothing more will be sent. What was taken is still delivered, within END_DEADLINE_MS. */
  end(): void
}

/** The engine's side of a sensor's stream. */
export interface UplinkServerCall {
  /** `raw`: undecoded wire bytes of one ConnectRequest, never reused by anyone. Reading starts here. */
  onMessage(cb: (raw: Buffer) => void): void
  /** Stops reading; the sensor's `send` soon returns false. A few messages may be held meanwhile (16 and one flow-control window). */
  pause(): void
  resume(): void
  send(message: IConnectResponse): void
  /**
   * Once, when the sensor ended its side (null; ours is ended after the callback) or is gone. One that ends and dies in the same
   * moment may count as gone.
   */
  onEnd(cb: (error: Error | null) => void): void
  /** `why`: what the sensor's call fails with. */
  end(why?: string): void
  /** By its certificate; null for one on this machine, whose process the kernel told. */
  readonly peer: TlsPeer | null
}

/** On the accepted socket: gRPC has no place for it. */
const PEER = Symbol('peer')

export type UplinkHandler = (call: UplinkServerCall) => void

/** Waits for the engine's socket until the deadline. Throws IO, or PRIVILEGE when the socket's mode keeps us out. */
export async function connectUplink(socketPath: string, deadlineMs: number): Promise<UplinkCall> {
  const client = await connect(socketPath, deadlineMs)
  const { path, requestSerialize, responseDeserialize } = CONNECT
  return uplinkCall(client, client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize))
}

export interface RemoteEngine {
  /** host:port */
  readonly address: string
  /** That the engine's certificate must have; the host by default. */
  readonly serverName?: string | undefined
}

/** The same over TLS, with certificates on both sides. Throws IO, with what is wrong as far as it can be told from here. */
export async function connectUplinkTls(
  engine: RemoteEngine,
  identity: TlsIdentity,
  deadlineMs: number,
): Promise<UplinkCall> {
  const { host, port } = parseTcpAddress(engine.address)
  const name = engine.serverName ?? host
  const credentials = grpc.credentials.createFromSecureContext(identity.context, {
    checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
  })
  const server = isIP(name) === 0 ? name : UNNAMED_SERVER
  const target = `dns:///${isIP(host) === 6 ? `[${host}]` : host}:${port}`
  const client = new grpc.Client(target, credentials, {
    ...{ ...CLIENT_OPTIONS, ...KEEPALIVE, 'grpc.keepalive_permit_without_calls': 1 },
    'grpc.ssl_target_name_override': server,
    'grpc.default_authority': server,
  })
  const deadline = Date.now() + deadlineMs
  const { path, requestSerialize, responseDeserialize } = CONNECT
  try {
    const state = await settledState(client.getChannel(), deadline)
    if (state !== grpc.connectivityState.READY) {
      // Only a call is told why there is no connection.
      const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, { deadline })
      call.on('error', () => {})
      call.resume()
      const { code, details } = await new Promise<grpc.StatusObject>((resolve) => call.once('status', resolve))
      throw code === grpc.status.DEADLINE_EXCEEDED
        ? tlsSilence(engine.address, deadlineMs)
        : tlsFailure(engine.address, details, identity.files)
    }
  } catch (error) {
    client.close()
    throw error
  }
  return uplinkCall(client, client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize))
}

/** Connected, failed, or neither at the deadline. */
function settledState(
  channel: ReturnType<grpc.Client['getChannel']>,
  deadline: number,
): Promise<grpc.connectivityState> {
  const { READY, TRANSIENT_FAILURE, SHUTDOWN } = grpc.connectivityState
  return new Promise((resolve) => {
    const look = () => {
      const state = channel.getConnectivityState(true)
      if (state === READY || state === TRANSIENT_FAILURE || state === SHUTDOWN) resolve(state)
      else channel.watchConnectivityState(state, deadline, (error) => (error ? resolve(state) : look()))
    }
    look()
  })
}

/** As `connectUplink`. `close` cancels the calls that are still open. */
export async function connectControl(socketPath: string, deadlineMs: number): Promise<ControlClient> {
  return controlCalls(await connect(socketPath, deadlineMs))
}

/** As `connectUplink`. */
export async function connectGateway(socketPath: string, deadlineMs: number): Promise<GatewayClientCall> {
  return gatewayCall(await connect(socketPath, deadlineMs))
}

/** Serves what is in `services` to the peers that `check` lets in. Throws IO when the path can't be listened on. */
export async function serveUnix(options: {
  path: string
  mode: number
  gid?: number
  check: PeerCheck
  vet?: PeerVetting
  log: Log
  services: { uplink?: UplinkHandler; control?: ControlHandler; gateway?: GatewayHandler }
}): Promise<{ close(deadlineMs: number): Promise<void> }> {
  const { uplink, control, gateway } = options.services
  const limits = control === undefined ? LIMITS : { ...LIMITS, ...TAKES_POLICIES }
  const server = new grpc.Server({ ...limits, 'grpc.max_concurrent_streams': CALLS_PER_CONNECTION_MAX })
  if (uplink !== undefined) {
    server.addService(
      { connect: { ...CONNECT } },
      {
        connect: (stream: UplinkServerStream) => {
          widenWindow(stream)
          uplink(uplinkServerCall(stream, null))
        },
      },
    )
  }
  for (const methods of [control && controlMethods(control), gateway && gatewayMethods(gateway)]) {
    if (methods !== undefined) server.addService(methods.definition, methods.implementation)
  }
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure())
  const listener = await listenUnix({
    ...options,
    accept(socket, caller) {
      rememberCaller(socket, caller)
      injector.injectConnection(socket)
      // The HTTP/2 session now owns the handle, but does not start reading on one that was accepted paused.
      socket.resume()
    },
  })
  return {
    async close(deadlineMs) {
      const shut = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
      await Promise.all([shut, listener.close(deadlineMs)])
      injector.destroy()
    },
  }
}

/** Serves sensors on other machines. Throws IO when the address can't be listened on. */
export async function serveUplinkTls(options: {
  address: string
  identity: TlsIdentity
  nodes: readonly string[] | null
  onRefused(remote: RefusedRemote): void
  uplink: UplinkHandler
}): Promise<{ address: TcpAddress; close(deadlineMs: number): Promise<void> }> {
  const { uplink } = options
  const server = new grpc.Server({ ...LIMITS, ...KEEPALIVE, 'grpc.max_concurrent_streams': CALLS_PER_CONNECTION_MAX })
  server.addService(
    { connect: { ...CONNECT } },
    {
      connect: (stream: UplinkServerStream) => {
        const peer = property(property(http2SessionOf(stream), 'socket'), PEER) as TlsPeer | undefined
        // Where a later grpc-js keeps its session elsewhere: who can't be told is not served.
        if (peer === undefined) {
          stream.emit('error', failureStatus(new SluiceError('INTERNAL', 'the engine does not know who is calling')))
          return
        }
        widenWindow(stream)
        uplink(uplinkServerCall(stream, peer))
      },
    },
  )
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure())
  const listener = await listenTls({
    ...options,
    address: parseTcpAddress(options.address),
    accept(socket, peer) {
      Reflect.set(socket, PEER, peer)
      injector.injectConnection(socket)
    },
  })
  return {
    address: listener.address,
    async close(deadlineMs) {
      const shut = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
      await Promise.all([shut, listener.close(deadlineMs)])
      injector.destroy()
    },
  }
}

type UplinkClientStream = grpc.ClientDuplexStream<Buffer, IConnectResponse>
type UplinkServerStream = grpc.ServerDuplexStream<Buffer, IConnectResponse>

function uplinkCall(client: grpc.Client, stream: UplinkClientStream): UplinkCall {
  const status = watchStatus(stream)
  stream.once('status', () => client.close())
  return {
    send(request, sent) {
      if (status.over() || stream.writableEnded) return true
      return stream.write(request, sent)
    },
    onDrain: (cb) => void stream.on('drain', cb),
    onMessage: (cb) => void stream.on('data', cb),
    onEnd: (cb) => void stream.once('end', () => cb(status.error())),
    end() {
      stream.end()
      const cut = setTimeout(() => stream.cancel(), END_DEADLINE_MS)
      stream.once('status', () => clearTimeout(cut))
    },
  }
}

function uplinkServerCall(stream: UplinkServerStream, peer: TlsPeer | null): UplinkServerCall {
  const ends = new Set<(error: Error | null) => void>()
  const finish = (error: Error | null) => {
    for (const cb of ends) cb(error)
    ends.clear()
  }
  // A broken connection reads as an end first and as a cancelled call in the same turn of the event loop.
  stream.once('end', () =>
    setImmediate(() => {
      finish(null)
      stream.end()
    }),
  )
  stream.once('cancelled', () => finish(stream.writableEnded ? null : new SluiceError('IO', 'the sensor is gone')))
  return {
    onMessage: (cb) => void stream.on('data', cb),
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    send(message) {
      if (!stream.cancelled && !stream.writableEnded) stream.write(message)
    },
    onEnd: (cb) => void ends.add(cb),
    end(why) {
      if (why === undefined) stream.end()
      else if (!stream.cancelled && !stream.writableEnded) {
        stream.emit('error', failureStatus(new SluiceError('PROTOCOL', why)))
      }
    },
    peer,
  }
}

/**
 * Lets the sensor send more before it must wait for us. grpc-js can set this for a client only, so it is asked of the HTTP/2 session
 * itself; where a later grpc-js keeps it elsewhere, the stream works as before, only slower.
 */
function widenWindow(stream: UplinkServerStream): void {
  const session = http2SessionOf(stream)
  if (!isHttp2Session(session)) return
  session.settings({ initialWindowSize: UPLINK_WINDOW_BYTES, maxFrameSize: UPLINK_FRAME_BYTES })
  session.setLocalWindowSize(UPLINK_WINDOW_BYTES)
}

function isHttp2Session(value: unknown): value is Pick<ServerHttp2Session, 'settings' | 'setLocalWindowSize'> {
  return (
    typeof property(value, 'settings') === 'function' && typeof property(value, 'setLocalWindowSize') === 'function'
  )
}

async function connect(socketPath: string, deadlineMs: number): Promise<grpc.Client> {
  checkSocketPath(socketPath)
  const deadline = Date.now() + deadlineMs
  await socketToAppear(socketPath, deadline)
  const client = new grpc.Client(`unix:${socketPath}`, grpc.credentials.createInsecure(), CLIENT_OPTIONS)
  try {
    await new Promise<void>((resolve, reject) => {
      client.waitForReady(deadline, (error) => (error ? reject(error) : resolve()))
    })
  } catch (error) {
    client.close()
    throw new SluiceError('IO', `the engine at ${socketPath} took no connection within ${deadlineMs} ms`, {
      hint: 'it refuses this process or is not running; its log says which',
      cause: error,
    })
  }
  return client
}

/** connect(2) on a unix socket needs write permission. A socket that has just been made may not have its group yet. */
async function socketToAppear(socketPath: string, deadline: number): Promise<void> {
  let refusedUntil = Number.POSITIVE_INFINITY
  for (;;) {
    try {
      accessSync(socketPath, constants.W_OK)
      return
    } catch (error) {
      const code = errnoCode(error)
      if (code === 'EACCES') refusedUntil = Math.min(refusedUntil, Date.now() + GROUP_DEADLINE_MS)
      if (code === 'EACCES' && Date.now() >= Math.min(refusedUntil, deadline)) {
        throw new SluiceError('PRIVILEGE', `no permission to connect to ${socketPath}`, {
          hint: 'run as root',
          cause: error,
        })
      }
      if (code !== 'ENOENT' && code !== 'EACCES')
        throw new SluiceError('IO', `${socketPath}: ${messageOf(error)}`, { cause: error })
      if (Date.now() >= deadline) {
        throw new SluiceError('IO', `no engine listens at ${socketPath}`, { hint: 'start it, or name another socket' })
      }
      await sleep(SOCKET_POLL_MS)
    }
  }
}
