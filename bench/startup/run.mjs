/**
 * What `sluice run -- true` takes beyond `true` itself, with its own sensor and engine: the two in turns, medians.
 *
 *   node bench/run.mjs startup [PAIRS]        needs root; about 20 s
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const SLUICE = fileURLToPath(new URL('../../bin/sluice', import.meta.url))

function timed(file, args) {
  const start = process.hrtime.bigint()
  const { status } = spawnSync(file, args, { stdio: 'ignore' })
  if (status !== 0) throw new Error(`${file} ended with ${status}`)
  return Number(process.hrtime.bigint() - start) / 1e6
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
}

export async function run([pairsText = '15']) {
  const plain = []
  const node = []
  const watched = []
  for (let pair = -1; pair < Number(pairsText); pair += 1) {
    const times = [timed('true', []), timed(process.execPath, ['-e', '']), timed(SLUICE, ['run', '-q', '--', 'true'])]
    if (pair < 0) continue // warm-up
    plain.push(times[0])
    node.push(times[1])
    watched.push(times[2])
  }
  const beyond = watched.map((ms, i) => ms - plain[i])
  console.table([
    { what: 'true', 'ms (median)': median(plain).toFixed(0) },
    { what: "node -e ''", 'ms (median)': median(node).toFixed(0) },
    { what: 'sluice run -- true', 'ms (median)': median(watched).toFixed(0) },
    { what: 'beyond true', 'ms (median)': median(beyond).toFixed(0) },
    { what: 'beyond true, in starts of node', 'ms (median)': (median(beyond) / median(node)).toFixed(1) },
  ])
}
