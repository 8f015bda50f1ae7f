import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../../src/base/error.js'
import { childStatus, describeStatus, exitCodeOf } from '../../../src/cli/exit-code.js'
import { exitCodeOfError } from '../../../src/cli/report.js'
import { errnoName, signalName, signalNumber } from '../../../src/cli/system-names.js'

describe('the exit code of run', () => {
  it("is the command's own, or 128 and the signal", () => {
    expect(exitCodeOf(childStatus(0, null), false)).toBe(0)
    expect(exitCodeOf(childStatus(77, null), false)).toBe(77)
    expect(exitCodeOf(childStatus(null, 'SIGKILL'), false)).toBe(137)
    expect(exitCodeOf(childStatus(null, 'SIGTERM'), false)).toBe(143)
  })

  it('is 3 for --fail-on only where the command succeeded', () => {
    expect(exitCodeOf(childStatus(0, null), true)).toBe(3)
    expect(exitCodeOf(childStatus(1, null), true)).toBe(1)
    expect(exitCodeOf(childStatus(null, 'SIGINT'), true)).toBe(130)
  })

  it('is said in words', () => {
    expect(describeStatus({ code: 4, signal: 0 })).toBe('exit 4')
    expect(describeStatus({ code: 0, signal: 11 })).toBe('killed by SIGSEGV')
  })
})

describe('the exit code of other commands', () => {
  it('tells wrong usage from failure', () => {
    expect(exitCodeOfError(new SluiceError('USAGE', 'x'), 2)).toBe(2)
    expect(exitCodeOfError(new SluiceError('IO', 'x'), 2)).toBe(1)
    expect(exitCodeOfError(new TypeError('x'), 2)).toBe(125)
  })
})

describe('names of the system', () => {
  it('are those that people know', () => {
    expect([2, 11, 13, 95, 111, 115].map(errnoName)).toEqual([
      ...['ENOENT', 'EAGAIN', 'EACCES', 'EOPNOTSUPP', 'ECONNREFUSED', 'EINPROGRESS'],
    ])
    expect([6, 9, 29].map(signalName)).toEqual(['SIGABRT', 'SIGKILL', 'SIGIO'])
    expect(errnoName(9999)).toBe('errno 9999')
    expect(signalName(40)).toBe('signal 40')
    expect(signalNumber('SIGTERM')).toBe(15)
  })
})
