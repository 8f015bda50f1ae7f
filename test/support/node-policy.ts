/** Policies of a node for tests, and who tries what they refuse. */
import { PORT } from './test-network.js'

/** ADDRESS TOKEN; for whoever runs it, so nothing that is in somebody's home. */
export const CONNECT = [
  ...['bash', '-c'],
  `out=$( (printf %s "$1" > /dev/tcp/$0/${PORT}) 2>&1 ) && echo sent || case "$out" in *"not permitted"*) echo EPERM;; *) echo "$out";; esac`,
]

export function enforcing(name: string, allowed: readonly string[], more = ''): string {
  const rules = allowed.map((address) => `  - cidr: ${address}/32\n    ports: [${PORT}]\n`).join('')
  return `version: 1\nname: ${name}\nmode: enforce\n${more}egress:${rules === '' ? ' []' : `\n${rules}`}\n`
}
