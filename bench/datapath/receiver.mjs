/**
 * The engine's end of the data path benchmark, in a process of its own: the real listener and the real frame walk, and nothing
 * behind them. Acknowledges each pass; tells its CPU time and how many events it has when asked.
 */

import { walkFrame } from '../../build/js/engine/frame-walk.js'
import { ConnectResponse, fromBigInt } from '../../build/js/proto/codec.js'
import { serveUnix } from '../../build/js/proto/rpc.js'

const path = process.argv[2]
const log = { error: console.error, warn: console.error, info() {}, debug() {} }
let events = 0
let sum = 0

await serveUnix({
  path,
  mode: 0o600,
  check: () => ({ allowed: true }),
  log,
  services: {
    uplink: (call) => {
      call.onMessage((raw) => {
        const frame = walkFrame(raw)
        if (frame.kind !== 'batch') return
        for (const event of frame.batch.events) sum += event.kind
        events += frame.batch.events.length
        if (frame.batch.watermarkNs > 0n) call.send({ ack: { batchSeq: fromBigInt(BigInt(events)) } })
      })
      call.onEnd(() => process.exit(sum === 0 ? 1 : 0))
    },
  },
})
process.on('message', () => process.send({ cpu: process.cpuUsage(), events }))
process.on('disconnect', () => process.exit(0))
process.send({ ready: ConnectResponse !== undefined })
