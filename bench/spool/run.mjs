/**
 * How many events a second the spool takes, flushed as often as an engine flushes, and how many a sink reads back, both on one core each. Argument:
 * how many events.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { spoolEvents } from '../support/spool-events.mjs'

const EVENTS = 500_000
/** A sensor that sends 20,000 events a second is acknowledged every 20 ms. */
const FLUSH_EVENTS = 400
const MIB = 1024 * 1024
const log = { info() {}, warn() {}, error: console.error, debug() {} }

export async function run([count = EVENTS] = []) {
  const { Spool } = await import('../../build/js/engine/spool/spool.js')
  const { SpoolReader } = await import('../../build/js/sinks/spool-reader.js')
  const folder = mkdtempSync(join(process.cwd(), 'build', 'bench-spool-'))
  try {
    const { event } = await spoolEvents()
    const events = Array.from({ length: FLUSH_EVENTS * 25 }, (_, seq) => event(seq))
    const spool = new Spool({ folder, bytesMax: 4_096 * MIB, ageMaxMs: 3_600_000, log })
    const started = performance.now()
    for (let at = 0; at < Number(count); at++) {
      spool.append(events[at % events.length])
      if (at % FLUSH_EVENTS === FLUSH_EVENTS - 1) spool.flush()
    }
    spool.flush()
    report('written', Number(count), performance.now() - started)
    console.log(`  ${(statSync(join(folder, 'spool.db')).size / MIB).toFixed(0)} MiB on disk`)
    const reader = new SpoolReader(folder, () => {})
    const readFrom = performance.now()
    let place = null
    let found = 0
    for (let read = reader.read(place); read !== null; read = reader.read(place)) {
      found += read.events.length
      place = read.next
    }
    report('read', found, performance.now() - readFrom)
    if (found !== Number(count)) throw new Error(`${found} of ${count} events were read`)
    reader.close()
    spool.stop()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function report(what, count, ms) {
  console.log(`  ${what}: ${Math.round((count / ms) * 1000).toLocaleString('en')} events/s`)
}
