/** What a sensor is told at its start. Parsed once, at the edge; nothing reads the environment later. */
import { z } from 'zod'
import { UNACKED_BYTES_MAX } from './outbox.js'
import { AHEAD_BYTES_MAX } from './uplink.js'

const PAGE_BYTES = 4096
/** Each costs a look at every cgroup that is made. */
const WATCH_PATTERNS_MAX = 64
const NODE_NAME_CHARS_MAX = 253
const SPOOL_BYTES_MIN = 1024 * 1024

/** A BPF ring buffer's size must be a power of two and whole pages. */
const ringBytes = z
  .int()
  .min(PAGE_BYTES)
  .max(1024 * 1024 * 1024)
  .refine((bytes) => (bytes & (bytes - 1)) === 0, 'must be a power of two')

/** All of it may have to be read before anything of the other ring can be acknowledged; a batch of each may be on its way besides. */
const bulkRingBytes = ringBytes.max(UNACKED_BYTES_MAX - 2 * AHEAD_BYTES_MAX)

/** A sensor whose programs, rings and sandboxes outlive it, and are taken up by the next one. */
const agentSchema = z.strictObject({
  /** In a BPF file system, as /sys/fs/bpf/sluice; mounted there if there is none. */
  pinDir: z.string().regex(/^(?:\/[^/.]+)+$/, 'must be an absolute path without dots'),
  /** Patterns of cgroup paths that are taken under watch (watch-patterns.ts). */
  watch: z.array(z.string()).max(WATCH_PATTERNS_MAX),
  /** `release`: a sensor that is told to stop gives everything back. `keep`: it leaves all to the next one, as one that dies does. */
  onStop: z.enum(['release', 'keep']),
})

const absolutePath = z.string().startsWith('/')

/** An engine that may be on another machine. */
const uplinkTls = z.strictObject({
  /** host:port */
  address: z.string().min(1),
  ca: absolutePath,
  cert: absolutePath,
  key: absolutePath,
  /** In the engine's certificate; the host by default. */
  serverName: z.string().min(1).optional(),
})

const schema = z.strictObject({
  /** Unix socket of the engine, on this machine. */
  uplinkSocket: z.string().min(1).optional(),
  /** Instead of it. */
  uplinkTls: uplinkTls.optional(),
  /** How long an engine of this machine may take until it takes connections. */
  connectMs: z.int().min(1).default(10_000),
  /** Of this machine, as events name it; the host's name by default. */
  nodeName: z.string().min(1).max(NODE_NAME_CHARS_MAX).optional(),
  /** Folder of all runs on this machine; stale ones in it are swept at the start. */
  runtimeDir: z.string().min(1),
  /** Folder of this run, or of the agent: lock and list of sandboxes. */
  runDir: z.string().min(1),
  /** Null: everything ends with this sensor, as for a run. */
  agent: agentSchema.nullable().default(null),
  /** Where batches wait while there is no engine, and how much of the disk they may take. */
  spool: z.strictObject({ dir: z.string().startsWith('/'), bytesMax: z.int().min(SPOOL_BYTES_MIN) }),
  /** Where the gateway takes sockets, and what shows it that they are ours; null: names are refused in other network namespaces. */
  mailbox: z
    .strictObject({ path: absolutePath, token: z.string().min(32) })
    .nullable()
    .default(null),
  logLevel: z.enum(['silent', 'error', 'warn', 'info', 'debug']),
  /** How long records may gather in a ring before they are read, in ms. */
  flushMs: z.strictObject({ priority: z.number().min(0).max(1000), bulk: z.number().min(0).max(1000) }),
  ringBytes: z.strictObject({ priority: ringBytes, bulk: bulkRingBytes }),
})

export const sensorConfigSchema = schema.refine(
  ({ uplinkSocket, uplinkTls }) => (uplinkSocket === undefined) !== (uplinkTls === undefined),
  'one of uplinkSocket and uplinkTls must be given',
)

export type SensorConfig = z.infer<typeof sensorConfigSchema>
