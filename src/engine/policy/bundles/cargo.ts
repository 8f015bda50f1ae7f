/** The registries of cargo: sources, what replaces them, and registries by name. */
import { iniLines, type ToolConfig } from './tool-config.js'

const FILES = ['~/.cargo/config.toml', '~/.cargo/config', '/etc/cargo/config.toml']

export function cargoHosts(config: ToolConfig): void {
  for (const [name, value] of config.variables(/^CARGO_REGISTRIES_\w+_INDEX$/)) config.add(value, `$${name}`)
  const cargoHome = config.variable('CARGO_HOME')
  const files = cargoHome?.startsWith('/') === true ? [`${cargoHome}/config.toml`, ...FILES] : FILES
  for (const file of files) {
    for (const { section, key, value } of iniLines(config.file(file) ?? '')) {
      const isSource = /^source\./.test(section) && key === 'registry'
      const isRegistry = /^registries\./.test(section) && key === 'index'
      if (isSource || isRegistry) config.add(value, `${section}.${key} in ${file}`)
    }
  }
}
