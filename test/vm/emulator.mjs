/**
 * Brings QEMU of Debian 13 here without installing it, with the libraries that it wants: QEMU 7.2 of Debian 12 mixes up the flags
 * register of 6.12 guests, which crash within a minute. Used from its folder by its own loader.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { captureOrFail, StepFailure } from '../../scripts/run-command.mjs'
import { aptOptions, fetchOnce } from './kernels.mjs'

const SUITE = 'trixie'
const TAR_MAX_BYTES = 512 * 1024 * 1024

/** @returns {Promise<string[]>} the command line's beginning */
export async function fetchEmulator(cacheDir) {
  const dir = join(cacheDir, 'qemu')
  await fetchOnce('QEMU', dir, unpackAll)
  const libraries = join(dir, 'usr/lib/x86_64-linux-gnu')
  const data = ['usr/share/qemu', 'usr/share/seabios'].flatMap((folder) => ['-L', join(dir, folder)])
  const loader = [join(libraries, 'ld-linux-x86-64.so.2'), '--library-path', libraries]
  return [...loader, join(dir, 'usr/bin/qemu-system-x86_64'), ...data]
}

async function unpackAll(target, aptDir) {
  const apt = aptOptions(SUITE, aptDir)
  // Nothing counts as installed, so that every library comes along.
  const alone = [...apt, '-o', `Dir::State::status=${join(aptDir, 'status')}`, '-o', 'Debug::NoLocking=1']
  const failure = `test:vm: the package lists or the packages of ${SUITE} could not be had`
  await captureOrFail('apt-get', [...apt, 'update'], failure)
  const install = ['install', '-y', '--download-only', '--no-install-recommends', 'qemu-system-x86']
  await captureOrFail('apt-get', [...alone, ...install], failure)
  const archives = join(aptDir, 'archives')
  for (const deb of readdirSync(archives).filter((file) => file.endsWith('.deb'))) {
    const { stdout } = spawnSync('dpkg', ['--fsys-tarfile', join(archives, deb)], { maxBuffer: TAR_MAX_BYTES })
    const { status } = spawnSync('tar', ['-x', '--keep-directory-symlink', '-C', target], { input: stdout })
    if (status !== 0) throw new StepFailure(`test:vm: ${deb} could not be unpacked`)
  }
}
