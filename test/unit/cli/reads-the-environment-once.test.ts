import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../../src/base/error.js'
import { commandEnvironment, readEnvironment } from '../../../src/cli/environment.js'

describe('the environment', () => {
  it('turns colour off where NO_COLOR or a dumb terminal says so, unless SLUICE_COLOR says otherwise', () => {
    expect(readEnvironment({}).color).toBeNull()
    expect(readEnvironment({ NO_COLOR: '1' }).color).toBe('never')
    expect(readEnvironment({ NO_COLOR: '' }).color).toBeNull()
    expect(readEnvironment({ TERM: 'dumb' }).color).toBe('never')
    expect(readEnvironment({ NO_COLOR: '1', SLUICE_COLOR: 'always' }).color).toBe('always')
  })

  it('refuses a value that a variable can not have', () => {
    expect(() => readEnvironment({ SLUICE_LOG_LEVEL: 'loud' })).toThrowError(
      new SluiceError('USAGE', "SLUICE_LOG_LEVEL is 'loud': it must be one of silent, error, warn, info, debug"),
    )
    expect(readEnvironment({ SLUICE_LOG_LEVEL: 'debug' }).logLevel).toBe('debug')
  })

  it('gives our own parts more time to start where that is said', () => {
    expect(readEnvironment({}).startDeadlineMs).toBeNull()
    expect(readEnvironment({ SLUICE_START_SECONDS: '90' }).startDeadlineMs).toBe(90_000)
    for (const wrong of ['0', '-1', '1.5', '1000', 'long']) {
      expect(() => readEnvironment({ SLUICE_START_SECONDS: wrong })).toThrowError(
        new SluiceError('USAGE', `SLUICE_START_SECONDS is '${wrong}': it must be 1 to 999`),
      )
    }
  })

  it('knows who called sudo, and nobody where it was root or nonsense', () => {
    const sudo = { SUDO_USER: 'alice', SUDO_UID: '1000', SUDO_GID: '1001' }
    expect(readEnvironment(sudo).invoker).toEqual({ uid: 1000, gid: 1001 })
    expect(readEnvironment({ ...sudo, SUDO_UID: '0' }).invoker).toBeNull()
    expect(readEnvironment({ ...sudo, SUDO_UID: '-1' }).invoker).toBeNull()
    expect(readEnvironment({ SUDO_UID: '1000' }).invoker).toBeNull()
  })

  it('is passed on as it is, or as the other user would have it', () => {
    const environment = readEnvironment({
      PATH: '/bin',
      HOME: '/root',
      USER: 'root',
      SUDO_UID: '1',
      SUDO_GID: '1',
      MAIL: 'm',
    })
    expect(commandEnvironment(environment, null)).toEqual(environment.variables)
    const alice = { name: 'alice', uid: 1, gid: 1, home: '/home/alice', shell: '/bin/zsh' }
    expect(commandEnvironment(environment, alice)).toEqual({
      ...{ PATH: '/bin', HOME: '/home/alice', USER: 'alice', LOGNAME: 'alice', SHELL: '/bin/zsh' },
    })
  })
})
