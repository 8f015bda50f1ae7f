/**
 * The calls of ControlService, both sides, as plain functions and callbacks: runs, live events, and what is asked about sandboxes.
 * Guards that every call on the serving side comes with its caller, as the kernel told it: one whose caller is not known is failed.
 * Not here: connections (rpc.ts), and what a caller may do.
 */
import type * as grpc from '@grpc/grpc-js'
import { SluiceError } from '../base/error.js'
import {
  AddSandboxRequest,
  AddSandboxResponse,
  ChangeSandboxRequest,
  ChangeSandboxResponse,
  encodeBuffer,
  ForgetBaselineRequest,
  ForgetBaselineResponse,
  type IAddSandboxRequest,
  type IAddSandboxResponse,
  type IChangeSandboxRequest,
  type IChangeSandboxResponse,
  type IForgetBaselineRequest,
  type IForgetBaselineResponse,
  type IListBaselinesRequest,
  type IListBaselinesResponse,
  type IListSandboxesRequest,
  type IListSandboxesResponse,
  type IPlanRunRequest,
  type IPlanRunResponse,
  type IRunRequest,
  type IRunResponse,
  type ISetPolicyRequest,
  type ISetPolicyResponse,
  type IWatchRequest,
  type IWatchResponse,
  ListBaselinesRequest,
  ListBaselinesResponse,
  ListSandboxesRequest,
  ListSandboxesResponse,
  PlanRunRequest,
  PlanRunResponse,
  RunRequest,
  RunResponse,
  SetPolicyRequest,
  SetPolicyResponse,
  WatchRequest,
  WatchResponse,
} from './codec.js'
import { failureStatus, messagesOf, statusError } from './rpc-status.js'
import { type RunMessage, readRunResponse, readWatchResponse, type WatchMessage } from './run-response.js'
import type { Caller } from './unix-listener.js'

/** A unary call that is not answered by then is given up: longer than the engine waits for its sensor. */
const ANSWER_DEADLINE_MS = 30_000
/** For a client to read all that was sent to it; as long as one waits for its last events. */
const CLIENT_END_DEADLINE_MS = 120_000

/** As protobufjs makes them; `$Properties` is what may be encoded. */
interface Message<T> {
  encode(message: T): ReturnType<(typeof RunRequest)['encode']>
  decode(bytes: Uint8Array): T
}

function method<Q, A>(name: string, streams: readonly [boolean, boolean], request: Message<Q>, response: Message<A>) {
  return streaming(name, streams, request, response, (bytes: Buffer): A => response.decode(bytes))
}

/** `read`: what the client makes of an answer. What the server hands over as bytes goes out as it is. */
function streaming<Q, A, R>(
  name: string,
  streams: readonly [boolean, boolean],
  request: Message<Q>,
  response: Message<A>,
  read: (bytes: Buffer) => R,
) {
  return {
    path: `/sluice.v1.ControlService/${name}`,
    requestStream: streams[0],
    responseStream: streams[1],
    requestSerialize: (message: Q) => encodeBuffer(request, message),
    requestDeserialize: (bytes: Buffer): Q => request.decode(bytes),
    responseSerialize: (message: A | Buffer) => (Buffer.isBuffer(message) ? message : encodeBuffer(response, message)),
    responseDeserialize: read,
  } as const
}

const RUN = streaming<IRunRequest, IRunResponse, RunMessage>(
  'Run',
  [true, true],
  RunRequest,
  RunResponse,
  readRunResponse,
)
const WATCH = streaming<IWatchRequest, IWatchResponse, WatchMessage>(
  'Watch',
  [false, true],
  WatchRequest,
  WatchResponse,
  readWatchResponse,
)
const LIST = method<IListSandboxesRequest, IListSandboxesResponse>(
  'ListSandboxes',
  [false, false],
  ListSandboxesRequest,
  ListSandboxesResponse,
)
const ADD = method<IAddSandboxRequest, IAddSandboxResponse>(
  'AddSandbox',
  [false, false],
  AddSandboxRequest,
  AddSandboxResponse,
)
const CHANGE = method<IChangeSandboxRequest, IChangeSandboxResponse>(
  'ChangeSandbox',
  [false, false],
  ChangeSandboxRequest,
  ChangeSandboxResponse,
)

