// Stands where the sensor's sweep does: removes the run directories below its argument, or leaves them and exits 1 if a file `keep`
// is beside them.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const runtimeDir = process.argv[2]
if (existsSync(join(runtimeDir, 'keep'))) process.exit(1)
for (const name of readdirSync(runtimeDir)) {
  if (name.startsWith('run-')) rmSync(join(runtimeDir, name), { recursive: true })
}
