import { describe, expect, it } from 'vitest'
import { identify, parsePasswd, resolveRunAs } from '../../../../src/cli/run/account.js'
import type { Identity } from '../../../../src/cli/run/as-invoker.js'
import { ENDED_EARLY, launchMessage } from '../../../../src/cli/run/launch-message.js'
import { parseLaunchFailure } from '../../../../src/cli/run/launcher.js'

describe('the launcher’s status line', () => {
  it('is nothing, or a step and an errno', () => {
    expect(parseLaunchFailure('')).toBeNull()
    expect(parseLaunchFailure('exec 2\n')).toEqual({ stage: 'exec', errno: 2 })
    expect(parseLaunchFailure('what is this')).toEqual({ stage: 'what is this', errno: 0 })
  })

  it.each([
    [{ stage: 'exec', errno: 2 }, "sluice: cannot run 'foo': not found"],
    [{ stage: 'exec', errno: 13 }, "sluice: cannot run 'foo': permission denied"],
    [{ stage: 'exec', errno: 5 }, "sluice: cannot run 'foo': EIO"],
    [{ stage: 'chdir', errno: 2 }, "sluice: cannot start in '/w': no such directory"],
    [{ stage: 'chdir', errno: 20 }, "sluice: cannot start in '/w': is not a directory"],
    [{ stage: 'user', errno: 2 }, "sluice: cannot start 'foo': the user it should run as is not known any more"],
    [
      { stage: ENDED_EARLY, errno: 0, end: { code: 0, signal: 9 } },
      "sluice: 'foo' was not started: the launcher ended while it waited (killed by SIGKILL)",
    ],
    [
      { stage: 'setuid', errno: 1 },
      "sluice: cannot start 'foo': the launcher's step 'setuid' failed: permission denied",
    ],
  ])('%j reads %s', (failure, message) => {
    expect(launchMessage(failure, 'foo', '/w')).toBe(message)
  })

  it('is neutralised', () => {
    expect(launchMessage({ stage: 'exec', errno: 2 }, 'a\u001b[2Jb', '/')).toBe(
      "sluice: cannot run $'a\\e[2Jb': not found",
    )
  })
})

describe('who the command runs as', () => {
  const nobody = { name: 'nobody', uid: 65534, gid: 65534 }
  const ownUsers = ['sys', 'daemon']
  const resolve = (requested: string | null, invoker: Identity | null) => resolveRunAs({ requested, invoker, ownUsers })

  it('is root without new privileges where root started it, and root with them where that was asked for', async () => {
    const same = { user: null, uid: 0, newPrivileges: false, label: 'root', account: null }
    expect(await resolve(null, null)).toEqual(same)
    expect(await resolve('root', nobody)).toMatchObject({ user: 'root', uid: 0, newPrivileges: true, label: 'root' })
    expect(await resolve('00', nobody)).toMatchObject({ user: 'root', uid: 0, newPrivileges: true })
  })

  it('is who called sudo unless another one is named', async () => {
    const ids = { uid: 65534, gid: 65534 }
    expect(await resolve(null, nobody)).toMatchObject({ user: ids, uid: 65534, newPrivileges: false, label: 'nobody' })
    expect(await resolve('bin', nobody)).toMatchObject({ user: 'bin', uid: 2, label: 'bin' })
    expect(await resolve('2', nobody)).toMatchObject({ user: { uid: 2, gid: 2 }, label: 'bin' })
  })

  it('is a uid that has no entry where that one called sudo', async () => {
    const ghost = { uid: 4_000_000, gid: 4_000_001 }
    expect(await identify(ghost)).toEqual({ ...ghost, name: null })
    expect(await resolve(null, { ...ghost, name: null })).toMatchObject({
      ...{ user: ghost, label: '4000000', account: { name: null, home: '/' } },
    })
  })

  it('is known by its uid', async () => {
    expect(await identify({ uid: 65534, gid: 7 })).toEqual({ uid: 65534, gid: 7, name: 'nobody' })
    expect(await identify(null)).toBeNull()
  })

  it.each(['no-such-user', '4000000'])('is nobody that the host does not know: %s', async (user) => {
    await expect(resolve(user, null)).rejects.toMatchObject({
      ...{ code: 'USAGE', message: `--user '${user}': no such user` },
    })
  })

  it('is not the engine’s user, by whichever way', async () => {
    await expect(resolve('daemon', null)).rejects.toMatchObject({
      ...{ code: 'USAGE', message: "--user 'daemon' is who a part of Sluice runs as: a command must not share that" },
    })
    await expect(resolve('1', null)).rejects.toMatchObject({ code: 'USAGE' })
    await expect(resolve(null, { name: 'daemon', uid: 1, gid: 1 })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('is read from a line of passwd', () => {
    const a = { name: 'a', uid: 1, gid: 2 }
    expect(parsePasswd('a:x:1:2:A,,,:/home/a:/bin/zsh')).toEqual({ ...a, home: '/home/a', shell: '/bin/zsh' })
    expect(parsePasswd('a:x:1:2:::')).toEqual({ ...a, home: '/', shell: '/bin/sh' })
    expect(parsePasswd('')).toBeNull()
    expect(parsePasswd('a:x::2:::')).toBeNull()
  })
})
