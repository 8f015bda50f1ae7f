/**
 * `npm run bench [-- NAME [ARGS]]`: runs one benchmark, or all of them. Every figure in docs/performance.md comes from here.
 */
const BENCHES = [
  'datapath',
  'startup',
  'sustained',
  'cost',
  'dns',
  'policy',
  'connect',
  'detect',
  'respond',
  'spool',
  'sinks',
]

const [name, ...args] = process.argv.slice(2)
if (name !== undefined && !BENCHES.includes(name)) {
  console.error(`bench: there is no benchmark "${name}"; there are: ${BENCHES.join(', ')}`)
  process.exit(2)
}
for (const bench of name === undefined ? BENCHES : [name]) {
  console.log(`\n${bench}`)
  const { run } = await import(`./${bench}/run.mjs`)
  await run(name === undefined ? [] : args)
}
