/**
 * Writes docs/reference/policy.md and policy.schema.json from the policy's schema, as it is built: `node scripts/policy-reference.mjs`. A
 * tidy test compares the files with what `--print md` and `--print json` say.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './project.mjs'

const { policyJsonSchema } = await import('../build/js/engine/policy/schema.js')
const { SERVICES } = await import('../build/js/engine/policy/bundles/services.js')
const { TOOL_NAMES } = await import('../build/js/engine/policy/bundles/tool-names.js')
const { unsupportedKeys } = await import('../build/js/engine/policy/unsupported.js')

const HEAD = `# Policy

Generated from the schema by \`node scripts/policy-reference.mjs\`; do not edit. The same as JSON Schema, for editors:
[policy.schema.json](policy.schema.json), or \`sluice policy schema\`.

A policy is a YAML file. What no rule allows is denied; the order of rules never matters: deny beats allow. Unknown keys are refused.
\`sluice policy check FILE\` names every mistake with line and column (\`--here\`: also what this machine can't enforce), \`explain\` says each rule in a sentence, \`expand\` shows every host and
where it came from.

\`\`\`yaml
version: 1
name: coding-agent
mode: enforce
bundles: [github, claude]
egress:
  - host: api.example.com            # port 443 over TCP
  - host: "*.example.com"
    ports: [443, 8000-8100]
  - cidr: 10.1.0.0/16
    ports: [5432]
  - deny: {host: "**.pastebin.com"}
    reason: paste sites are blocked; attach a file instead
\`\`\`

Of patterns \`*.example.com\` stands for exactly one label before it, \`**.example.com\` for one or more, \`.example.com\` for the name itself and all
below. Names are compared as DNS does: without case, without a final dot, international ones by their A-labels. A wildcard for what anybody can
register under (\`*.com\`) is refused, one for a suffix that many share (\`*.github.io\`) is taken with a warning.

Several policies at one layer are one: what any allows, what any denies, the strictest mode. A policy with \`floor: true\` is a layer above: what
is below it can only tighten it.

Policies of the node (\`agent.policies\` of its configuration, \`/etc/sluice/policies\` by default) are for the sandboxes that \`select\` says, by the
labels that their launcher gave and by the cgroup's path. Layers, each of which can only tighten those above: the node's floors, the node's other
policies, those given with the sandbox (\`run --policy\`, \`sandboxes add --policy\`; whatever they select), and a \`.sluice.yaml\` in the working
directory of a run. Rename a file into its place: one that is half written can be another
policy. Labels are the launcher's word: what nobody who may start runs is to get around is selected by cgroup, or by nothing. A floor, or a \`.sluice.yaml\`, that allows nothing by itself leaves that to the others; any other policy that allows nothing closes
everything.

Unix sockets are denied but for those that the sandbox listens on itself and those that \`local.unix\` names, by path or as \`@name\` for an abstract
one (Linux 6.7 and newer; [what holds before](../KERNELS.md)). The path is the one that the program gives: where programs use \`/var/run/x\` for
\`/run/x\`, name both. A rule is as good as the folder it names: who may write there can put another socket in its place. Denied are thus nscd,
\`/dev/log\`, nss-resolve, sssd and the local sockets of databases, too: the call fails with EPERM; libc and most programs do without, others
need a rule. A socket of the sandbox's own is known by a path without symbolic links, \`..\` or a mount in between.

\`binary\` keeps a rule for certain programs: the one that connects or sends has executed that very file (of a script: its interpreter is the
program), and inherited it over forks. Name the program that does it: git fetches by \`/usr/lib/git-core/git-remote-http\`, and over SSH by \`/usr/bin/ssh\`.
A path is what root has put there: where somebody else may write the file, a link or a folder on the way, it is no program of any rule. A
file that is changed or replaced is known again within about a second; what ran before goes on. A hash stands for files of root's with that
content, in the usual folders of programs or run by the sandbox for longer than a moment; a copy that others may write is none. Not known
is also what is executed under a debugger, from memory, after it was deleted, from FUSE or from a mount of a user namespace, and what ran
before the sandbox was watched. A connection stays that of the program that made it, whoever it is handed to. **Such a rule trusts the program with whatever it is told**: by
arguments, by files, by variables like \`LD_PRELOAD\` and \`GIT_SSH_COMMAND\`; it keeps other programs out, and nothing else. Enforced it takes processes that can't
write each other's memory: \`run --policy\` sees to that (no ptrace, nothing of /proc is writable; Linux 5.19 with Landlock), others need
\`kernel.yama.ptrace_scope\` 3; and that they do not run as root, unless the policy says \`allow_privileged\`.

Always denied unless a rule names just that: cloud metadata addresses, known public resolvers, DNS over TLS (853). Brokers (container engines,
D-Bus, ssh-agent) take \`allow_brokers\`.
`

/** Rows of one object's keys, then of the objects below it. */
function rowsOf(schema, path, heads = []) {
  const required = schema.required ?? []
  return Object.entries(schema.properties ?? {}).flatMap(([key, value]) => {
    const name = path === '' ? key : `${path}.${key}`
    const absent = heads.includes(key)
      ? `one of ${heads.join(', ')}`
      : required.includes(key)
        ? 'required'
        : (value.absent ?? '')
    const row = `| \`${name}\` | ${typeOf(value)} | ${cell(value.description ?? '')} | ${cell(absent)} |`
    return [row, ...below(value, name)]
  })
}

