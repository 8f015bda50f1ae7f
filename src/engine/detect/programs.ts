/**
 * What programs are for, by their names: those that only run another one, those that build, those that install. One list of each, for whoever asks.
 * Guards that a file that the session itself may have put there is not taken at its name.
 */

/** Programs that only run another one, in their place or below them. */
export const WRAPPERS: ReadonlySet<string> = new Set([
  ...['env', 'timeout', 'nice', 'ionice', 'sudo', 'doas', 'su', 'setsid', 'nohup', 'stdbuf', 'time', 'chrt', 'taskset'],
  ...['unshare', 'setpriv', 'prlimit', 'catchsegv', 'unbuffer', 'script'],
])

/** Words of the shell that do the same. */
export const WRAPPING_WORDS: ReadonlySet<string> = new Set([...WRAPPERS, 'exec', 'command', 'builtin'])

/** What they write are programs, and that is what they are for. */
const BUILDERS: ReadonlySet<string> = new Set([
  ...['ld', 'ld.bfd', 'ld.gold', 'ld.lld', 'lld', 'mold', 'collect2', 'as', 'cc1', 'cc1plus', 'tcc', 'rustc', 'link'],
  ...['go', 'compile', 'swiftc', 'ghc', 'ocamlopt', 'zig', 'strip', 'objcopy', 'libtool', 'install', 'ranlib', 'ar'],
])

/** They bring programs and settings from where an operator says, and are asked for by name. */
const INSTALLERS: ReadonlySet<string> = new Set([
  ...['apt', 'apt-get', 'aptitude', 'dpkg', 'rpm', 'dnf', 'yum', 'zypper', 'apk', 'pacman', 'brew', 'snap', 'nix'],
  ...['npm', 'npx', 'pnpm', 'yarn', 'corepack', 'bun', 'deno', 'pip', 'pip3', 'pipx', 'uv', 'uvx', 'poetry', 'conda'],
  ...['mamba', 'micromamba', 'cargo', 'rustup', 'gem', 'bundle', 'composer', 'go', 'mvn', 'gradle', 'nuget', 'dotnet'],
  ...['virtualenv', 'npm-cli', 'npx-cli', 'pnpm.cjs', 'adduser', 'useradd', 'groupadd', 'addgroup', 'usermod'],
  ...['update-alternatives', 'ldconfig', 'mandb', 'update-ca-certificates', 'locale-gen', 'deb-systemd-helper'],
])
const INSTALLING_MODULES: ReadonlySet<string> = new Set(['pip', 'venv', 'ensurepip', 'virtualenv', 'poetry', 'uv'])
const INTERPRETER = /^(?:node|nodejs|bun|deno|python[\d.]*|pypy[\d.]*|ruby[\d.]*|perl[\d.]*|php[\d.]*|sh|bash|dash)$/
const WITHOUT_ENDING = /\.(?:[cm]?js|py|rb|pl|sh)$/

type Program = { readonly exe: string; readonly args: readonly string[] }

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Names by which it goes: its own; of an interpreter that of its script or module, too. */
export function namesOf({ exe, args }: Program): string[] {
  const own = baseName(exe === '' ? (args[0] ?? '') : exe)
  if (!INTERPRETER.test(own)) return [own]
  const at = args.findIndex((argument, index) => index > 0 && (argument === '-m' || !argument.startsWith('-')))
  const script = args[at === -1 ? args.length : args[at] === '-m' ? at + 1 : at]
  return script === undefined ? [own] : [own, baseName(script).replace(WITHOUT_ENDING, '')]
}

/** A place where a session writes: a program there is not what its name says. */
export function isOwnPlace(path: string, workdir: string): boolean {
  if (/^\/(?:tmp|var\/tmp|dev\/shm|run\/user|proc)\//.test(path)) return true
  return workdir !== '' && workdir !== '/' && path.startsWith(`${workdir}/`)
}

export function isBuilder(program: Program, workdir: string): boolean {
  const name = baseName(program.exe).replace(/^[\w]+-linux-(?:gnu|musl)\w*-/, '')
  return BUILDERS.has(name) && !isOwnPlace(program.exe, workdir)
}

export function isInstaller(program: Program, workdir: string): boolean {
  if (isOwnPlace(program.exe, workdir)) return false
  const [own = '', script] = namesOf(program)
  if (INSTALLERS.has(own)) return true
  return script !== undefined && (INSTALLERS.has(script) || INSTALLING_MODULES.has(script))
}

/** One of these, from where the session could not have put it. */
export function isOneOf(names: readonly string[], program: Program, workdir: string): boolean {
  if (isOwnPlace(program.exe, workdir)) return false
  return namesOf(program).some((name) => names.includes(name))
}
