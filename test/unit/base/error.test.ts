import { describe, expect, it } from 'vitest'
import { errnoCode, messageOf, SluiceError } from '../../../src/base/error.js'
import { errorToMessage, messageToError, parseRoleMessage } from '../../../src/base/role-message.js'

describe('SluiceError', () => {
  it('carries code, message, hint and cause', () => {
    const cause = new Error('no')
    const error = new SluiceError('IO', "can't read x", { hint: 'make it readable', cause })
    expect(error).toMatchObject({ name: 'SluiceError', code: 'IO', message: "can't read x", hint: 'make it readable' })
    expect(error.cause).toBe(cause)
    expect(new SluiceError('IO', 'x')).toMatchObject({ hint: null })
    expect('cause' in new SluiceError('IO', 'x')).toBe(false)
  })
})

describe('a role message', () => {
  it('brings an error of ours across with code and hint', () => {
    const error = new SluiceError('KERNEL', 'not loaded', { hint: 'see the log' })
    const message = parseRoleMessage(JSON.parse(JSON.stringify({ error: errorToMessage(error) })))
    if (message === null || !('error' in message)) throw new Error('not an error message')
    expect(messageToError(message.error)).toMatchObject({ code: 'KERNEL', message: 'not loaded', hint: 'see the log' })
  })

  it('makes anything else thrown an INTERNAL error', () => {
    expect(errorToMessage(new TypeError('x is not a function'))).toMatchObject({ code: 'INTERNAL', hint: null })
    expect(errorToMessage('text')).toMatchObject({ code: 'INTERNAL', message: 'text' })
  })

  it.each([
    null,
    1,
    'ready',
    {},
    { ready: false },
    { error: { code: 'NOPE', message: 'x' } },
    { error: { code: 'IO' } },
  ])('is not %j', (raw) => {
    expect(parseRoleMessage(raw)).toBeNull()
  })
})

it('reads what was thrown, whatever it was', () => {
  expect(messageOf(new Error('a'))).toBe('a')
  expect(messageOf(undefined)).toBe('undefined')
  expect(errnoCode(Object.assign(new Error('a'), { code: 'ENOENT' }))).toBe('ENOENT')
  expect(errnoCode(new Error('a'))).toBeNull()
})
