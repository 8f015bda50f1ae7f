/**
 * The door to the wire format, and the one importer of protobufjs and of the generated code: the messages of sluice.v1 under plain
 * names (`IEvent` is what may be encoded, `Event` what decoding gives and the class that does both), 64-bit fields as bigint, bytes as
 * the Buffer that gRPC insists on. It does not check what a message says.
 */
import protobuf from 'protobufjs/minimal.js'
import { sluice } from './generated/codec.js'

export const {
  Event,
  Node,
  Sandbox,
  Process,
  Verdict,
  Exec,
  ExecFailed,
  Exit,
  Stdin,
  FileOpen,
  FileChange,
  CgroupChange,
  Checkpoint,
  Quarantine,
  Connect,
  ConnectionClosed,
  Listen,
  Gap,
  SandboxStarted,
  SandboxEnded,
  PolicyChanged,
  PolicyRef,
  Summary,
  Tally,
  ServeRequest,
  ServeResponse,
  GatewayHello,
  GatewayReady,
  ServeSandbox,
  LeaseRequest,
  LeaseAnswer,
  DnsFacts,
  DnsFact,
  DnsAnswer,
  Dns,
  Redirect,
  GatewayAlive,
  ConnectRequest,
  ConnectResponse,
  Hello,
  Running,
  Limits,
  HeldPolicy,
  PolicyHolder,
  Welcome,
  EventBatch,
  DroppedBatches,
  KindCount,
  KindLoss,
  KernelEvent,
  ExecFacts,
  ExecFailedFacts,
  ForkFacts,
  ExitFacts,
  StdinFacts,
  FileOpenFacts,
  FileChangeFacts,
  CgroupFacts,
  QuarantineFacts,
  ConnectFacts,
  ConnectionClosedFacts,
  ProcessFacts,
  Command,
  SandboxState,
  StartSandbox,
  EndSandbox,
  CommandResult,
  Ack,
  RunRequest,
  RunStart,
  RunEnd,
  RunResume,
  RunSeen,
  RunResponse,
  RunStarted,
  RunEvents,
  RunEnded,
  PlanRunRequest,
  PlanRunResponse,
  WatchRequest,
  WatchResponse,
  ListSandboxesRequest,
  ListSandboxesResponse,
  AddSandboxRequest,
  AddSandboxResponse,
  ListBaselinesRequest,
  ListBaselinesResponse,
  ForgetBaselineRequest,
  ForgetBaselineResponse,
  SetPolicyRequest,
  SetPolicyResponse,
  PolicySources,
  ShutFor,
  PolicyText,
  ToolHost,
  ChangeSandboxRequest,
  ChangeSandboxResponse,
  SandboxAction,
  Decision,
  Access,
  ChangeOp,
  CgroupOp,
  CallClass,
  SeenBy,
  Response,
  ResponseAction,
  ResponseState,
  Severity,
  QuarantineCause,
  Protocol,
  Via,
  Stage,
  CompiledPolicy,
  Rule,
  NetEntry,
  PortRule,
  PortRange,
  Binary,
  Prefix,
  HostPattern,
  HostRule,
  HostDeny,
  UnixRule,
  Lease,
  Mode,
  Wire,
  DnsMode,
  Listeners,
  HostForm,
} = sluice.v1

