/**
 * Who may import whom (docs/architecture). A zone is a folder of src/, or a part of the engine that is held tighter than the
 * rest. What isn't in the table is an error; so are libraries outside the file or folder that wraps them.
 */
import { isBuiltin } from 'node:module'
import { firstMention, type Import, importsOf, packageOf, resolveImport } from './imports.js'
import { problem, type SourceFile } from './source.js'

interface Row {
  /** Zones whose values and types may be imported; the own zone always may. */
  readonly may: readonly string[]
  /** Zones of which only types may be imported. */
  readonly types?: readonly string[]
  /** false: no Node built-ins (no clock, no I/O). */
  readonly builtins?: false
  /** false: no packages but those that LIBRARIES gives to a file of this zone. */
  readonly packages?: false
}

const ENGINE_ZONES = ['engine', 'engine/policy', 'engine/session', 'engine/journal', 'engine/detect', 'engine/respond']

const TABLE: ReadonlyMap<string, Row> = new Map<string, Row>([
  ['base', { may: [], packages: false }],
  ['proto', { may: ['base'], packages: false }],
  ['native', { may: ['base'], packages: false }],
  ['schema', { may: ['base', 'proto'] }],
  ['sinks', { may: ['base', 'proto', 'schema'] }],
  ['k8s', { may: ['base', 'proto'] }],
  ['dashboard', { may: ['base', 'proto'] }],
  ['cli', { may: ['base', 'proto', 'schema', 'supervise', 'supervise/agent-host'] }],
  ['sensor', { may: ['base', 'proto', 'native'] }],
  ['gateway', { may: ['base', 'proto', 'native'] }],
  ['supervise', { may: ['base', 'supervise/agent-host'] }],
  ['supervise/agent-host', { may: ['base', 'native'] }],
  ['engine', { may: ['base', 'proto', ...ENGINE_ZONES] }],
  ['engine/policy', { may: ['base', 'proto'] }],
  ['engine/session', { may: ['base', 'proto'] }],
  ['engine/journal', { may: ['base', 'proto'] }],
  ['engine/detect', { may: ['base', 'proto'], types: ['engine/session', 'engine/policy'], builtins: false }],
  ['engine/respond', { may: ['base', 'proto'], types: ['engine/policy'] }],
])

/** A main composes: beside its own part it hands over what the parts can't import themselves. */
const MAIN_MAY = ['native', 'sinks', 'k8s', 'dashboard', 'base', 'proto']

/** Packages and built-ins with one home; the paths are files or folders of src/. */
const LIBRARIES: ReadonlyMap<string, readonly string[]> = new Map([
  ['pino', ['base/log.ts']],
  ['yaml', ['base/yaml-file.ts']],
  ['@photostructure/sqlite', ['base/sqlite-file.ts']],
  ['web-tree-sitter', ['engine/bash-grammar.ts']],
  ['tree-sitter-bash', ['engine/bash-grammar.ts']],
  ['protobufjs', ['proto/codec.ts']],
  ['long', ['proto/codec.ts']],
  [
    '@grpc/grpc-js',
    ['proto/rpc.ts', 'proto/control-rpc.ts', 'proto/gateway-rpc.ts', 'proto/rpc-status.ts', 'sinks/otlp/otlp-grpc.ts'],
  ],
  ['@nats-io/transport-node', ['sinks/nats/']],
  ['@nats-io/jetstream', ['sinks/nats/']],
  ['@opentelemetry/otlp-transformer', ['sinks/otlp/otlp-request.ts']],
  ['kafkajs', ['sinks/kafka/']],
  ['execa', ['supervise/', 'cli/']],
  ['node:child_process', []],
])

/** Files that may import a package though their zone imports none. */
const EXCEPTIONS: ReadonlyMap<string, readonly string[]> = new Map([
  ['src/base/yaml-file.ts', ['zod']],
  ['src/base/schema-issues.ts', ['zod']],
])

const GENERATED_CODEC = 'src/proto/generated/'
const CODEC_HOME = 'src/proto/codec.ts'

/**
 * Checks files of src/ against the table.
 * @param dependencies names in package.json's `dependencies`: anything else isn't there when the package is installed
 */
