/** The imports of src/ as a graph: cycles, and files that no process ever reaches. Types count: they tie files together too. */
import { importsOf, resolveImport } from './imports.js'
import { problem, type SourceFile } from './source.js'

type Graph = ReadonlyMap<string, readonly string[]>

/** Each cycle once, as a chain of paths that ends where it began. */
export function findCycles(files: readonly SourceFile[]): string[] {
  const graph = graphOf(files)
  const done = new Set<string>()
  const found = new Map<string, string>()
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path)
    if (at !== -1) {
      const cycle = trail.slice(at)
      found.set(
        [...cycle].sort().join(),
        `${[...cycle, path].join(' → ')}: an import cycle; move what both need into a third file`,
      )
      return
    }
    if (done.has(path)) return
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const path of graph.keys()) visit(path, [])
  return [...found.values()]
}

/** Files that can't be reached from the entries, and entries that aren't there. */
export function findUnreached(files: readonly SourceFile[], entries: readonly string[]): string[] {
  const graph = graphOf(files)
  const reached = new Set<string>()
  const queue = entries.filter((entry) => graph.has(entry))
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue
    reached.add(path)
    queue.push(...(graph.get(path) ?? []))
  }
  const absent = entries.filter((entry) => !graph.has(entry))
  return [
    ...absent.map((entry) => `${entry}: is listed as an entry point but does not exist`),
    ...files
      .filter((file) => !reached.has(file.path))
      .map((file) => problem(file, 0, 'no entry point reaches it: import it, list it as an entry point or delete it')),
  ]
}

function graphOf(files: readonly SourceFile[]): Graph {
  const paths = new Set(files.map((file) => file.path))
  const targets = (file: SourceFile): string[] =>
    importsOf(file).flatMap((each) => {
      const target = resolveImport(file.path, each.specifier, (path) => paths.has(path))
      return target !== null && paths.has(target) ? [target] : []
    })
  return new Map(files.map((file) => [file.path, targets(file)]))
}