export type Event = sluice.v1.Event
export type IEvent = sluice.v1.Event.$Properties
export type Node = sluice.v1.Node
export type INode = sluice.v1.Node.$Properties
export type Sandbox = sluice.v1.Sandbox
export type ISandbox = sluice.v1.Sandbox.$Properties
export type Process = sluice.v1.Process
export type IProcess = sluice.v1.Process.$Properties
export type Verdict = sluice.v1.Verdict
export type IVerdict = sluice.v1.Verdict.$Properties
export type Exec = sluice.v1.Exec
export type IExec = sluice.v1.Exec.$Properties
export type ExecFailed = sluice.v1.ExecFailed
export type IExecFailed = sluice.v1.ExecFailed.$Properties
export type Exit = sluice.v1.Exit
export type IExit = sluice.v1.Exit.$Properties
export type FileOpen = sluice.v1.FileOpen
export type IFileOpen = sluice.v1.FileOpen.$Properties
export type FileChange = sluice.v1.FileChange
export type IFileChange = sluice.v1.FileChange.$Properties
export type IListBaselinesRequest = sluice.v1.ListBaselinesRequest.$Properties
export type IListBaselinesResponse = sluice.v1.ListBaselinesResponse.$Properties
export type IForgetBaselineRequest = sluice.v1.ForgetBaselineRequest.$Properties
export type IForgetBaselineResponse = sluice.v1.ForgetBaselineResponse.$Properties
export type IBaseline = sluice.v1.Baseline.$Properties
export type ISetPolicyRequest = sluice.v1.SetPolicyRequest.$Properties
export type ISetPolicyResponse = sluice.v1.SetPolicyResponse.$Properties
export type PolicySources = sluice.v1.PolicySources
export type IPolicySources = sluice.v1.PolicySources.$Properties
export type PolicyText = sluice.v1.PolicyText
export type IPolicyText = sluice.v1.PolicyText.$Properties
export type ToolHost = sluice.v1.ToolHost
export type IToolHost = sluice.v1.ToolHost.$Properties
export type PolicyChanged = sluice.v1.PolicyChanged
export type IPolicyChanged = sluice.v1.PolicyChanged.$Properties
export type PolicyRef = sluice.v1.PolicyRef
export type IPolicyRef = sluice.v1.PolicyRef.$Properties
export type HeldPolicy = sluice.v1.HeldPolicy
export type IHeldPolicy = sluice.v1.HeldPolicy.$Properties
export type PolicyHolder = sluice.v1.PolicyHolder
export type IPolicyHolder = sluice.v1.PolicyHolder.$Properties
export type CgroupChange = sluice.v1.CgroupChange
export type ICgroupChange = sluice.v1.CgroupChange.$Properties
export type Stdin = sluice.v1.Stdin
export type IStdin = sluice.v1.Stdin.$Properties
export type ICheckpoint = sluice.v1.Checkpoint.$Properties
export type Quarantine = sluice.v1.Quarantine
export type IQuarantine = sluice.v1.Quarantine.$Properties
export type Connect = sluice.v1.Connect
export type IConnect = sluice.v1.Connect.$Properties
export type ConnectionClosed = sluice.v1.ConnectionClosed
export type IConnectionClosed = sluice.v1.ConnectionClosed.$Properties
export type Listen = sluice.v1.Listen
export type IListen = sluice.v1.Listen.$Properties
export type Gap = sluice.v1.Gap
export type IGap = sluice.v1.Gap.$Properties
export type SandboxStarted = sluice.v1.SandboxStarted
export type ISandboxStarted = sluice.v1.SandboxStarted.$Properties
export type SandboxEnded = sluice.v1.SandboxEnded
export type ISandboxEnded = sluice.v1.SandboxEnded.$Properties
export type Summary = sluice.v1.Summary
export type ISummary = sluice.v1.Summary.$Properties
export type Tally = sluice.v1.Tally
export type IToolCall = sluice.v1.ToolCall.$Properties
export type IDetection = sluice.v1.Detection.$Properties
export type IRefusal = sluice.v1.Refusal.$Properties
export type ITally = sluice.v1.Tally.$Properties
export type ServeRequest = sluice.v1.ServeRequest
export type IServeRequest = sluice.v1.ServeRequest.$Properties
export type ServeResponse = sluice.v1.ServeResponse
export type IServeResponse = sluice.v1.ServeResponse.$Properties
export type GatewayHello = sluice.v1.GatewayHello
export type IGatewayHello = sluice.v1.GatewayHello.$Properties
export type GatewayReady = sluice.v1.GatewayReady
export type IGatewayReady = sluice.v1.GatewayReady.$Properties
export type ServeSandbox = sluice.v1.ServeSandbox
export type LeaseRequest = sluice.v1.LeaseRequest
export type LeaseAnswer = sluice.v1.LeaseAnswer
export type DnsFacts = sluice.v1.DnsFacts
export type IToldQueries = sluice.v1.ToldQueries.$Properties
export type IDnsFacts = sluice.v1.DnsFacts.$Properties
export type DnsFact = sluice.v1.DnsFact
export type IDnsFact = sluice.v1.DnsFact.$Properties
export type ILimitFact = sluice.v1.LimitFact.$Properties
export type ILimitFacts = sluice.v1.LimitFacts.$Properties
export type ILimits = sluice.v1.Limits.$Properties
export type IRateLimit = sluice.v1.RateLimit.$Properties
export type IFreezeSandbox = sluice.v1.FreezeSandbox.$Properties
export type ISetThrottle = sluice.v1.SetThrottle.$Properties
export type ILimitHit = sluice.v1.LimitHit.$Properties
export type DnsAnswer = sluice.v1.DnsAnswer
export type IDnsAnswer = sluice.v1.DnsAnswer.$Properties
export type Dns = sluice.v1.Dns
export type IDns = sluice.v1.Dns.$Properties
export type Redirect = sluice.v1.Redirect
export type GatewayAlive = sluice.v1.GatewayAlive
export type ConnectRequest = sluice.v1.ConnectRequest
export type IConnectRequest = sluice.v1.ConnectRequest.$Properties
export type ConnectResponse = sluice.v1.ConnectResponse
export type IConnectResponse = sluice.v1.ConnectResponse.$Properties
export type Hello = sluice.v1.Hello
export type IHello = sluice.v1.Hello.$Properties
export type Welcome = sluice.v1.Welcome
export type EventBatch = sluice.v1.EventBatch
export type IEventBatch = sluice.v1.EventBatch.$Properties
export type DroppedBatches = sluice.v1.DroppedBatches
export type IDroppedBatches = sluice.v1.DroppedBatches.$Properties
export type KindCount = sluice.v1.KindCount
export type KindLoss = sluice.v1.KindLoss
export type IKindLoss = sluice.v1.KindLoss.$Properties
export type KernelEvent = sluice.v1.KernelEvent
export type IKernelEvent = sluice.v1.KernelEvent.$Properties
export type ExecFacts = sluice.v1.ExecFacts
export type IExecFacts = sluice.v1.ExecFacts.$Properties
export type ExecFailedFacts = sluice.v1.ExecFailedFacts
export type IExecFailedFacts = sluice.v1.ExecFailedFacts.$Properties
export type ForkFacts = sluice.v1.ForkFacts
export type ExitFacts = sluice.v1.ExitFacts
export type IExitFacts = sluice.v1.ExitFacts.$Properties
export type FileOpenFacts = sluice.v1.FileOpenFacts
export type IFileOpenFacts = sluice.v1.FileOpenFacts.$Properties
export type FileChangeFacts = sluice.v1.FileChangeFacts
export type IFileChangeFacts = sluice.v1.FileChangeFacts.$Properties
export type CgroupFacts = sluice.v1.CgroupFacts
export type ICgroupFacts = sluice.v1.CgroupFacts.$Properties
export type StdinFacts = sluice.v1.StdinFacts
export type IStdinFacts = sluice.v1.StdinFacts.$Properties
export type QuarantineFacts = sluice.v1.QuarantineFacts
export type IDnsPacketFacts = sluice.v1.DnsPacketFacts.$Properties
export type ConnectFacts = sluice.v1.ConnectFacts
export type IConnectFacts = sluice.v1.ConnectFacts.$Properties
export type IJudgedFacts = sluice.v1.JudgedFacts.$Properties
export type ConnectionClosedFacts = sluice.v1.ConnectionClosedFacts
export type IConnectionClosedFacts = sluice.v1.ConnectionClosedFacts.$Properties
export type ProcessFacts = sluice.v1.ProcessFacts
export type IProcessFacts = sluice.v1.ProcessFacts.$Properties
export type Command = sluice.v1.Command
export type ICommand = sluice.v1.Command.$Properties
export type SandboxState = sluice.v1.SandboxState
export type ISandboxState = sluice.v1.SandboxState.$Properties
export type StartSandbox = sluice.v1.StartSandbox
export type EndSandbox = sluice.v1.EndSandbox
export type IEndSandbox = sluice.v1.EndSandbox.$Properties
export type CommandResult = sluice.v1.CommandResult
export type ICommandResult = sluice.v1.CommandResult.$Properties
export type Ack = sluice.v1.Ack
export type IAck = sluice.v1.Ack.$Properties
export type RunRequest = sluice.v1.RunRequest
export type IRunRequest = sluice.v1.RunRequest.$Properties
export type RunStart = sluice.v1.RunStart
export type IRunStart = sluice.v1.RunStart.$Properties
export type RunEnd = sluice.v1.RunEnd
export type IRunEnd = sluice.v1.RunEnd.$Properties
export type RunResume = sluice.v1.RunResume
export type IRunResume = sluice.v1.RunResume.$Properties
export type RunSeen = sluice.v1.RunSeen
export type IRunSeen = sluice.v1.RunSeen.$Properties
export type RunResponse = sluice.v1.RunResponse
export type IRunResponse = sluice.v1.RunResponse.$Properties
export type IPlanRunRequest = sluice.v1.PlanRunRequest.$Properties
export type IPlanRunResponse = sluice.v1.PlanRunResponse.$Properties
export type IRunStarted = sluice.v1.RunStarted.$Properties
export type RunEvents = sluice.v1.RunEvents
export type IRunEvents = sluice.v1.RunEvents.$Properties
export type RunEnded = sluice.v1.RunEnded
export type IRunEnded = sluice.v1.RunEnded.$Properties
export type WatchRequest = sluice.v1.WatchRequest
export type IWatchRequest = sluice.v1.WatchRequest.$Properties
export type WatchResponse = sluice.v1.WatchResponse
export type IWatchResponse = sluice.v1.WatchResponse.$Properties
export type IWatchStarted = sluice.v1.WatchStarted.$Properties
export type IWatchDropped = sluice.v1.WatchDropped.$Properties
export type ListSandboxesRequest = sluice.v1.ListSandboxesRequest
export type IListSandboxesRequest = sluice.v1.ListSandboxesRequest.$Properties
export type ListSandboxesResponse = sluice.v1.ListSandboxesResponse
export type IListSandboxesResponse = sluice.v1.ListSandboxesResponse.$Properties
export type SandboxStatus = sluice.v1.SandboxStatus
export type ISandboxStatus = sluice.v1.SandboxStatus.$Properties
export type AddSandboxRequest = sluice.v1.AddSandboxRequest
export type IAddSandboxRequest = sluice.v1.AddSandboxRequest.$Properties
export type AddSandboxResponse = sluice.v1.AddSandboxResponse
export type IAddSandboxResponse = sluice.v1.AddSandboxResponse.$Properties
export type ChangeSandboxRequest = sluice.v1.ChangeSandboxRequest
export type IChangeSandboxRequest = sluice.v1.ChangeSandboxRequest.$Properties
export type ChangeSandboxResponse = sluice.v1.ChangeSandboxResponse
export type IChangeSandboxResponse = sluice.v1.ChangeSandboxResponse.$Properties
export type SandboxAction = sluice.v1.SandboxAction
export type Decision = sluice.v1.Decision
export type Access = sluice.v1.Access
export type ChangeOp = sluice.v1.ChangeOp
export type CallClass = sluice.v1.CallClass
export type SeenBy = sluice.v1.SeenBy
export type Severity = sluice.v1.Severity
export type IResponse = sluice.v1.Response.$Properties
export type ResponseAction = sluice.v1.ResponseAction
export type ResponseState = sluice.v1.ResponseState
export type IDetectionCount = sluice.v1.DetectionCount.$Properties
export type ShutFor = sluice.v1.ShutFor
export type IShutFor = sluice.v1.ShutFor.$Properties
export type IDetectorSetting = sluice.v1.DetectorSetting.$Properties
export type ILadder = sluice.v1.Ladder.$Properties
export type CgroupOp = sluice.v1.CgroupOp
export type QuarantineCause = sluice.v1.QuarantineCause
export type Protocol = sluice.v1.Protocol
export type Via = sluice.v1.Via
export type Stage = sluice.v1.Stage
export type CompiledPolicy = sluice.v1.CompiledPolicy
export type ICompiledPolicy = sluice.v1.CompiledPolicy.$Properties
export type Rule = sluice.v1.Rule
export type IRule = sluice.v1.Rule.$Properties
export type NetEntry = sluice.v1.NetEntry
export type INetEntry = sluice.v1.NetEntry.$Properties
export type PortRule = sluice.v1.PortRule
export type IPortRule = sluice.v1.PortRule.$Properties
export type PortRange = sluice.v1.PortRange
export type IPortRange = sluice.v1.PortRange.$Properties
export type Binary = sluice.v1.Binary
export type IBinary = sluice.v1.Binary.$Properties
export type Prefix = sluice.v1.Prefix
export type IPrefix = sluice.v1.Prefix.$Properties
export type HostPattern = sluice.v1.HostPattern
export type IHostPattern = sluice.v1.HostPattern.$Properties
export type HostRule = sluice.v1.HostRule
export type IHostRule = sluice.v1.HostRule.$Properties
export type HostDeny = sluice.v1.HostDeny
export type IHostDeny = sluice.v1.HostDeny.$Properties
export type UnixRule = sluice.v1.UnixRule
export type IUnixRule = sluice.v1.UnixRule.$Properties
export type Lease = sluice.v1.Lease
export type ILease = sluice.v1.Lease.$Properties
export type Mode = sluice.v1.Mode
export type Wire = sluice.v1.Wire
export type DnsMode = sluice.v1.DnsMode
export type Listeners = sluice.v1.Listeners
export type HostForm = sluice.v1.HostForm

