/**
 * Whether a shell's text shows that what it runs is hidden in it, or comes from elsewhere: decoded or fetched, and run at once. Looks at
 * commands as bash reads them. Guards that what only reads data is not taken for it (`curl … | python3 -c …`).
 */
import { isShell, readsCode } from './classify.js'
import { baseName, WRAPPING_WORDS } from './programs.js'
import type { SimpleCommand } from './shell-text.js'

export type Way = 'decode' | 'fetch'
const FETCHERS: ReadonlySet<string> = new Set(['curl', 'wget', 'fetch', 'aria2c', 'http', 'https', 'xh', 'lynx', 'nc'])
const ONLY_DECODES: ReadonlySet<string> = new Set(['uudecode', 'zcat', 'gunzip', 'unxz', 'xzcat', 'bunzip2', 'bzcat'])
/** Programs and the option with which they decode. */
const DECODES: ReadonlyMap<string, RegExp> = new Map([
  ...(['base64', 'base32', 'basenc', 'gbase64'] as const).map(
    (name) => [name, /^(?:-[a-z]*[dD][a-z]*|--decode)$/] as const,
  ),
  ...([
    ['xxd', /^-[a-z]*r/],
    ['openssl', /^-(?:d|decode)$/],
    ['gzip', /^-[a-z]*d/],
    ['xz', /^-[a-z]*d/],
    ['gpg', /^(?:-d|--decrypt)$/],
  ] as const),
])
/** How what is run comes to be, where the text shows it. */
export function wayOf(commands: readonly SimpleCommand[], text: string): Way | null {
  let source: Way | null = null
  for (const { words, isPiped } of commands) {
    const plain = withoutWrappers(words)
    if (!isPiped) source = null
    if (isPiped && source !== null && readsCode(plain)) return source
    source = sourceOf(plain) ?? source
  }
  return substituted(commands, text)
}

/** `eval "$(…)"`, `bash -c "$(…)"`, `bash <(…)`, `. <(…)`: what is inside comes as a command of its own. */
function substituted(commands: readonly SimpleCommand[], text: string): Way | null {
  if (!/[$<]\(|`/.test(text)) return null
  for (const [at, { words }] of commands.entries()) {
    const [name = '', ...rest] = withoutWrappers(words)
    const runs = /^(?:eval|source|\.)$/.test(name) || isShell({ exe: baseName(name), args: [name, ...rest] })
    const inside = rest.find((word) => /^["']?(?:\$\(|`|<\()/.test(word))
    if (!runs || inside === undefined) continue
    // Nobody else's: it stands in this very word.
    const own = commands.slice(at + 1).filter((each) => inside.includes(each.words[0] ?? '\0'))
    const way = own.reduce<Way | null>((found, each) => found ?? sourceOf(withoutWrappers(each.words)), null)
    if (way !== null) return way
  }
  return null
}

function sourceOf(words: readonly string[]): Way | null {
  const [name = '', ...rest] = words
  const program = baseName(name)
  if (FETCHERS.has(program)) return 'fetch'
  if (ONLY_DECODES.has(program)) return 'decode'
  const option = DECODES.get(program)
  return option !== undefined && rest.some((word) => option.test(word)) ? 'decode' : null
}

function withoutWrappers(words: readonly string[]): readonly string[] {
  let at = 0
  while (at < words.length - 1 && WRAPPING_WORDS.has(baseName(words[at] ?? ''))) {
    at += 1
    while (at < words.length - 1 && /^-|^\d+[smhd]?$|^\w+=/.test(words[at] ?? '')) at += 1
  }
  return words.slice(at)
}
