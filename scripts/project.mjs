/** Where the checkout is, and whether a module of scripts/ was started by itself or imported by another. */
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')

/** True in the file that node was asked to run. @param {string} url the asking module's import.meta.url */
export function isStartedDirectly(url) {
  const started = process.argv[1]
  return started !== undefined && realpathSync(started) === realpathSync(fileURLToPath(url))
}
