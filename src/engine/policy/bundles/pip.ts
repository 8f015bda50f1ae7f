/** The package indexes of pip and uv. */
import { iniLines, type ToolConfig } from './tool-config.js'

const VARIABLES = [
  'PIP_INDEX_URL',
  'PIP_EXTRA_INDEX_URL',
  'UV_DEFAULT_INDEX',
  'UV_INDEX_URL',
  'UV_INDEX',
  'UV_EXTRA_INDEX_URL',
]
const FILES = ['/etc/pip.conf', '/etc/xdg/pip/pip.conf', '~/.config/pip/pip.conf', '~/.pip/pip.conf']
const UV_FILES = ['/etc/uv/uv.toml', '~/.config/uv/uv.toml']

export function pipHosts(config: ToolConfig): void {
  for (const name of VARIABLES) addAll(config, config.variable(name) ?? '', `$${name}`)
  for (const file of FILES) {
    for (const { key, value } of iniLines(joined(config.file(file) ?? ''))) {
      if (/^(extra[-_])?index[-_]url$/.test(key)) addAll(config, value, `${key} in ${file}`)
    }
  }
  for (const file of UV_FILES) {
    for (const { section, key, value } of iniLines(config.file(file) ?? '')) {
      const isIndex = key === 'index-url' || (key === 'url' && /(^|\.)index$/.test(section))
      if (isIndex) addAll(config, value, `${key} in ${file}`)
    }
  }
}

/** One value may have several, and uv lets each have a name: `internal=https://…`. */
function addAll(config: ToolConfig, value: string, from: string): void {
  for (const each of value.split(/\s+/)) if (each !== '') config.add(each.replace(/^[\w-]+=(?=https?:)/, ''), from)
}

/** pip continues a value on lines that begin with a space. */
function joined(text: string): string {
  return text.replace(/\n[ \t]+(?=\S)/g, ' ')
}
