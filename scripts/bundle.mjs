/**
 * `npm run bundle -- DIR`: what an installation needs to run and nothing that is needed to build it, in a new folder. A node's package, an
 * image and a copy to /opt are made from it. The folder must not be there yet, so that nothing old is left in it.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { build } from './build.mjs'
import { root } from './project.mjs'
import { captureOrFail, exitOnFailure, StepFailure, say } from './run-command.mjs'
import { setup } from './setup.mjs'

const PARTS = ['bin', 'dist', 'build/Release', 'proto', 'LICENSE', 'README.md', 'CHANGELOG.md']
/** Dependencies because `npm install` of a checkout builds the addon; the built addon needs none of them. */
const BUILD_ONLY = ['cmake-js', 'node-addon-api', 'node-api-headers']
/** In dist/ as far as it is needed; it would bring 25 MB of what is not. */
const BUNDLED = ['@opentelemetry/otlp-transformer']
/** Sources, and binaries for other systems. */
const SQLITE = 'node_modules/@photostructure/sqlite'
const OF_OTHERS = [
  'src',
  'prebuilds/darwin-arm64',
  'prebuilds/darwin-x64',
  'prebuilds/win32-arm64',
  'prebuilds/win32-x64',
]

async function main() {
  const [target, ...more] = process.argv.slice(2)
  if (target === undefined || more.length > 0) throw new StepFailure('bundle: usage: npm run bundle -- DIR')
  const dir = resolve(process.env.INIT_CWD ?? process.cwd(), target)
  if (existsSync(dir)) throw new StepFailure(`bundle: ${dir} is there already; remove it or name another folder`)
  await setup({ purposes: ['build'] })
  await build()
  mkdirSync(dir, { recursive: true })
  try {
    await fill(dir)
  } catch (error) {
    rmSync(dir, { recursive: true, force: true })
    throw error
  }
  say(`bundle: ${dir} is complete; start it by ${join(dir, 'bin/sluice')}`)
}

async function fill(dir) {
  for (const part of PARTS) cpSync(join(root, part), join(dir, part), { recursive: true, filter: isRunTime })
  for (const file of ['package.json', 'package-lock.json']) cpSync(join(root, file), join(dir, file))
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  await npm(dir, ['ci', '--omit=dev', ...quiet])
  await npm(dir, ['uninstall', '--no-save', '--omit=dev', ...quiet, ...BUILD_ONLY, ...BUNDLED])
  for (const part of OF_OTHERS) rmSync(join(dir, SQLITE, part), { recursive: true, force: true })
  rmSync(join(dir, 'package-lock.json'))
  // What is left of it is what Node reads: that the code is made of modules, and which version it is.
  const { name, version, license, type, bin, engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const manifest = { name, version, license, private: true, type, bin, engines }
  writeFileSync(join(dir, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
}

function npm(cwd, args) {
  return captureOrFail('npm', args, 'bundle: npm failed: see above', { cwd })
}

function isRunTime(path) {
  return !path.endsWith('.map')
}

await exitOnFailure(main)
