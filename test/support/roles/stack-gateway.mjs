// A gateway that does nothing but hold its config against the contract.
import { runRole } from '../../../build/js/base/role-process.js'
import { requireKeys } from './require-keys.mjs'

runRole({
  name: 'gateway',
  parse: requireKeys({
    socket: 'string',
    mailbox: 'object',
    user: 'object|string',
    resolvers: 'object',
    rate: 'object',
    counts: 'string',
    logLevel: 'string',
  }),
  start: async () => ({ stop: async () => {} }),
})
