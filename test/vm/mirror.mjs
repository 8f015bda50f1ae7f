/** Where Debian's packages come from: the mirror that this machine's own apt takes its release from, so that a company's own just works. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { StepFailure } from '../../scripts/run-command.mjs'

/** Takes the mirror's place where apt can't tell, on a machine that is no Debian say. */
const VARIABLE = 'SLUICE_DEBIAN_MIRROR'

/** The mirror's URI. Throws a StepFailure where there is none. */
export function debianMirror() {
  const given = process.env[VARIABLE]
  if (given) return given
  const release = /^VERSION_CODENAME=(\S+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  const format = ['--format', '$(REPO_URI) $(RELEASE) $(COMPONENT)']
  const { stdout } = spawnSync('apt-get', ['indextargets', ...format, 'Created-By: Packages'], { encoding: 'utf8' })
  const targets = (stdout ?? '').split('\n').map((line) => line.split(' '))
  const found = targets.find(([, suite, component]) => suite === release && component === 'main')
  if (found?.[0]) return found[0]
  throw new StepFailure(`test:vm: apt knows no mirror of Debian here; give one by ${VARIABLE}=URI`)
}
