/** The archives of apt, in both forms of its lists; through a proxy where one is configured. */
import type { ToolConfig } from './tool-config.js'

const FOLDER = '/etc/apt/sources.list.d'

export function aptHosts(config: ToolConfig): void {
  const proxies = ['/etc/apt/apt.conf', ...inFolder(config, '/etc/apt/apt.conf.d', [''])].flatMap((file) => {
    const text = config.file(file) ?? ''
    return [...text.matchAll(/^\s*Acquire::https?::Proxy\s+"(https?:[^"]+)"/gim)].map(([, url = '']) => ({ url, file }))
  })
  for (const { url, file } of proxies) config.add(url, `the proxy in ${file}`)
  for (const file of ['/etc/apt/sources.list', ...inFolder(config, FOLDER, ['.list'])]) {
    for (const [, url = ''] of (config.file(file) ?? '').matchAll(/^\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s+)?(\S+)/gm))
      add(config, url, file)
  }
  for (const file of inFolder(config, FOLDER, ['.sources'])) {
    for (const stanza of (config.file(file) ?? '').split(/\n\s*\n/)) {
      if (/^Enabled:\s*no\s*$/im.test(stanza)) continue
      for (const [, urls = ''] of stanza.matchAll(/^URIs:\s*(.+(?:\n[ \t].+)*)/gim)) {
        for (const url of urls.split(/\s+/)) if (url !== '') add(config, url, file)
      }
    }
  }
}

function inFolder(config: ToolConfig, folder: string, endings: readonly string[]): string[] {
  return config.names(folder, endings).map((name) => `${folder}/${name}`)
}

/** Archives on this machine and on disks need no network. */
function add(config: ToolConfig, url: string, file: string): void {
  if (/^https?:/.test(url)) config.add(url, `an archive in ${file}`)
}
