/** Values that a policy file has in several places: names, paths, ports, ranges, amounts. Each checks what can be checked of it alone. */
import { z } from 'zod'
import { parseRange } from './address-range.js'
import { parseHost } from './parse-host.js'
import { parseByteRate, parseBytes, parseCount, parseDuration, parseRate } from './quantity.js'

export const LIST_MAX = 10_000
const TEXT_MAX = 4_096
const PORT_MAX = 65_535
/** Of one rule; as many as the kernel side keeps for one prefix. */
export const PORT_RANGES_MAX = 8

export const text = z.string().min(1).max(TEXT_MAX)

/** Also the part of a rule's path that tells who said so. */
export const name = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$/, 'a name has lower-case letters, digits and hyphens, at most 64')

const hostFor = (use: 'allow' | 'deny') =>
  text.superRefine((value, context) => {
    const parsed = parseHost(value, use)
    if (!parsed.ok) context.addIssue({ code: 'custom', message: sentence(value, parsed) })
  })
export const host = hostFor('allow')
export const deniedHost = hostFor('deny')

export const cidr = text.superRefine((value, context) => {
  const parsed = parseRange(value)
  if (!parsed.ok) context.addIssue({ code: 'custom', message: sentence(value, parsed) })
})

function sentence(value: string, { problem, hint }: { problem: string; hint: string | null }): string {
  return `"${value}": ${problem}${hint === null ? '' : `; ${hint}`}`
}

const PORTS = 'ports are 1 to 65535, a range is written 8000-8100'
const port = z.int(PORTS).min(1, PORTS).max(PORT_MAX, PORTS)
const portRange = z.string().refine((value) => parsePortRange(value) !== null, PORTS)
export const ports = z
  .array(z.union([port, portRange], PORTS))
  .min(1, 'name a port, or leave ports out')
  .max(PORT_RANGES_MAX, `at most ${PORT_RANGES_MAX} ports or ranges; make two rules of it`)

/** `8000-8100`, and `443` in quotes. */
export function parsePortRange(value: string): readonly [first: number, last: number] | null {
  const [, low = '', high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(value) ?? []
  const [first, last] = [Number(low), Number(high)]
  return low !== '' && first >= 1 && last <= PORT_MAX && first <= last ? [first, last] : null
}

function amount(what: string, parse: (text: string) => unknown) {
  return z.union([z.string(), z.number()], what).refine((value) => parse(String(value)) !== null, what)
}

export const rate = amount('write a rate as 20/s or 60/min', parseRate)
export const byteRate = amount('write a rate as 5MiB/s', parseByteRate)
export const bytes = amount('write a size as 512MiB or 4GiB', parseBytes)
export const count = amount('write a count as 512, 20k or 5M', parseCount)
export const duration = amount('write a time as 30s, 10min or 2h', parseDuration)

const sha256 = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'a hash is sha256: and 64 hexadecimal digits in lower case')
export const absolutePath = z
  .string()
  .max(TEXT_MAX)
  .refine(
    (value) => /^\/[^\0]*$/.test(value) && !/(^|\/)\.\.?(\/|$)|\/\//.test(value),
    'a path begins with / and has no . or .. in it',
  )
/** sun_path of struct sockaddr_un */
const SOCKET_NAME_MAX = 108
export const unixSocket = z
  .string()
  .refine(
    (value) => (value.startsWith('@') ? /^@[^\0]+$/.test(value) : absolutePath.safeParse(value).success),
    'a path begins with / and has no . or .. in it; an abstract name begins with @',
  )
  .refine(
    (value) => Buffer.byteLength(value) <= SOCKET_NAME_MAX,
    `the name of a socket has at most ${SOCKET_NAME_MAX} bytes`,
  )

const BINARY = 'a binary is a path that begins with /, or sha256: and 64 hexadecimal digits'
export const binary = z
  .array(
    z.string().superRefine((value, context) => {
      const fits = value.startsWith('sha256:') ? sha256 : absolutePath
      if (fits.safeParse(value).success) return
      const bare = /^[0-9a-f]{64}$/.test(value) ? `; write sha256:${value}` : ''
      context.addIssue({ code: 'custom', message: `"${value}": ${BINARY}${bare}` })
    }),
  )
  .min(1, 'name a binary, or leave binary out')
  .max(LIST_MAX)

/** Absolute, below a variable or home, or a glob. */
export const filePath = text.refine(
  (value) => /^(\/|~(\/|$)|\$(WORKDIR|HOME)(\/|$)|\*\*\/)/.test(value),
  'a path begins with /, ~/, $WORKDIR, $HOME or **/',
)
