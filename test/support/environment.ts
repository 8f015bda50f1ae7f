/**
 * What every test finds in its environment: a journal of the tests' own, so that no run of theirs leaves anything in the machine's; and the
 * system's programs before a version manager's stand-ins, each of which is a shell script that starts a dozen others.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

const SYSTEM = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

export default function setup(): () => void {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-test-journal-'))
  // The engine's user must get in.
  chmodSync(dir, 0o755)
  process.env.SLUICE_JOURNAL = dir
  // Node first: this one, whatever the system has.
  process.env.PATH = [...new Set([dirname(process.execPath), ...SYSTEM, ...pathOf(process.env)])].join(delimiter)
  return () => rmSync(dir, { recursive: true, force: true })
}

function pathOf({ PATH = '' }: NodeJS.ProcessEnv): string[] {
  return PATH.split(delimiter).filter((folder) => folder !== '')
}
