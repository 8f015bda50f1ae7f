/** Bundles of package managers: hosts come from the tools' own files and variables, and nothing else comes out of them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rangeText } from '../../../../src/engine/policy/address-range.js'
import { readToolHosts } from '../../../../src/engine/policy/bundles/tool-hosts.js'
import type { ToolName } from '../../../../src/engine/policy/bundles/tool-names.js'
import { ENFORCE, load } from './policies.js'

let root = ''
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sluice-tools-'))
})
afterEach(() => rmSync(root, { recursive: true }))

function file(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

function machine(variables: Record<string, string> = {}) {
  return { root, home: '/home/jo', variables }
}

function hostsOf(tool: ToolName, variables: Record<string, string> = {}): string[] {
  return readToolHosts(machine(variables), [tool])[tool].hosts.map(({ host, port, from }) => `${host}:${port} ${from}`)
}

describe('hosts of a tool', () => {
  it('node: registries of npm, by scope too, and of Yarn', () => {
    file('/etc/npmrc', 'registry = "https://npm.corp.example/repo/"\n; registry=https://old.example\n')
    file('/home/jo/.npmrc', '@own:registry=http://npm.own.example:4873\n//npm.own.example:4873/:_authToken=secret\n')
    file('/home/jo/.yarnrc.yml', 'npmScopes:\n  own:\n    npmRegistryServer: "https://yarn.example"\n')
    expect(hostsOf('node', { npm_config_registry: 'https://jo:pw@env.example/x' })).toEqual([
      'env.example:443 $npm_config_registry',
      'npm.corp.example:443 registry in /etc/npmrc',
      'npm.own.example:4873 @own:registry in ~/.npmrc',
      'yarn.example:443 npmRegistryServer in ~/.yarnrc.yml',
    ])
  })

  it('python: indexes of pip and uv', () => {
    file(
      '/etc/pip.conf',
      '[global]\nindex-url = https://pip.example/simple\nextra-index-url =\n    https://a.example/simple\n    https://b.example\n',
    )
    file(
      '/home/jo/.config/uv/uv.toml',
      '[[index]]\nname = "own"\nurl = "https://uv.example/simple" # ours\n[other]\nurl = "https://no.example"\n',
    )
    expect(hostsOf('python', { UV_INDEX: 'own=https://n.example/simple' })).toEqual([
      'n.example:443 $UV_INDEX',
      'pip.example:443 index-url in /etc/pip.conf',
      'a.example:443 extra-index-url in /etc/pip.conf',
      'b.example:443 extra-index-url in /etc/pip.conf',
      'uv.example:443 url in ~/.config/uv/uv.toml',
    ])
  })

  it('debian: both forms of lists, and the proxy', () => {
    file(
      '/etc/apt/sources.list',
      'deb [arch=amd64 signed-by=/x] http://deb.example/debian stable main\n# deb http://no.example x main\ndeb cdrom:[x]/ a\n',
    )
    file(
      '/etc/apt/sources.list.d/a.sources',
      'Types: deb\nURIs: https://two.example/d\n https://three.example/d\nSuites: x\n\nEnabled: no\nURIs: https://off.example\n',
    )
    file('/etc/apt/sources.list.d/b.sources.disabled', 'URIs: https://disabled.example\n')
    file('/etc/apt/apt.conf.d/01proxy', 'Acquire::http::Proxy "http://proxy.example:3142";\n')
    expect(hostsOf('debian')).toEqual([
      'proxy.example:3142 the proxy in /etc/apt/apt.conf.d/01proxy',
      'deb.example:80 an archive in /etc/apt/sources.list',
      'two.example:443 an archive in /etc/apt/sources.list.d/a.sources',
      'three.example:443 an archive in /etc/apt/sources.list.d/a.sources',
    ])
  })

  it('rust: sources, registries', () => {
    file(
      '/home/jo/.cargo/config.toml',
      '[source.mirror]\nregistry = "sparse+https://crates.example/index/"\n[registries.own]\nindex = "https://own.example/git"\n[net]\nregistry = "https://no.example"\n',
    )
    expect(hostsOf('rust', { CARGO_REGISTRIES_X_INDEX: 'sparse+https://x.example/' })).toEqual([
      'x.example:443 $CARGO_REGISTRIES_X_INDEX',
      'crates.example:443 source.mirror.registry in ~/.cargo/config.toml',
      'own.example:443 registries.own.index in ~/.cargo/config.toml',
    ])
  })

  it('go: proxies and the checksum database; a variable beats files', () => {
    file('/usr/local/go/go.env', 'GOPROXY=https://proxy.example,direct\nGOSUMDB=sum.example\n')
    expect(hostsOf('go')).toEqual([
      'proxy.example:443 GOPROXY in /usr/local/go/go.env',
      'sum.example:443 GOSUMDB in /usr/local/go/go.env',
    ])
    file('/home/jo/.config/go/env', 'GOPROXY=https://one.example|https://two.example\n')
    expect(hostsOf('go', { GOSUMDB: 'off' })).toEqual([
      'one.example:443 GOPROXY in ~/.config/go/env',
      'two.example:443 GOPROXY in ~/.config/go/env',
    ])
  })

  it('are read for the tools that are wanted alone', () => {
    file('/etc/npmrc', 'registry=https://npm.example\n')
    expect(readToolHosts(machine(), ['go']).node).toEqual({ hosts: [], problems: [], looked: [] })
  })
})

describe('a file with a secret', () => {
  it('gives away nothing but hosts, also where it is wrong', () => {
    file(
      '/home/jo/.npmrc',
      'registry=https://jo:hunter2@npm.example/hunter2?hunter2\n@x:registry=hunter2\n@y:registry=ftp://hunter2.example\n',
    )
    const found = readToolHosts(machine(), ['node']).node
    expect(JSON.stringify(found)).not.toContain('hunter2')
    expect(found.problems).toEqual([
      '@x:registry in ~/.npmrc: it is no http or https address',
      '@y:registry in ~/.npmrc: it is no http or https address',
    ])
  })
})

describe('a bundle of a tool', () => {
  it('opens what the tool says, in private networks too but not on this machine', () => {
    file('/etc/npmrc', 'registry=https://npm.corp.example\n')
    const { rules, findings } = load(`${ENFORCE}bundles: [node]\n`, machine())
    expect(findings).toEqual([])
    const [allow] = rules?.allows ?? []
    expect(allow).toMatchObject({
      kind: 'host',
      host: { base: 'npm.corp.example' },
      origin: { path: 'bundles.node[0]', source: 'registry in /etc/npmrc' },
    })
    const ranges = allow?.kind === 'host' ? allow.allowPrivate.map(rangeText) : []
    expect(ranges).toContain('10.0.0.0/8')
    expect(ranges.some((range) => /^(127|169)\./.test(range))).toBe(false)
  })

  it('is an error where the tool says nothing, and the file of a project is not asked', () => {
    file('/.npmrc', 'registry=https://evil.example\n')
    expect(load(`${ENFORCE}bundles: [node]\n`, machine()).rules).toBeNull()
  })

  it('passes no wildcard, address or broken name on', () => {
    file(
      '/etc/npmrc',
      'registry=https://*.example\n@a:registry=http://10.0.0.5:4873\n@b:registry=https://a..b\n@c:registry=https://localhost:4873\n',
    )
    const { node } = readToolHosts(machine(), ['node'])
    expect(node.hosts).toEqual([])
    expect(node.problems).toHaveLength(4)
  })

  it('fills in variables, and leaves out what nobody set', () => {
    file('/etc/npmrc', `@a:registry=https://\${NPM_HOST}/x\n@b:registry=https://\${UNSET}/x\n`)
    expect(hostsOf('node', { NPM_HOST: 'set.example' })).toEqual(['set.example:443 @a:registry in /etc/npmrc'])
  })
})