export function checkImportTable(files: readonly SourceFile[], dependencies: readonly string[]): string[] {
  const paths = new Set(files.map((file) => file.path))
  return files.flatMap((file) => {
    const zone = zoneOf(file.path)
    if (zone === null) return [problem(file, 0, `belongs to no part of the import table; put it into a folder of src/`)]
    const imports = importsOf(file)
    return [
      ...imports.flatMap((each) => checkImport(file, zone, each, paths, dependencies)),
      ...checkAddonLoading(file, zone),
    ]
  })
}

/** main.ts and sweep-main.ts are mains: they compose a process and nobody imports them. */
export function isMain(path: string): boolean {
  return /(^|[/-])main\.ts$/.test(path)
}

function checkImport(
  file: SourceFile,
  zone: string,
  each: Import,
  paths: ReadonlySet<string>,
  dependencies: readonly string[],
): string[] {
  const target = resolveImport(file.path, each.specifier, (path) => paths.has(path))
  const refusal = target === null ? refuseLibrary(file, zone, each, dependencies) : refuseFile(file, zone, each, target)
  return refusal === null ? [] : [problem(file, each.line, `imports ${each.specifier}: ${refusal}`)]
}

function refuseFile(file: SourceFile, zone: string, each: Import, target: string): string | null {
  if (target.startsWith(GENERATED_CODEC)) {
    return file.path === CODEC_HOME ? null : `only ${CODEC_HOME} imports the generated codec`
  }
  if (!target.startsWith('src/')) return 'it is outside src/'
  if (isMain(target)) return 'a main is started, never imported'
  const targetZone = zoneOf(target)
  if (targetZone === null) return 'it belongs to no part of the import table'
  if (targetZone === zone) return null
  const row = TABLE.get(zone)
  const may = [...(row?.may ?? []), ...(isMain(file.path) ? [...MAIN_MAY, ...zonesOfSamePart(zone)] : [])]
  if (may.includes(targetZone)) return null
  if (row?.types?.includes(targetZone)) return each.typeOnly ? null : `${zone} may import only types of ${targetZone}`
  return `${zone} may import ${may.length === 0 ? 'nothing else of src/' : may.join(', ')}, not ${targetZone}`
}

function refuseLibrary(file: SourceFile, zone: string, each: Import, dependencies: readonly string[]): string | null {
  const isBuiltIn = isBuiltin(each.specifier)
  const name = isBuiltIn ? `node:${each.specifier.replace(/^node:/, '')}` : packageOf(each.specifier)
  const homes = LIBRARIES.get(name)
  if (homes !== undefined) {
    const isHome = homes.some(
      (home) => file.path === `src/${home}` || (home.endsWith('/') && file.path.startsWith(`src/${home}`)),
    )
    if (!isHome)
      return homes.length === 0 ? 'child processes are execa’s job' : `only ${homes.join(', ')} may import ${name}`
  }
  const row = TABLE.get(zone)
  if (isBuiltIn) return row?.builtins === false ? `${zone} has no clock and no I/O, so no built-ins` : null
  const isException = EXCEPTIONS.get(file.path)?.includes(name) === true
  if (homes === undefined && row?.packages === false && !isException)
    return `${zone} may import no package but those that it wraps`
  return dependencies.includes(name) ? null : `${name} is not among the dependencies of package.json`
}

function checkAddonLoading(file: SourceFile, zone: string): string[] {
  if (zone === 'native') return []
  const line = firstMention(file, ['dlopen', 'createRequire'], '.node')
  return line === null ? [] : [problem(file, line, 'only src/native/ loads the addon')]
}

function zonesOfSamePart(zone: string): readonly string[] {
  return ENGINE_ZONES.includes(zone) ? ENGINE_ZONES : []
}

function zoneOf(path: string): string | null {
  const [source, part, next] = path.split('/')
  if (source !== 'src' || part === undefined || next === undefined) return null
  const tighter = `${part}/${next.replace(/\.ts$/, '')}`
  if (TABLE.has(tighter)) return tighter
  return TABLE.has(part) ? part : null
}
