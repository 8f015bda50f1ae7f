/**
 * Writes docs/reference/metrics.md from what the engine gives out, as it is built: `node scripts/metrics-reference.mjs`. A tidy test compares
 * the file with what `--print` says.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './project.mjs'

const { EventTally } = await import('../build/js/engine/metrics/event-tally.js')
const { newExposition } = await import('../build/js/engine/metrics/exposition.js')

const HEAD = `# Metrics

Generated from \`src/engine/metrics/exposition.ts\` by \`node scripts/metrics-reference.mjs\`; do not edit.

\`metrics: {listen: 127.0.0.1:9464}\` in the configuration of an agent, or of \`sluice engine\`, has the engine answer \`GET /metrics\` there; without it
nothing listens. Whoever reaches the address may ask, and reads names of sandboxes: keep it on loopback, or where only Prometheus gets to. A
sandbox in enforce mode does not reach it unless its policy says so; in monitor mode one in the host's network can.
Alerting rules: \`deploy/prometheus/rules.yaml\`; a Grafana dashboard: \`deploy/grafana/sluice.json\`.

\`sandbox\` is its name, or its id. 256 have numbers of their own: those that ended make room for new ones, and where all of them still run the
others share \`(others)\`. Counters begin at 0 with each engine; those of a sink with the
process that runs the sinks, which writes them down every second.

| metric | type | labels | what |
|---|---|---|---|
`

const none = () => 0
const numbers = {
  ...{ sandboxes: none, isSensorConnected: () => true, stray: none, undecodable: none, committedBatches: none },
  ...{ watchers: none, journal: () => null, spool: () => null, sinks: () => [], parts: () => [] },
}
const metrics = await newExposition(new EventTally(() => 0n), numbers).described()
const own = metrics.filter(({ name }) => !name.startsWith('sluice_engine_'))
const rows = own.map(
  ({ name, type, labels, help }) =>
    `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`,
)
const tail = `
Besides, of the engine's process, what every Node.js program has (\`prom-client\`'s), as \`sluice_engine_process_*\` and \`sluice_engine_nodejs_*\`.
`
const text = `${HEAD}${rows.join('\n')}\n${tail}`
if (process.argv[2] === '--print') process.stdout.write(text)
else writeFileSync(join(root, 'docs/reference/metrics.md'), text)