const PLAN = method<IPlanRunRequest, IPlanRunResponse>('PlanRun', [false, false], PlanRunRequest, PlanRunResponse)
const SET_POLICY = method<ISetPolicyRequest, ISetPolicyResponse>(
  'SetPolicy',
  [false, false],
  SetPolicyRequest,
  SetPolicyResponse,
)

const LIST_BASELINES = method<IListBaselinesRequest, IListBaselinesResponse>(
  'ListBaselines',
  [false, false],
  ListBaselinesRequest,
  ListBaselinesResponse,
)
const FORGET_BASELINE = method<IForgetBaselineRequest, IForgetBaselineResponse>(
  'ForgetBaseline',
  [false, false],
  ForgetBaselineRequest,
  ForgetBaselineResponse,
)

export interface RunCall {
  /** For the few small messages of a run; nothing reports back-pressure here. */
  send(message: IRunRequest): void
  /** To be read once. Reads no faster than it is consumed. Throws when the engine fails the run or is gone; just ends after `cancel`. */
  messages: AsyncIterable<RunMessage>
  /** Tells the engine that this client is gone. */
  cancel(): void
}

export interface WatchCall {
  /** As in RunCall. */
  messages: AsyncIterable<WatchMessage>
  cancel(): void
}

/** What a client may ask. The unary ones reject with the engine's own error. */
export interface ControlClient {
  run(): RunCall
  planRun(request: IPlanRunRequest): Promise<IPlanRunResponse>
  watch(request: IWatchRequest): WatchCall
  listSandboxes(request: IListSandboxesRequest): Promise<IListSandboxesResponse>
  addSandbox(request: IAddSandboxRequest): Promise<IAddSandboxResponse>
  changeSandbox(request: IChangeSandboxRequest): Promise<IChangeSandboxResponse>
  setPolicy(request: ISetPolicyRequest): Promise<ISetPolicyResponse>
  listBaselines(): Promise<IListBaselinesResponse>
  forgetBaseline(request: IForgetBaselineRequest): Promise<IForgetBaselineResponse>
  /** Cancels the runs and watches that are still open. */
  close(): void
}

/** What the two streaming calls have in common on the engine's side. */
interface ServerCall<A> {
  readonly caller: Caller
  /**
   * A Buffer holds the wire bytes of an answer, and is left alone from then on. False = taken, but send no more before `onDrain`. After the
   * end it does nothing and returns true.
   */
  send(message: A | Buffer): boolean
  onDrain(cb: () => void): void
  /** Once. `ended`: by our own `end` or `fail`. `cancelled`: the client is gone. A client that only closes its side is still there. */
  onEnd(cb: (why: 'ended' | 'cancelled') => void): void
  end(): void
  /** Ends the call with an error that the client's `messages` throws: one line for people, or an error with code and hint. */
  fail(why: string | SluiceError): void
}

/** The engine's side of a run. */
export interface RunServerCall extends ServerCall<IRunResponse> {
  onMessage(cb: (message: IRunRequest) => void): void
}

/** The engine's side of a watch. */
export interface WatchServerCall extends ServerCall<IWatchResponse> {
  readonly request: IWatchRequest
}

/** What a promise of it rejects with is the client's error. */
export interface ControlHandler {
  run(call: RunServerCall): void
  planRun(caller: Caller, request: IPlanRunRequest): Promise<IPlanRunResponse>
  watch(call: WatchServerCall): void
  listSandboxes(caller: Caller, request: IListSandboxesRequest): Promise<IListSandboxesResponse>
  addSandbox(caller: Caller, request: IAddSandboxRequest): Promise<IAddSandboxResponse>
  changeSandbox(caller: Caller, request: IChangeSandboxRequest): Promise<IChangeSandboxResponse>
  setPolicy(caller: Caller, request: ISetPolicyRequest): Promise<ISetPolicyResponse>
  listBaselines(caller: Caller): Promise<IListBaselinesResponse>
  forgetBaseline(caller: Caller, request: IForgetBaselineRequest): Promise<IForgetBaselineResponse>
}

