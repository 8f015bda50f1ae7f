/**
 * What a connect costs: a UDP socket that is connected to an address of its own network namespace again and again, so that nothing but the call
 * and what is hooked into it is measured. Strangers with and without us, and a sandbox without a policy and with small and big ones;
 * in turns, in one run. In a sandbox a connect is an event too, which is most of what it costs there.
 *
 *   node bench/run.mjs connect [ROUNDS]        needs root, gcc and cgroup v2; about half a minute
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { compiled, policyText } from '../support/big-policy.mjs'
import { withPolicedSensor } from '../support/policed-sensor.mjs'

const SOURCE = fileURLToPath(new URL('connects.c', import.meta.url))
const BATCHES = 60
const CONNECTS = 2_000
/** In one of the ranges that the policies allow. */
const ADDRESS = '10.0.5.1'
const SETTLE_MS = 50
const SANDBOX = 'box'

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]

/** In a network namespace that lives as long as the call. */
function connect(program, cgroup) {
  const script = [
    ...(cgroup === null ? [] : ['echo $$ > "$1/cgroup.procs"']),
    'ip link set lo up',
    'ip addr add 10.0.0.0/8 dev lo',
    `exec "$0" ${BATCHES} ${CONNECTS} ${ADDRESS} 443`,
  ].join(' && ')
  const out = execFileSync('unshare', ['--net', 'sh', '-c', script, program, cgroup ?? ''], { encoding: 'utf8' })
  const [least, middle] = out.trim().split(' ').map(Number)
  return { least, middle }
}

export async function run([roundsText = '5']) {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const rows = new Map()
  const note = (what, took) => rows.set(what, [...(rows.get(what) ?? []), took])
  const rounds = Number(roundsText)
  const small = compiled(policyText({ names: 0, ranges: 100, udp: true })).policy
  const big = compiled(policyText({ names: 0, ranges: 50_000, udp: true })).policy
  try {
    const program = join(dir, 'connects')
    execFileSync('gcc', ['-O2', '-Wall', '-o', program, SOURCE], { stdio: ['ignore', 'ignore', 'inherit'] })
    for (let round = 0; round < rounds; round++) note('bare: nothing of ours is loaded', connect(program, null))
    await withPolicedSensor(async (sensor) => {
      for (let round = 0; round < rounds; round++) note('a stranger, nobody has a policy', connect(program, null))
      const cgroup = await sensor.addSandbox(SANDBOX)
      for (let round = 0; round < rounds; round++) {
        for (const [what, policy] of [
          ['in a sandbox, only watched', null],
          ['in a sandbox, 100 ranges', small],
          ['in a sandbox, 50,000 ranges', big],
        ]) {
          await sensor.apply(SANDBOX, policy)
          note(what, connect(program, cgroup))
          await sleep(SETTLE_MS)
          if (policy === big) note('a stranger, another has a policy', connect(program, null))
        }
      }
      await sensor.release(SANDBOX)
    })
    for (let round = 0; round < rounds; round++) note('bare: again, afterwards', connect(program, null))
    const bare = median([...rows.values()][0].map(({ least }) => least))
    console.table(
      [...rows].map(([what, took]) => {
        const least = Math.min(...took.map((each) => each.least))
        const middle = median(took.map((each) => each.middle))
        return {
          what,
          'ns, least': least.toFixed(0),
          'ns, median': middle.toFixed(0),
          'least / bare': (least / bare).toFixed(2),
        }
      }),
    )
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
