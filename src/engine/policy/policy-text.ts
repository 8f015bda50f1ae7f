/**
 * Policies as text for people to go on with: what learn and init write. It guards that a value is quoted wherever YAML could take it for
 * something else, and that nothing from a recording or a project ends a comment.
 */

export interface TextRule {
  readonly fields: Readonly<Record<string, unknown>>
  /** Before the rule, a line each. */
  readonly comments: readonly string[]
}

export interface PolicyText {
  readonly comments: readonly string[]
  readonly name: string
  readonly mode: 'monitor' | 'enforce'
  readonly bundles: readonly { readonly name: string; readonly comment: string }[]
  readonly rules: readonly TextRule[]
  readonly unix: readonly { readonly path: string; readonly comment: string }[]
  /** At the end. */
  readonly notes: readonly string[]
}

const PLAIN = /^[a-z][a-z0-9_.-]*$/
/** What YAML 1.1 readers take for something else. */
const WORDS = /^(true|false|yes|no|on|off|null|y|n)$/i

export function policyText({ comments, name, mode, bundles, rules, unix, notes }: PolicyText): string {
  const lines = [...comments.map(comment), 'version: 1', `name: ${scalar(name)}`, `mode: ${mode}`]
  if (bundles.length > 0)
    lines.push('bundles:', ...bundles.map((each) => `  - ${scalar(each.name)}${trailing(each.comment)}`))
  lines.push(rules.length === 0 ? 'egress: []' : 'egress:')
  for (const rule of rules) {
    const [first, ...more] = Object.entries(rule.fields).map(([key, value]) => `${key}: ${flow(value)}`)
    lines.push(
      ...rule.comments.map((each) => `  ${comment(each)}`),
      `  - ${first ?? ''}`,
      ...more.map((each) => `    ${each}`),
    )
  }
  if (unix.length > 0) {
    lines.push(
      'local:',
      '  unix:',
      ...unix.map(({ path, comment: words }) => `    - ${scalar(path)}${trailing(words)}`),
    )
  }
  return [...lines, ...notes.map(comment)].join('\n')
}

function comment(text: string): string {
  return text === '' ? '#' : `# ${oneLine(text)}`
}

function trailing(text: string): string {
  return text === '' ? '' : ` # ${oneLine(text)}`
}

/** Line ends of every kind that some reader knows. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
}

function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`
  return typeof value === 'string' ? scalar(value) : JSON.stringify(value)
}

/** JSON's strings are YAML's. */
function scalar(text: string): string {
  return PLAIN.test(text) && !WORDS.test(text) ? text : JSON.stringify(text)
}