/** Over one connection. `close` closes it. */
export function controlCalls(client: grpc.Client): ControlClient {
  const open = new Set<{ cancel(): void }>()
  const opened = <C extends { cancel(): void }>(stream: grpc.ClientReadableStream<unknown>, call: C): C => {
    open.add(call)
    stream.once('status', () => open.delete(call))
    return call
  }
  const ask = <Q, A>(of: ReturnType<typeof method<Q, A>>, request: Q) => answer(client, of, request)
  return {
    run() {
      const stream = client.makeBidiStreamRequest(RUN.path, RUN.requestSerialize, RUN.responseDeserialize)
      return opened(stream, runCall(stream))
    },
    watch(request) {
      const stream = client.makeServerStreamRequest(
        WATCH.path,
        WATCH.requestSerialize,
        WATCH.responseDeserialize,
        request,
      )
      const { messages, cancel } = messagesOf<WatchMessage>(stream)
      return opened(stream, { messages, cancel })
    },
    planRun: (request) => ask(PLAN, request),
    listSandboxes: (request) => ask(LIST, request),
    addSandbox: (request) => ask(ADD, request),
    changeSandbox: (request) => ask(CHANGE, request),
    setPolicy: (request) => ask(SET_POLICY, request),
    listBaselines: () => ask(LIST_BASELINES, {}),
    forgetBaseline: (request) => ask(FORGET_BASELINE, request),
    close() {
      for (const call of open) call.cancel()
      client.close()
    },
  }
}

function answer<Q, A>(client: grpc.Client, of: ReturnType<typeof method<Q, A>>, request: Q): Promise<A> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      of.path,
      of.requestSerialize,
      of.responseDeserialize,
      request,
      { deadline: Date.now() + ANSWER_DEADLINE_MS },
      (error, response) => {
        if (response !== undefined) resolve(response)
        else reject(error === null ? new SluiceError('PROTOCOL', 'the engine gave no answer') : statusError(error))
      },
    )
  })
}

type RunClientStream = grpc.ClientDuplexStream<IRunRequest, RunMessage>
type RunServerStream = grpc.ServerDuplexStream<IRunRequest, IRunResponse | Buffer>
type WatchServerStream = grpc.ServerWritableStream<IWatchRequest, IWatchResponse | Buffer>

function runCall(stream: RunClientStream): RunCall {
  const { messages, cancel, over } = messagesOf<RunMessage>(stream)
  return {
    send(message) {
      if (!over() && !stream.writableEnded) stream.write(message)
    },
    messages: closedAfterEnd(stream, messages),
    cancel,
  }
}

/** Closes our side as the answer to the engine's last message: it waits for that before it ends the call. */
async function* closedAfterEnd(
  stream: RunClientStream,
  messages: AsyncIterable<RunMessage>,
): AsyncGenerator<RunMessage> {
  for await (const message of messages) {
    yield message
    if (message.ended) stream.end()
  }
}

/** A service for grpc.Server.addService, and what does its work. */
export function controlMethods(handler: ControlHandler): {
  definition: grpc.ServiceDefinition
  implementation: grpc.UntypedServiceImplementation
} {
  return {
    definition: {
      ...{ run: { ...RUN }, plan: { ...PLAN }, watch: { ...WATCH } },
      ...{ list: { ...LIST }, add: { ...ADD }, change: { ...CHANGE } },
      ...{ setPolicy: { ...SET_POLICY }, listBaselines: { ...LIST_BASELINES }, forgetBaseline: { ...FORGET_BASELINE } },
    },
    implementation: {
      run: (stream: RunServerStream) => withCaller(stream, (caller) => handler.run(runServerCall(stream, caller))),
      watch: (stream: WatchServerStream) =>
        withCaller(stream, (caller) =>
          handler.watch({ ...serverCall<IWatchResponse>(stream, caller), request: stream.request }),
        ),
      plan: unary((caller, request: IPlanRunRequest) => handler.planRun(caller, request)),
      list: unary((caller, request: IListSandboxesRequest) => handler.listSandboxes(caller, request)),
      add: unary((caller, request: IAddSandboxRequest) => handler.addSandbox(caller, request)),
      change: unary((caller, request: IChangeSandboxRequest) => handler.changeSandbox(caller, request)),
      setPolicy: unary((caller, request: ISetPolicyRequest) => handler.setPolicy(caller, request)),
      listBaselines: unary((caller, _: IListBaselinesRequest) => handler.listBaselines(caller)),
      forgetBaseline: unary((caller, request: IForgetBaselineRequest) => handler.forgetBaseline(caller, request)),
    },
  }
}

