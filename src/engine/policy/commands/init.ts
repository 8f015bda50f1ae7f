/**
 * `policy init`: a first policy from what a project shows: its lockfiles, its git remotes, and what was asked for. It guards that a project,
 * which whoever works on it can change, is only proposed from: each rule says which file it is from, and a person reads it. A bundle whose
 * tool says nothing on this machine is not written, as the file would be refused.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { SluiceError } from '../../../base/error.js'
import { nearestOf } from '../../../base/nearest.js'
import { hostPatternText } from '../../../proto/host-pattern.js'
import { SERVICE_NAMES, SERVICES } from '../bundles/services.js'
import { readToolHosts } from '../bundles/tool-hosts.js'
import { TOOL_NAMES, type ToolName } from '../bundles/tool-names.js'
import { loadPolicy } from '../load-policy.js'
import { parseHost } from '../parse-host.js'
import { type PolicyText, policyText, type TextRule } from '../policy-text.js'
import { type Context, EXIT_FOUND, EXIT_OK, tellFindings } from './context.js'

const FILE_BYTES_MAX = 64 * 1024 * 1024
const HOSTS_MAX = 200

/** Files that show which tools a project uses. */
const SIGNS: readonly [tool: ToolName, files: RegExp][] = [
  ['node', /^(package\.json|package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml)$/],
  ['python', /^(pyproject\.toml|requirements[^/]*\.txt|setup\.py|uv\.lock|poetry\.lock|Pipfile(\.lock)?)$/],
  ['rust', /^Cargo\.(toml|lock)$/],
  ['go', /^go\.(mod|sum)$/],
]
/** Those that name hosts themselves. */
const LOCKFILES =
  /^(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|uv\.lock|poetry\.lock|Cargo\.lock)$/
/** What leads to a package; npm's also name where to give money. */
const NPM_URL = /"resolved":\s*"https:\/\/(?:[^@/\s"]*@)?([\w.-]+)(?::(\d+))?\//g
const OTHER_URL =
  /(?:resolved|tarball|url|source|registry)["']?\s*[:=]?\s*\{?\s*["']?(?:(?:registry|sparse|git)\+)?https:\/\/(?:[^@/\s"']*@)?([\w.-]+)(?::(\d+))?\//g
const HARNESSES: readonly [service: string, sign: RegExp][] = [
  ['claude', /^(\.claude|CLAUDE\.md)$/],
  ['openai', /^\.codex$/],
  ['gemini', /^(\.gemini|GEMINI\.md)$/],
]

export interface InitRequest {
  readonly workdir: string
  /** Asked for by name. */
  readonly bundles: readonly string[]
  readonly mode: 'monitor' | 'enforce'
}

export function init({ workdir, bundles, mode }: InitRequest, context: Context): number {
  for (const bundle of bundles) requireBundle(bundle)
  const text = proposal({ workdir, bundles, mode }, context)
  for (const line of text.split('\n')) context.out(line)
  const loaded = loadPolicy({ name: 'the proposal', text }, (wanted) => readToolHosts(context.machine, wanted))
  tellFindings(loaded, context.err)
  return loaded.rules === null ? EXIT_FOUND : EXIT_OK
}

function proposal({ workdir, bundles, mode }: InitRequest, context: Context): string {
  const names = namesIn(workdir)
  const tools = SIGNS.flatMap(([tool, sign]) => {
    const file = names.find((name) => sign.test(name))
    return file === undefined ? [] : [{ name: tool as string, comment: `${file}` }]
  })
  const harnesses = HARNESSES.flatMap(([service, sign]) => {
    const file = names.find((name) => sign.test(name))
    return file === undefined ? [] : [{ name: service, comment: file }]
  })
  const remotes = remoteHosts(workdir)
  const services = SERVICE_NAMES.flatMap((name) => {
    const remote = remotes.find(({ host }) => isOf(name, host))
    return remote === undefined ? [] : [{ name: name as string, comment: remote.from }]
  })
  const wanted = [...bundles.map((name) => ({ name, comment: 'asked for' })), ...harnesses, ...services, ...tools]
  const found = readToolHosts(
    context.machine,
    wanted.map(({ name }) => name),
  )
  const isKnown = (name: string) => !isTool(name) || found[name].hosts.length > 0
  const taken = wanted.filter(({ name }, at) => isKnown(name) && wanted.findIndex((each) => each.name === name) === at)
  const missing = [...new Set(wanted.filter(({ name }) => !isKnown(name)).map(({ name }) => name))]
  const covered = taken.flatMap(({ name }) =>
    isTool(name) ? found[name].hosts.map(({ host }) => host) : hostsOfService(name),
  )
  const locked = lockedHosts(workdir, names)
  const rules = [...remotes, ...locked].filter(
    ({ host }, at, all) => !covered.includes(host) && all.findIndex((each) => each.host === host) === at,
  )
  const file: PolicyText = {
    comments: [
      `A first policy for ${basename(workdir)}: what its files show, and nothing else. Read it, then try it:`,
      'sluice policy explain FILE; sluice policy replay --policy FILE RECORD',
    ],
    ...{ name: nameOf(workdir), mode, bundles: taken, rules: rules.slice(0, HOSTS_MAX).map(ruleOf), unix: [] },
    notes: missing.map((name) => `The tools of ${name} are told no host on this machine: allow theirs by name.`),
  }
  return policyText(file)
}

