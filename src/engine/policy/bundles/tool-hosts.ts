/**
 * Which hosts the package managers of this machine use, as their own configuration says: a company's mirror just works, and no registry is
 * ours to name. It guards that only what the machine and its user configured counts: a file of the project, which an agent can write, is
 * never looked at. What a registry's answers point to elsewhere is not known here.
 */
import { aptHosts } from './apt.js'
import { cargoHosts } from './cargo.js'
import { goHosts } from './go.js'
import { npmHosts } from './npm.js'
import { pipHosts } from './pip.js'
import { type Machine, ToolConfig, type ToolFinding } from './tool-config.js'
import type { ToolName } from './tool-names.js'

export type ToolHosts = Readonly<Record<ToolName, ToolFinding>>

const READERS: Readonly<Record<ToolName, (config: ToolConfig) => void>> = {
  node: npmHosts,
  python: pipHosts,
  debian: aptHosts,
  rust: cargoHosts,
  go: goHosts,
}

/** Reads only for the bundles that are wanted; the others have no hosts. Never throws: what can't be read is a problem of that tool. */
export function readToolHosts(machine: Machine, wanted: readonly string[]): ToolHosts {
  const entries = Object.entries(READERS).map(([name, read]): [string, ToolFinding] => {
    const config = new ToolConfig(machine)
    if (wanted.includes(name)) read(config)
    return [name, config.finding()]
  })
  return Object.fromEntries(entries) as unknown as ToolHosts
}
