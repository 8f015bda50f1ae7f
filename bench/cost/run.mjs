/**
 * What being watched costs: the same work plain and traced in turns, by its own clock; ratios of each pair, median, smallest and largest.
 * Beside Sluice stand its peers where they are installed, and a row without any tracer, which shows what the machine makes of nothing.
 *
 *   node bench/run.mjs cost [PAIRS [audit]]    needs root and gcc, bpftrace, strace and auditd for their rows; some five minutes with 5 pairs
 *
 * `audit`: with auditd, whose rules are the whole machine's: everything on it is slower meanwhile, and one rule stays (audit.mjs).
 */
import { withLoad } from '../load/build.mjs'
import { startAudit } from './audit.mjs'
import { besideSluice, bpftraceTracer, plain, sluiceTracer, straceTracer } from './tracers.mjs'

const LOADS = [
  { what: 'execs', count: 2_000 },
  { what: 'opens', count: 500_000 },
  { what: 'distinct', count: 500_000 },
  { what: 'connects', count: 20_000 },
]
/** strace and audit take some twenty times as long for an open: a tenth of them say as much. */
const FEWER_OPENS = { opens: 50_000, distinct: 50_000 }

export async function run([pairs = '5', withAudit]) {
  await withLoad(async (program, dir) => {
    const context = { program, dir, pairs: Number(pairs) }
    const rows = []
    const show = async (tracer, trace, counts = {}) => rows.push(...(await measured(tracer, trace, counts, context)))
    await show('nothing', async (load) => ({ ...plain(load), ownS: null, recorded: 0, lost: 0 }))
    await show('sluice, in the sandbox', await sluiceTracer())
    const beside = await besideSluice()
    await show('sluice, processes outside', beside.trace).finally(beside.stop)
    const peers = [
      { name: 'bpftrace', trace: bpftraceTracer(), counts: {} },
      { name: 'strace -f', trace: straceTracer(), counts: FEWER_OPENS },
    ]
    for (const { name, trace, counts } of peers) {
      if (trace === null) console.log(`cost: ${name} is not installed: its rows are missing`)
      else await show(name, trace, counts)
    }
    await auditRows(withAudit === 'audit', (trace) => show('auditd', trace, FEWER_OPENS))
    console.table(rows)
  })
}

async function auditRows(isWanted, show) {
  const audit = isWanted
    ? await startAudit()
    : "its rules are the whole machine's; ask for them with `cost PAIRS audit`"
  if (typeof audit === 'string') console.log(`cost: auditd has no rows: ${audit}`)
  else await show(audit.trace).finally(audit.stop)
}

async function measured(tracer, trace, counts, { program, dir, pairs }) {
  const rows = []
  for (const { what, count } of LOADS) {
    const load = [program, what, String(counts[what] ?? count), dir]
    const results = []
    plain(load)
    for (let pair = 0; pair < pairs; pair++) {
      const without = plain(load)
      results.push({ without, traced: await trace(load) })
    }
    rows.push(row(tracer, what, counts[what] ?? count, results))
  }
  return rows
}

function row(tracer, what, count, results) {
  const ratios = ratiosOf(results, 'wallS')
  const own = results.map(({ traced }) => traced.ownS).filter((seconds) => seconds !== null)
  const recorded = Math.min(...results.map(({ traced }) => traced.recorded))
  const lost = Math.max(...results.map(({ traced }) => traced.lost))
  return {
    tracer,
    work: `${count} ${what}`,
    'time, ratio': median(ratios).toFixed(2),
    'from, to': `${ratios[0].toFixed(2)}–${ratios.at(-1).toFixed(2)}`,
    'CPU of the work, ratio': median(ratiosOf(results, 'cpuS')).toFixed(2),
    'recorded, at least': recorded === 0 ? '' : `${((Math.min(recorded, count) / count) * 100).toFixed(0)} %`,
    'lost, at most': lost === 0 ? '' : lost,
    'own CPU s': own.length === 0 ? '' : median(own).toFixed(2),
  }
}

function ratiosOf(results, of) {
  return results.map(({ without, traced }) => traced[of] / without[of]).sort((a, b) => a - b)
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
}
