/** `policy check`, `expand`, `explain`, `schema`: what a policy says, and what is wrong with it. */
import { hostPatternText } from '../../../proto/host-pattern.js'
import { rangeText } from '../address-range.js'
import { explainRules, portsPhrase } from '../explain-rules.js'
import { type Ladder, stepTexts } from '../ladders.js'
import { type Allow, type Deny, isRange } from '../rules.js'
import { policyJsonSchema } from '../schema.js'
import { type Context, compileFiles, EXIT_FOUND, EXIT_OK, loadFile, tellFindings } from './context.js'

export interface ShowRequest {
  readonly files: readonly string[]
  readonly json: boolean
}

/** EXIT_FOUND if any has an error. Findings are the data here. */
export function check({ files, json }: ShowRequest, context: Context): number {
  const loaded = files.map((file) => loadFile(file, context))
  for (const policy of loaded) {
    const { source, rules, findings } = policy
    if (json) {
      for (const finding of findings) context.out(JSON.stringify({ file: source.name, ...finding }))
    } else tellFindings(policy, context.out)
    const errors = findings.filter(({ severity }) => severity === 'error').length
    const count = (many: number, what: string) => `${many} ${what}${many === 1 ? '' : 's'}`
    const told = [count(errors, 'error'), count(findings.length - errors, 'warning')].join(', ')
    const size = rules === null ? '' : `, ${count(rules.allows.length + rules.denies.length, 'rule')}, ${rules.mode}`
    context.err(`${source.name}: ${told}${size}`)
  }
  return loaded.every(({ rules }) => rules !== null) ? EXIT_OK : EXIT_FOUND
}

/** Every host and range, one a line, with where it came from, then what detections lead to; several files as one policy. */
export function expand({ files, json }: ShowRequest, context: Context): number {
  const compiled = compileFiles(files, context)
  if (compiled === null) return EXIT_FOUND
  const rows = [...compiled.rules.allows.map(rowOfAllow), ...compiled.rules.denies.map(rowOfDeny)]
  const ladders = compiled.rules.ladders.map((ladder) => rowOfLadder(ladder, compiled.rules.name))
  if (json) for (const row of [...rows, ...ladders]) context.out(JSON.stringify(row))
  else {
    const hosts = rows.map((row) => [row.verdict, row.target, row.ports, row.rule, row.from])
    const responses = ladders.map((row) => ['respond', row.respond, row.steps.join(', '), row.rule, row.from])
    for (const line of [...columns(hosts), ...columns(responses)]) context.out(line)
  }
  return EXIT_OK
}

/** Each rule in a sentence; several files as one policy. */
export function explain({ files, json }: ShowRequest, context: Context): number {
  const compiled = compileFiles(files, context)
  if (compiled === null) return EXIT_FOUND
  const sentences = explainRules(compiled.rules)
  if (json) context.out(JSON.stringify({ digest: compiled.policy.digest, sentences }))
  else for (const sentence of sentences) context.out(sentence)
  return EXIT_OK
}

export function schema(context: Context): number {
  context.out(JSON.stringify(policyJsonSchema(), null, 2))
  return EXIT_OK
}

interface Row {
  readonly verdict: 'allow' | 'deny'
  readonly target: string
  readonly ports: string
  readonly rule: string
  readonly from: string
}

function rowOfAllow(allow: Allow): Row {
  const target = allow.kind === 'host' ? hostPatternText(allow.host) : rangeText(allow.range)
  const { path, source } = allow.origin
  return {
    verdict: 'allow',
    target,
    ports: portsPhrase(allow.ports),
    rule: path,
    from: source ?? `policy ${allow.origin.policy}`,
  }
}

function rowOfDeny({ origin, target, ports }: Deny): Row {
  const text = isRange(target) ? rangeText(target) : hostPatternText(target)
  return {
    verdict: 'deny',
    target: text,
    ports: portsPhrase(ports),
    rule: origin.path,
    from: `policy ${origin.policy}`,
  }
}

function rowOfLadder(ladder: Ladder, policy: string) {
  const { detector, isDefault } = ladder
  const from = isDefault ? 'default of mode enforce' : `policy ${policy}`
  return { respond: detector, steps: stepTexts(ladder), rule: `respond.${detector}`, from }
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, at) => Math.max(most[at] ?? 0, cell.length)), [])
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
