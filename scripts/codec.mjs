// Generates src/proto/generated/codec.{js,d.ts} from proto/: the one place for the generator's flags. Whether it is time to do so is
// for the caller to say; dist/ needs a copy of codec.js, which tsc does not make.
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOTS = ['sluice/v1/control.proto', 'sluice/v1/gateway.proto', 'sluice/v1/policy.proto', 'sluice/v1/sensor.proto']

// force-long keeps 64-bit fields exact: Long objects in memory, bigint through src/proto/codec.ts. What nobody calls is left out.
const FLAGS = [
  ...['-t', 'static-module', '-w', 'esm', '-d', '--force-long'],
  ...['--no-create', '--no-verify', '--no-convert', '--no-typeurl', '--no-delimited', '--no-service'],
]

/** Throws, with what pbjs wrote to stderr, if a .proto file is not right. */
export function generateCodec({ root }) {
  const out = join(root, 'src/proto/generated')
  mkdirSync(out, { recursive: true })
  const args = [...FLAGS, '-p', join(root, 'proto'), '-o', join(out, 'codec.js'), ...ROOTS]
  execFileSync(join(root, 'node_modules/.bin/pbjs'), args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  generateCodec({ root: fileURLToPath(new URL('..', import.meta.url)) })
}
