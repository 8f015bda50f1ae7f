import { describe, expect, it } from 'vitest'
import { launch, launchNow } from '../../support/launcher.js'
import { privileged } from '../../support/privileged.js'

const { skip, reason } = privileged('root')
/** Of capability.h: NET_ADMIN, NET_RAW, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, PERFMON, BPF. */
const DROPPED = [12n, 13n, 16n, 17n, 19n, 21n, 22n, 38n, 39n].reduce((set, capability) => set | (1n << capability), 0n)
const SETS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']
const FREE_ID = 64_321
const show = ['cat', '/proc/self/status']
const ids = ['sh', '-c', 'id -u; id -g; id -G; echo $HOME $USER $LOGNAME']

function capabilities(status: string): Record<string, bigint> {
  return Object.fromEntries(
    SETS.map((set) => [set, BigInt(`0x${new RegExp(`^${set}:\\s*(\\w+)$`, 'm').exec(status)?.[1]}`)]),
  )
}

describe.skipIf(skip)(`the launcher as root ${reason}`, () => {
  it('takes what makes a process master of the host out of every set', async () => {
    const own = capabilities((await launchNow({ command: show, options: ['--keep-privileges'] })).stdout)
    const left = capabilities((await launchNow({ command: show })).stdout)
    for (const set of SETS) {
      expect((left[set] ?? 0n) & DROPPED, set).toBe(0n)
      // and nothing else
      expect(left[set], set).toBe((own[set] ?? 0n) & ~DROPPED)
    }
  })

  it('keeps them with --keep-privileges', async () => {
    const own = capabilities((await launchNow({ command: show, options: ['--keep-privileges'] })).stdout)
    expect((own.CapBnd ?? 0n) & DROPPED).not.toBe(0n)
  })

  it('keeps them out even where new privileges are allowed and a root exec would bring them back', async () => {
    const left = capabilities((await launchNow({ command: show, options: ['--new-privs'] })).stdout)
    expect((left.CapEff ?? 0n) & DROPPED).toBe(0n)
    expect((left.CapBnd ?? 0n) & DROPPED).toBe(0n)
  })

  it.each([['nobody'], ['65534']])('becomes user %s with that user’s groups and home', async (user) => {
    const { stdout, status } = await launchNow({ command: ids, options: ['--user', user] })
    expect(status).toBe('')
    const [uid, gid, groups, home] = stdout.trim().split('\n')
    expect(uid).toBe('65534')
    expect(groups).toBe(gid)
    expect(home).toMatch(/^\/\S* nobody nobody$/)
  })

  it('holds no capability as another user', async () => {
    const { stdout } = await launchNow({ command: show, options: ['--user', 'nobody'] })
    const left = capabilities(stdout)
    expect([left.CapPrm, left.CapEff, left.CapInh, left.CapAmb]).toEqual([0n, 0n, 0n, 0n])
    expect(stdout).toMatch(/^Uid:\s65534\s65534\s65534\s65534$/m)
  })

  it('becomes a uid that has no account: no groups, home / and no name', async () => {
    const options = ['--uid', `${FREE_ID}`, '--gid', `${FREE_ID}`]
    const { stdout } = await launchNow({ command: ids, options })
    expect(stdout).toBe(`${FREE_ID}\n${FREE_ID}\n${FREE_ID}\n/\n`)
  })

  it('enters its directory as the user', async () => {
    const result = await launchNow({
      command: ['true'],
      dir: '/root',
      options: ['--uid', `${FREE_ID}`, '--gid', `${FREE_ID}`],
    })
    expect(result).toMatchObject({ code: 125, status: 'chdir 13\n' })
  })

  it('drops nothing it doesn’t have: a user without capabilities can start it', async () => {
    const launched = launch({ command: ['id', '-u'], uid: FREE_ID })
    launched.go('G')
    expect(await launched.result).toMatchObject({ code: 0, stdout: `${FREE_ID}\n`, status: '' })
  })

  it('refuses a user without capabilities who wants new privileges and would keep the bounding set', async () => {
    const launched = launch({ command: ['id', '-u'], uid: FREE_ID, options: ['--new-privs'] })
    launched.go('G')
    expect(await launched.result).toMatchObject({ code: 125, stdout: '', status: 'capabilities 1\n' })
  })
})
