/** Compiles the load generator, and gives it a folder in memory for its files; both are gone after `body`. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SOURCE = fileURLToPath(new URL('load.c', import.meta.url))

export async function withLoad(body) {
  const dir = mkdtempSync('/dev/shm/sluice-bench-')
  try {
    const program = join(dir, 'load')
    execFileSync('gcc', ['-O1', '-Wall', '-o', program, SOURCE], { stdio: ['ignore', 'ignore', 'inherit'] })
    return await body(program, dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
