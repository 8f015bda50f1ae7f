/**
 * What the engine spends on one file open beyond the walk: decode, enrich, session, and the message for the client, in this process and
 * without sockets. The frames are real ones, drained from the ring before the clock starts.
 */
import { BackPressure } from '../../build/js/engine/back-pressure.js'
import { EventStream } from '../../build/js/engine/event-stream.js'
import { walkFrame } from '../../build/js/engine/frame-walk.js'
import { Pipeline } from '../../build/js/engine/pipeline.js'
import { Redactor } from '../../build/js/engine/redact.js'
import { BATCH_HEAD_BYTES, batchRequestInPlace, fromBigInt } from '../../build/js/proto/codec.js'

const FRAMES = 60
/** cgroup id in the record that ring-tool makes. */
const SANDBOX = 4711n

function framesOf(ring, eventsPerBatch, bytes) {
  const frames = []
  while (frames.length < FRAMES) {
    const buffer = Buffer.alloc(BATCH_HEAD_BYTES + bytes)
    const drained = ring.drain(buffer.subarray(BATCH_HEAD_BYTES), eventsPerBatch)
    if (drained.events === 0) break
    const header = {
      batchSeq: fromBigInt(BigInt(frames.length + 1)),
      bootToUnixNs: fromBigInt(1_700_000_000_000_000_000n),
      watermarkNs: fromBigInt(drained.lastTimeNs + 2_000_000n),
      eventCount: drained.events,
    }
    frames.push({ events: drained.events, raw: batchRequestInPlace(header, buffer, drained.bytes) })
  }
  return frames
}

/** µs of CPU an event. */
export function measurePipeline({ ring, eventsPerBatch, bytes }) {
  const frames = framesOf(ring, eventsPerBatch, bytes)
  const pipeline = new Pipeline({
    redactor: new Redactor(Buffer.alloc(16)),
    nowUnixNs: () => BigInt(Date.now()) * 1_000_000n,
  })
  pipeline.connected({
    nodeName: 'bench',
    bootId: '00000000-0000-0000-0000-000000000000',
    instance: 'bench',
    stream: '',
  })
  let sent = 0
  const call = {
    onDrain() {},
    send(message) {
      sent += message.length
      return true
    },
  }
  const stream = new EventStream(call, new BackPressure())
  const cgroupId = SANDBOX
  const sandbox = { id: 'bench', name: 'bench', cgroupId: fromBigInt(cgroupId), cgroupPath: '/bench' }
  pipeline.open({ cgroupId, sandbox, started: { command: [] }, publish: (event) => stream.push(event) })
  let events = 0
  const cpu = process.cpuUsage()
  for (const frame of frames) {
    const walked = walkFrame(frame.raw)
    if (walked.kind !== 'batch') throw new Error(`a ${walked.kind}`)
    pipeline.push(walked.batch)
    events += frame.events
  }
  stream.flush()
  const used = process.cpuUsage(cpu)
  stream.close()
  if (pipeline.stray > 0 || pipeline.undecodable > 0) throw new Error('events went astray')
  return { microseconds: (used.user + used.system) / events, bytes: sent / events }
}