function below(value, name) {
  if (value.type === 'array') return below(value.items, `${name}[]`)
  const shapes = (value.anyOf ?? [value]).filter(({ properties }) => properties !== undefined)
  if (value.anyOf === undefined) return shapes.flatMap((shape) => rowsOf(shape, name))
  // Of several shapes each key is told once; what only some of them need tells them apart.
  const needed = [...new Set(shapes.flatMap(({ required = [] }) => required))]
  const heads = needed.filter((key) => !shapes.every(({ required = [] }) => required.includes(key)))
  return [...new Set(shapes.flatMap((shape) => rowsOf(shape, name, heads)))].filter(
    (row, at, all) => all.findIndex((each) => keyOf(each) === keyOf(row)) === at,
  )
}

function keyOf(row) {
  return row.split('|')[1]
}

function typeOf(value) {
  if (value.const !== undefined) return `\`${value.const}\``
  if (value.enum !== undefined) return value.enum.map((each) => `\`${each}\``).join(', ')
  if (value.type === 'array') return `list of ${typeOf(value.items)}`
  if (value.anyOf !== undefined) return [...new Set(value.anyOf.map(typeOf))].join(' or ')
  if (value.type === 'object') return value.properties === undefined ? 'map' : 'keys below'
  if (Array.isArray(value.type)) return value.type.map((type) => typeOf({ type })).join(' or ')
  return { integer: 'number', string: 'text', boolean: '`true`, `false`' }[value.type] ?? value.type
}

function cell(text) {
  return text.replaceAll('|', '\\|').replaceAll('*', '\\*')
}

function services() {
  const rows = Object.entries(SERVICES).map(([name, { version, checked, source, hosts }]) => {
    const list = hosts
      .map(({ host, ports }) => `\`${host}\`${ports === undefined ? '' : ` (${ports.join(', ')})`}`)
      .join(', ')
    return `| \`${name}\` | ${version}, ${checked} | ${list} | ${source} |`
  })
  return ['| bundle | version | hosts | source |', '|---|---|---|---|', ...rows, ''].join('\n')
}

/** The page's text. */
function policyReference() {
  const unsupported = unsupportedKeys().map(({ key, what, instead }) => `| \`${key}\` | ${what} | ${instead} |`)
  return [
    HEAD,
    '## Keys\n',
    ['| key | value | meaning | if absent |', '|---|---|---|---|', ...rowsOf(policyJsonSchema(), ''), ''].join('\n'),
    '## Not in this version\n',
    'Refused in enforce mode, and told by a warning in monitor mode:\n',
    ['| key | why | instead |', '|---|---|---|', ...unsupported, ''].join('\n'),
    '## Bundles\n',
    'Of services, as data. A version counts up when hosts change.\n',
    services(),
    `Of package managers: ${TOOL_NAMES.map((name) => `\`${name}\``).join(', ')}. No hosts are shipped for them: they are read from the tools' own\nconfiguration, of the machine and of its user and never of the project, when the policy is compiled. Where a tool says nothing, the policy must.\n`,
  ].join('\n')
}

const FILES = {
  md: ['docs/reference/policy.md', policyReference],
  json: ['docs/reference/policy.schema.json', () => `${JSON.stringify(policyJsonSchema(), null, 2)}\n`],
}

const [option, form] = process.argv.slice(2)
if (option === '--print') process.stdout.write(FILES[form][1]())
else for (const [path, text] of Object.values(FILES)) writeFileSync(join(root, path), text())
