/**
 * Reading the configuration of one tool: files of the machine and of its user, variables, and the addresses found in them. Guards what is
 * taken out of them: host and port, never a user name, a password or a path, of which such files are full.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, reasonOf } from '../../../base/error.js'
import { hostPatternText } from '../../../proto/host-pattern.js'
import { parseHost } from '../parse-host.js'

const FILE_BYTES_MAX = 1024 * 1024
const FILES_MAX = 200
const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'https:': 443, 'http:': 80 }

/** Where to look. */
export interface Machine {
  /** Before every absolute path; empty but in tests. */
  readonly root: string
  /** Of the user who runs the tools; null: none. */
  readonly home: string | null
  /** The user's variables; only those of the tools are used. */
  readonly variables: Readonly<Record<string, string>>
}

export interface ToolHost {
  readonly host: string
  readonly port: number
  /** `registry in /etc/npmrc`. */
  readonly from: string
}

export interface ToolFinding {
  readonly hosts: readonly ToolHost[]
  /** What could not be read or understood. */
  readonly problems: readonly string[]
  /** Files and variables that would have said. */
  readonly looked: readonly string[]
}

export class ToolConfig {
  readonly #machine: Machine
  readonly #hosts = new Map<string, ToolHost>()
  readonly #problems: string[] = []
  readonly #looked: string[] = []

  constructor(machine: Machine) {
    this.#machine = machine
  }

  finding(): ToolFinding {
    return { hosts: [...this.#hosts.values()], problems: this.#problems, looked: this.#looked }
  }

  /** A variable that is set and not empty, else null. */
  variable(name: string): string | null {
    this.#looked.push(`$${name}`)
    return this.#machine.variables[name] || null
  }

  /** Names of variables that match, with their values. */
  variables(pattern: RegExp): [name: string, value: string][] {
    return Object.entries(this.#machine.variables).filter(([name, value]) => pattern.test(name) && value !== '')
  }

  /** `~/` is the user's home. Null where there is no such file. */
  file(path: string): string | null {
    this.#looked.push(path)
    const real = this.#pathOf(path)
    if (real === null) return null
    try {
      const found = statSync(real)
      if (!found.isFile()) return null
      if (found.size > FILE_BYTES_MAX) return this.#problem(`${path} has more than ${FILE_BYTES_MAX} bytes`)
      return readFileSync(real, 'utf8')
    } catch (error) {
      const code = errnoCode(error)
      return code === 'ENOENT' || code === 'ENOTDIR' ? null : this.#problem(`${path}: ${reasonOf(error)}`)
    }
  }

  /** Names in a folder that end in one of these, sorted; none where there is no such folder. */
  names(folder: string, endings: readonly string[]): string[] {
    this.#looked.push(`${folder}/*`)
    const real = this.#pathOf(folder)
    if (real === null) return []
    try {
      const names = readdirSync(real).filter((name) => endings.some((ending) => name.endsWith(ending)))
      return names.sort().slice(0, FILES_MAX)
    } catch {
      return []
    }
  }

  /** An address that a setting has. What is no http or https address is told as a problem. */
  add(url: string, from: string): void {
    const address = this.#parse(url)
    const port = address === null ? undefined : Number(address.port || DEFAULT_PORTS[address.protocol])
    if (address === null || port === undefined || Number.isNaN(port)) {
      return void this.#problem(`${from}: it is no http or https address`)
    }
    const parsed = parseHost(address.hostname)
    if (!parsed.ok) return void this.#problem(`${from}: "${address.hostname}": ${parsed.problem}`)
    const host = hostPatternText(parsed.host)
    const key = `${host}:${port}`
    if (!this.#hosts.has(key)) this.#hosts.set(key, { host, port, from })
  }

  /** Whether `from` makes sense at all: a variable in it that nobody set is left out, with a word. */
  #parse(text: string): URL | null {
    const filled = text.replace(/\$\{(\w+)\}|\$(\w+)/g, (whole, braced?: string, plain?: string) => {
      return this.#machine.variables[braced ?? plain ?? ''] ?? whole
    })
    const address = filled.trim().replace(/^(sparse|git|registry)\+/, '')
    return URL.canParse(address) && /^https?:/.test(address) ? new URL(address) : null
  }

  #pathOf(path: string): string | null {
    const { root, home } = this.#machine
    if (!path.startsWith('~/')) return join(root, path)
    return home === null ? null : join(root, home, path.slice(2))
  }

  #problem(message: string): null {
    this.#problems.push(message)
    return null
  }
}

/** `key = value` lines of an ini file with the section before them; comments left out, quotes taken off. */
export function iniLines(text: string): { section: string; key: string; value: string }[] {
  let section = ''
  return text.split('\n').flatMap((raw) => {
    const line = raw.replace(/^\s*[#;].*/, '').trim()
    const [, name] = /^\[+\s*([^\]]*?)\s*\]+$/.exec(line) ?? []
    if (name !== undefined) section = name
    const [, key, value] = /^([^=[\]]+?)\s*=\s*(.*)$/.exec(line) ?? []
    if (key === undefined || value === undefined) return []
    return [{ section, key: unquoted(key), value: unquoted(value.replace(/\s+#.*$/, '')) }]
  })
}

function unquoted(text: string): string {
  return text.trim().replace(/^(["'])(.*)\1$/, '$2')
}
