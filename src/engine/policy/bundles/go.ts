/** The module proxies and the checksum database of go. */
import { iniLines, type ToolConfig } from './tool-config.js'

/** `go env -w` writes the user's; a release brings the last. The first that has a setting decides. */
const FILES = ['~/.config/go/env', '/usr/local/go/go.env', '/usr/lib/go/go.env', '/usr/share/go/go.env']

export function goHosts(config: ToolConfig): void {
  const proxy = setting(config, 'GOPROXY')
  for (const each of proxy?.value.split(/[,|]/) ?? []) {
    if (!['', 'direct', 'off'].includes(each.trim())) config.add(each, proxy?.from ?? '')
  }
  const sums = setting(config, 'GOSUMDB')
  // A name, then its key, then where it is if not there.
  const [name = 'off', , url] = sums?.value.trim().split(/\s+/) ?? []
  if (name !== 'off') config.add(url ?? `https://${name.replace(/\+.*$/, '')}`, sums?.from ?? '')
}

function setting(config: ToolConfig, wanted: string): { value: string; from: string } | null {
  const value = config.variable(wanted)
  if (value !== null) return { value, from: `$${wanted}` }
  for (const file of FILES) {
    const line = iniLines(config.file(file) ?? '').find(({ key }) => key === wanted)
    if (line !== undefined && line.value !== '') return { value: line.value, from: `${wanted} in ${file}` }
  }
  return null
}
