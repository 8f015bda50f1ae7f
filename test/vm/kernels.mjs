/**
 * Brings Debian's kernels here without installing them: package lists and downloads have a folder of their own, and the host's
 * package system is only asked for its keys and its way to the network. A kernel that is here already is not asked for again.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { captureOrFail, report, StepFailure, say } from '../../scripts/run-command.mjs'
import { debianMirror } from './mirror.mjs'

const ATTEMPTS = 2
const RETRY_MS = 5_000
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** The kernels of Debian's stable releases; `suite` is where the meta package leads to this version. */
export const KERNELS = Object.freeze([
  { version: '5.10', suite: 'bullseye' },
  { version: '6.1', suite: 'bookworm' },
  { version: '6.12', suite: 'trixie' },
])

/**
 * Fetches and unpacks one.
 * @returns {Promise<{ release: string, dir: string, image: string }>} dir holds lib/modules/<release>
 */
export async function fetchKernel({ version, suite }, cacheDir) {
  const dir = join(cacheDir, `kernel-${version}`)
  await fetchOnce(`kernel ${version}`, dir, (fresh, aptDir) => unpackPackage(suite, aptDir, fresh))
  const image = readdirSync(join(dir, 'boot')).find((name) => name.startsWith('vmlinuz-'))
  if (image === undefined) throw new StepFailure(`test:vm: the package of kernel ${version} has no vmlinuz`)
  return { release: image.slice('vmlinuz-'.length), dir, image: join(dir, 'boot', image) }
}

async function unpackPackage(suite, aptDir, target) {
  const apt = aptOptions(suite, aptDir)
  const failure = `test:vm: the package lists or the kernel of ${suite} could not be had`
  await captureOrFail('apt-get', [...apt, 'update'], failure)
  const shown = await captureOrFail(
    'apt-cache',
    [...apt, 'show', '--no-all-versions', 'linux-image-cloud-amd64'],
    failure,
  )
  const name = /^Depends: (linux-image-[^\s,]+)/m.exec(shown)?.[1]
  if (name === undefined) throw new StepFailure(`test:vm: linux-image-cloud-amd64 of ${suite} names no kernel`)
  await captureOrFail('apt-get', [...apt, 'download', name], failure, { cwd: aptDir })
  const deb = readdirSync(aptDir).find((file) => file.startsWith(`${name}_`) && file.endsWith('.deb'))
  await captureOrFail('dpkg', ['-x', join(aptDir, deb), target], `test:vm: ${deb} could not be unpacked`)
  // Newer packages have their modules under /usr, where older module tools don't look.
  if (!existsSync(join(target, 'lib'))) symlinkSync('usr/lib', join(target, 'lib'))
  const release = readdirSync(join(target, 'lib', 'modules'))[0]
  await captureOrFail(
    'depmod',
    ['-b', target, release],
    `test:vm: the modules of ${release} could not be sorted`,
    withSbin(),
  )
}

/**
 * Has `fetch` fill a fresh folder, which becomes `dir` only when it is whole; nothing is done where that is there. A download may fail
 * once; that it did is said.
 * @param {(fresh: string, aptDir: string) => Promise<void>} fetch
 */
export async function fetchOnce(what, dir, fetch) {
  const begun = performance.now()
  for (let attempt = 1; !existsSync(dir); attempt += 1) {
    try {
      await fetchInto(dir, fetch)
      say(`test:vm: fetched ${what} in ${((performance.now() - begun) / 1000).toFixed(0)} s; it is kept in ${dir}`)
    } catch (error) {
      report(error)
      if (attempt === ATTEMPTS) throw new StepFailure(notToBeHad(what, dir))
      say(`test:vm: trying once more to fetch ${what}`)
      await sleep(RETRY_MS)
    }
  }
}

const notToBeHad = (what, dir) =>
  `test:vm: ${what} can't be had from the mirror ${debianMirror()}: see above; it is wanted once, then it is kept in ${dir}`

/** What is left over from one that failed is removed, by it or by the next. */
async function fetchInto(dir, fetch) {
  const [fresh, aptDir] = [`${dir}.new`, `${dir}.apt`]
  const clear = () => {
    for (const folder of [fresh, aptDir]) rmSync(folder, { recursive: true, force: true })
  }
  clear()
  for (const folder of [fresh, aptDir]) mkdirSync(folder, { recursive: true })
  try {
    await fetch(fresh, aptDir)
    renameSync(fresh, dir)
  } finally {
    clear()
  }
}

/** Options for apt-get with everything of its own in `dir`. */
export function aptOptions(suite, dir) {
  mkdirSync(join(dir, 'lists', 'partial'), { recursive: true })
  mkdirSync(join(dir, 'archives', 'partial'), { recursive: true })
  writeFileSync(join(dir, 'sources.list'), `deb [signed-by=${KEYRING}] ${debianMirror()} ${suite} main\n`)
  const settings = {
    'Dir::State::Lists': join(dir, 'lists'),
    'Dir::Cache': dir,
    'Dir::Etc::SourceList': join(dir, 'sources.list'),
    'Dir::Etc::SourceParts': '/dev/null',
    'APT::Sandbox::User': 'root', // the folder need not be anybody else's to read
    'Acquire::Retries': '3',
    'APT::Update::Error-Mode': 'any', // a list that could not be fetched is no mere warning
  }
  return ['-q', ...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])]
}

export function withSbin() {
  return { env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` } }
}