const BATCH_FIELD = 2 // ConnectRequest.batch
const WIRE_TYPE_BYTES = 2

/** How a 64-bit field looks in memory: two 32-bit halves. */
export type Long = NonNullable<IEvent['seq']>

const TWO_TO_32 = 2 ** 32
/** Of a 64-bit value that is below 2^53. */
const EXACT_HIGH = 2 ** 21

/** The value of an unsigned 64-bit field, exact; 0n where it is absent. */
export function toBigInt(value: Long | null | undefined): bigint {
  if (value === null || value === undefined) return 0n
  const high = value.high >>> 0
  const low = value.low >>> 0
  // What a number holds exactly, which is nearly all, is one bigint instead of three.
  if (high < EXACT_HIGH) return BigInt(high * TWO_TO_32 + low)
  return (BigInt(high) << 32n) | BigInt(low)
}

/** An unsigned 64-bit field from a bigint; only the low 64 bits are kept. */
export function fromBigInt(value: bigint): Long {
  const bits = new protobuf.util.LongBits(Number(BigInt.asUintN(32, value)), Number(BigInt.asUintN(32, value >> 32n)))
  // protobufjs types its own Long by the three fields it needs; at run time both are the class of the package `long`.
  return bits.toLong(true) as Long
}

/** The sum of two unsigned 64-bit fields; only the low 64 bits are kept. */
export function addLongs(a: Long, b: Long): Long {
  const low = (a.low >>> 0) + (b.low >>> 0)
  const carry = low > 0xffff_ffff ? 1 : 0
  return new protobuf.util.LongBits(low, a.high + b.high + carry).toLong(true) as Long
}

