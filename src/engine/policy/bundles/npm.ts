/** The registries of npm, pnpm and Yarn: `registry` and `@scope:registry`. */
import { iniLines, type ToolConfig } from './tool-config.js'

const FILES = ['/etc/npmrc', '/usr/etc/npmrc', '/usr/local/etc/npmrc', '~/.npmrc', '~/.config/pnpm/rc']

export function npmHosts(config: ToolConfig): void {
  for (const name of ['npm_config_registry', 'NPM_CONFIG_REGISTRY', 'YARN_NPM_REGISTRY_SERVER']) {
    const value = config.variable(name)
    if (value !== null) config.add(value, `$${name}`)
  }
  for (const file of FILES) {
    for (const { key, value } of iniLines(config.file(file) ?? '')) {
      if (key === 'registry' || /^@[^:]+:registry$/.test(key)) config.add(value, `${key} in ${file}`)
    }
  }
  const yarn = config.file('~/.yarnrc.yml') ?? ''
  for (const [, value = ''] of yarn.matchAll(/^\s*npmRegistryServer:\s*["']?([^"'\s]+)/gm)) {
    config.add(value, 'npmRegistryServer in ~/.yarnrc.yml')
  }
}
