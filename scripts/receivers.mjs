/**
 * rsyslog, syslog-ng, nats-server and kcat for the tests of the sinks, unpacked below build/: two system loggers can't both be installed, and none of the four
 * should be for a test, as its service would be started. Nothing of the system is changed; what they need beyond it is unpacked with them.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { hasCommand } from './needs.mjs'
import { root } from './project.mjs'
import { capture, StepFailure, say } from './run-command.mjs'

const PLACE = join(root, 'build/receivers')
/** Each by itself: they exclude each other. */
const RECEIVERS = [['rsyslog', 'rsyslog-gnutls'], ['syslog-ng-core'], ['nats-server'], ['kcat']]
const PROGRAMS = ['sbin/rsyslogd', 'sbin/syslog-ng', 'sbin/nats-server', 'bin/kcat']

/** Where there is no apt-get they are the system's. */
export function hasReceivers() {
  if (!hasCommand('apt-get')) return PROGRAMS.every((program) => hasCommand(basename(program)))
  // A checkout may have those that were enough before.
  return PROGRAMS.every((program) => existsSync(join(PLACE, 'usr', program)))
}

export async function unpackReceivers() {
  if (hasReceivers()) return
  if (!hasCommand('apt-get')) {
    throw new StepFailure(
      'setup: rsyslogd (with its module gtls), syslog-ng, nats-server and kcat are missing, for tests of the sinks',
    )
  }
  const making = `${PLACE}.new`
  rmSync(making, { recursive: true, force: true })
  const archives = join(making, 'archives')
  // apt-get wants it so.
  mkdirSync(join(archives, 'partial'), { recursive: true })
  for (const packages of RECEIVERS) {
    say(`setup: unpacking ${packages.join(' and ')} below build/, for tests of the sinks to have real receivers`)
    await download(packages, archives)
  }
  const fetched = readdirSync(archives).filter((name) => name.endsWith('.deb'))
  for (const name of fetched) await orFail('dpkg-deb', ['-x', join(archives, name), making])
  rmSync(archives, { recursive: true })
  rmSync(PLACE, { recursive: true, force: true })
  renameSync(making, PLACE)
}

/** Only fetched, whatever apt-get says it would remove for it. */
async function download(packages, archives) {
  const options = [
    '-o',
    `Dir::Cache::archives=${archives}`,
    '-o',
    'Debug::NoLocking=1',
    '-o',
    'APT::Sandbox::User=root',
  ]
  const fetch = ['-q', 'install', '-y', '--download-only', '--reinstall', '--no-install-recommends', ...options]
  if ((await apt([...fetch, ...packages])).code === 0) return
  const update = await apt(['-q', 'update'])
  const again = await apt([...fetch, ...packages])
  if (again.code !== 0) throw failure(update.code === 0 ? again.output : `${update.output}\n${again.output}`)
}

async function orFail(command, args) {
  const { code, output } = await capture(command, args)
  if (code !== 0) throw failure(output)
}

function apt(args) {
  return capture('apt-get', args, { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } })
}

function failure(output) {
  return new StepFailure('setup: receivers for tests of the sinks could not be had: see above', output)
}
