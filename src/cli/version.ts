/** The version of this installation, as its package.json says. */
import { readFileSync } from 'node:fs'
import { MANIFEST } from '../base/installation.js'

export function ownVersion(): string {
  const text = readFileSync(MANIFEST, 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