/** Wire bytes of one message. gRPC insists on a Buffer. */
export function encodeBuffer<M>(type: { encode(message: M): protobuf.Writer }, message: M): Buffer {
  return asBuffer(type.encode(message).finish())
}

/** Room that `batchRequestInPlace` needs in front of the events; a header without losses has 41 bytes at most. */
export const BATCH_HEAD_BYTES = 64

/**
 * Wire bytes of a ConnectRequest that carries one EventBatch: the fields of `header`, then `events` as the addon encoded them (whole
 * `events` fields); two encodings laid end to end are one message. Copies, so the caller may use its buffer again at once.
 */
export function encodeBatchRequest(header: IEventBatch, events: Uint8Array): Buffer {
  return Buffer.concat([batchHead(header, events.length), events])
}

/**
 * As `encodeBatchRequest`, but without a copy: the events lie in `buffer` from BATCH_HEAD_BYTES on, the header is written in front of
 * them, and what is returned is a view. The header must carry no losses.
 */
export function batchRequestInPlace(header: IEventBatch, buffer: Buffer, eventBytes: number): Buffer {
  const head = batchHead(header, eventBytes)
  if (head.length > BATCH_HEAD_BYTES) throw new RangeError(`a batch's header has ${head.length} bytes`)
  const start = BATCH_HEAD_BYTES - head.length
  buffer.set(head, start)
  return buffer.subarray(start, BATCH_HEAD_BYTES + eventBytes)
}

function batchHead(header: IEventBatch, eventBytes: number): Uint8Array {
  const fields = EventBatch.encode(header).finish()
  const prefix = protobuf.Writer.create()
    .uint32((BATCH_FIELD << 3) | WIRE_TYPE_BYTES)
    .uint32(fields.length + eventBytes)
    .finish()
  return Buffer.concat([prefix, fields])
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