const UNKNOWN_CALLER = new SluiceError('INTERNAL', 'the engine does not know who is calling')

function withCaller(stream: RunServerStream | WatchServerStream, serve: (caller: Caller) => void): void {
  const caller = callerOf(stream)
  if (caller === null) stream.emit('error', failureStatus(UNKNOWN_CALLER))
  else serve(caller)
}

function unary<Q, A>(serve: (caller: Caller, request: Q) => Promise<A>) {
  return (call: grpc.ServerUnaryCall<Q, A>, done: grpc.sendUnaryData<A>): void => {
    const caller = callerOf(call)
    const answered = caller === null ? Promise.reject(UNKNOWN_CALLER) : serve(caller, call.request)
    answered.then(
      (response) => done(null, response),
      (error: unknown) => done(failureStatus(error), null),
    )
  }
}

/** What the two server streams have in common. */
interface WrittenStream<A> {
  readonly cancelled: boolean
  readonly writableEnded: boolean
  write(message: A | Buffer): boolean
  on(event: 'drain', cb: () => void): unknown
  once(event: 'cancelled', cb: () => void): unknown
  end(): unknown
  emit(event: 'error', status: ReturnType<typeof failureStatus>): boolean
}

function serverCall<A>(stream: WrittenStream<A>, caller: Caller): ServerCall<A> {
  const isOver = () => stream.cancelled || stream.writableEnded
  return {
    caller,
    send: (message) => isOver() || stream.write(message),
    onDrain: (cb) => void stream.on('drain', cb),
    onEnd: (cb) => void stream.once('cancelled', () => cb(stream.writableEnded ? 'ended' : 'cancelled')),
    end: () => void stream.end(),
    fail(why) {
      if (!isOver()) stream.emit('error', failureStatus(why))
    },
  }
}

function runServerCall(stream: RunServerStream, caller: Caller): RunServerCall {
  const call = serverCall<IRunResponse>(stream, caller)
  let saidAll = false
  return {
    ...call,
    send(message) {
      saidAll ||= !Buffer.isBuffer(message) && Boolean(message.ended)
      return call.send(message)
    },
    onMessage: (cb) => void stream.on('data', cb),
    end() {
      if (saidAll) endAfterClient(stream)
      else call.end()
    },
  }
}

/**
 * Ends a call once the client has closed its side. A client that still writes when ours is closed would be told of a broken call, with
 * messages unread.
 */
function endAfterClient(stream: RunServerStream): void {
  if (stream.readableEnded) {
    stream.end()
    return
  }
  const late = setTimeout(() => stream.end(), CLIENT_END_DEADLINE_MS).unref()
  stream.once('end', () => {
    clearTimeout(late)
    stream.end()
  })
  stream.once('cancelled', () => clearTimeout(late))
}

/** On the accepted socket: gRPC has no place for it. */
const CALLER = Symbol('caller')

/** To be called before the socket is handed to gRPC. */
export function rememberCaller(socket: object, caller: Caller): void {
  Reflect.set(socket, CALLER, caller)
}

/** Null where a later grpc-js keeps its session elsewhere, or the connection is closed: such a call must not be served. */
function callerOf(call: unknown): Caller | null {
  const socket = property(http2SessionOf(call), 'socket')
  return (property(socket, CALLER) as Caller | undefined) ?? null
}

/** Of a server's call; unknown where a later grpc-js keeps it elsewhere. */
export function http2SessionOf(call: unknown): unknown {
  return property(property(property(call, 'call'), 'stream'), 'session')
}

export function property(of: unknown, name: string | symbol): unknown {
  return typeof of === 'object' && of !== null ? Reflect.get(of, name) : undefined
}
