/** The core object in this process, loaded and its tracepoints attached: what the kernel side does without a sensor around it. */
import { type BpfObject, loadAddon, type RingReader } from '../../src/native/addon.js'
import { ABI } from '../../src/native/generated/abi.js'
import { EventBatch, type IKernelEvent } from '../../src/proto/codec.js'
import { ATTACH_PLAN } from '../../src/sensor/attach-plan.js'
import { STATE_KEY } from '../../src/sensor/map-values.js'

const EVENTS_PER_DRAIN = 256

type MapStruct = keyof typeof ABI.structs

export class CoreObject {
  readonly addon = loadAddon()
  readonly object: BpfObject
  private readonly rings: readonly RingReader[]

  /** @param programs to attach to their tracepoints; all of the plan by default */
  constructor(
    programs: readonly string[] = ATTACH_PLAN.filter(({ at }) => at === 'trace').map(({ program }) => program),
  ) {
    this.object = this.addon.openObject('core')
    this.object.load()
    this.rings = ['sl_ring_priority', 'sl_ring_bulk'].map((ring) => this.addon.openRing(this.object, ring))
    for (const program of programs) this.object.attach(program)
  }

  /** What came since the last call, ring by ring. */
  events(): IKernelEvent[] {
    const buffer = Buffer.alloc(EVENTS_PER_DRAIN * 1024 + this.addon.maxEncodedEvent)
    const events: IKernelEvent[] = []
    for (const ring of this.rings) {
      for (let more = true; more; ) {
        const drained = ring.drain(buffer, EVENTS_PER_DRAIN)
        more = drained.more
        events.push(...EventBatch.decode(Buffer.from(buffer.subarray(0, drained.bytes))).events)
      }
    }
    return events
  }

  /** Fields of a map's value as numbers; null without an entry. */
  entry(map: string, struct: MapStruct, key: bigint): Record<string, bigint> | null {
    const value = this.object.lookup(map, map === 'sl_state' ? STATE_KEY : keyOf(key))
    return value === null ? null : fieldsOf(struct, value)
  }

  write(map: string, struct: MapStruct, key: bigint, values: Readonly<Record<string, bigint>>): void {
    const value = Buffer.alloc(ABI.structs[struct].size)
    for (const [field, number] of Object.entries(values)) writeField(struct, value, field, number)
    this.object.update(map, map === 'sl_state' ? STATE_KEY : keyOf(key), value)
  }

  /** Sandbox of a process by its sticky id; 0n for none. */
  sandboxOf(pid: number): bigint {
    const value = this.object.lookupTask('sl_tasks', pid)
    return value === null ? 0n : (fieldsOf('sl_task', value).sandbox ?? 0n)
  }

  close(): void {
    for (const ring of this.rings) ring.close()
    this.object.close()
  }
}

function keyOf(id: bigint): Buffer {
  const key = Buffer.alloc(8)
  key.writeBigUInt64LE(id)
  return key
}

/** No shared struct has a hole, so a field ends where the next begins. */
function bytesOf(struct: MapStruct, field: string): { at: number; bytes: number } {
  const { size, fields } = ABI.structs[struct] as { size: number; fields: Record<string, number> }
  const at = fields[field]
  if (at === undefined) throw new Error(`${struct} has no field ${field}`)
  return { at, bytes: Math.min(size, ...Object.values(fields).filter((other) => other > at)) - at }
}

function fieldsOf(struct: MapStruct, value: Buffer): Record<string, bigint> {
  return Object.fromEntries(
    Object.keys(ABI.structs[struct].fields).map((field) => {
      const { at, bytes } = bytesOf(struct, field)
      return [field, bytes === 8 ? value.readBigUInt64LE(at) : BigInt(value.readUIntLE(at, bytes))]
    }),
  )
}

function writeField(struct: MapStruct, value: Buffer, field: string, number: bigint): void {
  const { at, bytes } = bytesOf(struct, field)
  if (bytes === 8) value.writeBigUInt64LE(number, at)
  else value.writeUIntLE(Number(number), at, bytes)
}
