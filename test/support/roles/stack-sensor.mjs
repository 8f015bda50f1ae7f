// A sensor that does nothing but hold its config against the contract.
import { runRole } from '../../../build/js/base/role-process.js'
import { requireKeys } from './require-keys.mjs'

runRole({
  name: 'sensor',
  parse: requireKeys({
    uplinkSocket: 'string',
    runtimeDir: 'string',
    runDir: 'string',
    mailbox: 'object',
    spool: 'object',
    logLevel: 'string',
    flushMs: 'object',
    ringBytes: 'object',
  }),
  start: async () => ({ stop: async () => {} }),
})
