/** Makes the first file system of a guest: busybox, the few modules it takes to reach the host's files and to run tests, and the script that does. */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { captureOrFail, StepFailure } from '../../scripts/run-command.mjs'
import { withSbin } from './kernels.mjs'

/** The last is what tests make links of: nothing loads a module later. */
const MODULES = ['virtio_pci', 'virtiofs', 'overlay', 'veth']
const INIT = fileURLToPath(new URL('guest/init.sh', import.meta.url))
const UNPACKERS = { xz: 'xz', zst: 'zstd', gz: 'gzip' }
const MODULE_MAX_BYTES = 64 * 1024 * 1024

/** Writes the archive to `file`. @param {{ release: string, dir: string }} kernel */
export async function writeInitramfs(kernel, file) {
  const tree = `${file}.tree`
  rmSync(tree, { recursive: true, force: true })
  for (const folder of ['bin', 'modules', 'proc', 'sys', 'dev', 'lower', 'upper', 'root']) {
    mkdirSync(join(tree, folder), { recursive: true })
  }
  copyFileSync('/bin/busybox', join(tree, 'bin/busybox'))
  copyFileSync(INIT, join(tree, 'init'))
  chmodSync(join(tree, 'init'), 0o755)
  const names = []
  for (const path of await modulePaths(kernel)) {
    const name = basename(path).replace(/\.(xz|zst|gz)$/, '')
    writeFileSync(join(tree, 'modules', name), unpacked(path))
    names.push(name)
  }
  writeFileSync(join(tree, 'modules/list'), names.map((name) => `${name}\n`).join(''))
  await captureOrFail('sh', ['-c', 'find . | cpio -o -H newc --quiet > "$1"', 'sh', file], 'test:vm: cpio failed', {
    cwd: tree,
  })
  rmSync(tree, { recursive: true })
}

/** In the order of loading, each once. What is built into the kernel is not among them. */
async function modulePaths({ release, dir }) {
  const paths = new Set()
  for (const module of MODULES) {
    const args = ['-d', dir, '-S', release, '--show-depends', module]
    const output = await captureOrFail('modprobe', args, `test:vm: ${release} has no module ${module}`, withSbin())
    for (const [, path] of output.matchAll(/^insmod (\S+)/gm)) paths.add(path)
  }
  return paths
}

function unpacked(path) {
  const unpacker = UNPACKERS[path.split('.').at(-1)]
  if (unpacker === undefined) return readFileSync(path)
  const { status, stdout } = spawnSync(unpacker, ['-dc', path], { maxBuffer: MODULE_MAX_BYTES })
  if (status !== 0) throw new StepFailure(`test:vm: ${path} could not be unpacked by ${unpacker}`)
  return stdout
}
