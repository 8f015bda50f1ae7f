/**
 * How much the whole product stands: opens at a steady rate for a while, and how much CPU and memory that takes; then many short processes,
 * to see whether memory grows. The command line writes a record, as a user would have it. Fails if anything was lost or is not in the record.
 *
 *   node bench/run.mjs sustained [RATE SECONDS PROCESSES]     needs root and gcc; about two minutes
 */
import { withLoad } from '../load/build.mjs'
import { idleRun, measuredRun } from '../measured-run.mjs'

const PARTS = ['sensor', 'engine', 'cli']

export async function run([rate = '50000', seconds = '60', processes = '100000']) {
  await withLoad(async (load, dir) => {
    const idle = await idleRun()
    const storm = await measuredRun([load, 'rate', rate, seconds, dir])
    showStorm(storm, idle, Number(rate) * Number(seconds))
    const churn = await measuredRun([load, 'forks', processes])
    showChurn(churn, Number(processes))
  })
}

function showStorm({ stdout, parts, record }, idle, opens) {
  const { wallS } = JSON.parse(stdout)
  const events = record.kinds.fileOpen
  const rows = PARTS.map((name) => {
    const cpuS = parts[name].cpuS - idle.parts[name].cpuS
    return row(name, { cpuS, wallS, events, rssMiB: parts[name].rssMaxMiB })
  })
  const cpuS = PARTS.reduce((sum, name) => sum + parts[name].cpuS - idle.parts[name].cpuS, 0)
  const rssMiB = PARTS.reduce((sum, name) => sum + parts[name].rssMaxMiB, 0)
  console.log(`${opens} opens for writing in ${wallS.toFixed(1)} s, beyond a run of nothing`)
  console.table([...rows, row('all', { cpuS, wallS, events, rssMiB })])
  report('fileOpen', record, opens)
}

function row(part, { cpuS, wallS, events, rssMiB }) {
  return {
    part,
    'CPU s': cpuS.toFixed(2),
    cores: (cpuS / wallS).toFixed(2),
    'µs an event told': ((cpuS / events) * 1e6).toFixed(2),
    'RSS at most, MiB': rssMiB.toFixed(0),
  }
}

/** A third of the way is after what every process grows to at first. */
function showChurn({ series, record }, processes) {
  const at = (share) => new Map(series[Math.floor((series.length - 1) * share)].map((part) => [part.name, part]))
  const [early, late] = [at(1 / 3), at(0.97)]
  console.log(`${processes} processes, one after the other: resident memory`)
  console.table(
    PARTS.map((part) => ({
      part,
      'a third of the way, MiB': early.get(part)?.rssMiB.toFixed(0),
      'at the end, MiB': late.get(part)?.rssMiB.toFixed(0),
    })),
  )
  report('exit', record, processes)
}

function report(kind, { kinds, lost, bytes }, expected) {
  const missing = Object.entries(lost)
  console.log(`in the record: ${kinds[kind]} of kind ${kind} (${expected} by the load), ${(bytes / 1e6).toFixed(0)} MB`)
  console.log(missing.length === 0 ? 'lost: nothing' : `lost: ${missing.map(([of, n]) => `${n} ${of}`).join(', ')}`)
  if (missing.length > 0 || kinds[kind] < expected) process.exitCode = 1
}