interface FoundHost {
  readonly host: string
  readonly ports: readonly number[]
  readonly from: string
}

function ruleOf({ host, ports, from }: FoundHost): TextRule {
  const isUsual = ports.length === 1 && ports[0] === 443
  return { fields: { host, ...(isUsual ? {} : { ports }) }, comments: [`from ${from}`] }
}

/** `url = git@host:x`, `ssh://host:22/x`, `https://host/x`, of the project's own configuration of git. */
function remoteHosts(workdir: string): FoundHost[] {
  const config = readProjectFile(join(workdir, '.git/config')) ?? ''
  return [...config.matchAll(/^\s*url\s*=\s*(\S+)\s*$/gm)].flatMap(([, url = '']) => {
    const [, scheme = '', web, webPort] = /^(https?|ssh|git):\/\/(?:[^@/]*@)?([^/:]+)(?::(\d+))?/.exec(url) ?? []
    const [, scp] = /^(?:[^@/:]+@)?([^/:@]+):(?!\/\/)/.exec(url) ?? []
    const usual = { https: 443, http: 80, ssh: 22, git: 9418 }[scheme] ?? 22
    return hostOf(web ?? scp, [Number(webPort ?? usual)], 'the remotes of git')
  })
}

/** Where the packages of a lockfile are. */
function lockedHosts(workdir: string, names: readonly string[]): FoundHost[] {
  return names
    .filter((name) => LOCKFILES.test(name))
    .flatMap((name) => {
      const text = readProjectFile(join(workdir, name)) ?? ''
      const found = [...text.matchAll(name.endsWith('.json') ? NPM_URL : OTHER_URL)].map(
        ([, host = '', port]) => `${host}:${port ?? 443}`,
      )
      return [...new Set(found)].flatMap((each) =>
        hostOf(each.replace(/:\d+$/, ''), [Number(each.replace(/^.*:/, ''))], name),
      )
    })
}

function hostOf(text: string | undefined, ports: readonly number[], from: string): FoundHost[] {
  const parsed = parseHost(text ?? '')
  return parsed.ok ? [{ host: hostPatternText(parsed.host), ports, from }] : []
}

function hostsOfService(name: string): string[] {
  const service = Object.entries(SERVICES).find(([each]) => each === name)?.[1]
  return service?.hosts.map(({ host }) => host) ?? []
}

function isOf(service: string, host: string): boolean {
  return hostsOfService(service).includes(host)
}

function isTool(name: string): name is ToolName {
  return TOOL_NAMES.some((tool) => tool === name)
}

function requireBundle(name: string): void {
  const known = [...SERVICE_NAMES, ...TOOL_NAMES]
  if (known.some((each) => each === name)) return
  const nearest = nearestOf(name, known)
  throw new SluiceError('USAGE', `there is no bundle '${name}'`, {
    hint: nearest === null ? `known are ${known.join(', ')}` : `did you mean '${nearest}'?`,
  })
}

function nameOf(workdir: string): string {
  const name = basename(workdir)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60)
    .replace(/-+$/, '')
  return name === '' ? 'project' : name
}

/** Throws IO. */
function namesIn(workdir: string): string[] {
  try {
    return readdirSync(workdir).sort()
  } catch (error) {
    throw new SluiceError('IO', `${workdir} can't be read`, { cause: error })
  }
}

/** Null for what is not there, is no plain file, or too large for what it should be. */
function readProjectFile(path: string): string | null {
  try {
    const found = statSync(path)
    return found.isFile() && found.size <= FILE_BYTES_MAX ? readFileSync(path, 'utf8') : null
  } catch {
    return null
  }
}
