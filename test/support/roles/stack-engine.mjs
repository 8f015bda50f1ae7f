// An engine that does nothing but hold its config against the contract.
import { runRole } from '../../../build/js/base/role-process.js'
import { requireKeys } from './require-keys.mjs'

runRole({
  name: 'engine',
  parse: requireKeys({
    uplinkSocket: 'string',
    controlSocket: 'string',
    user: 'object|string',
    uplinkUids: 'object',
    controlUids: 'object',
    supervisorPid: 'number',
    agent: 'object',
    sensorPid: 'object|number',
    stateFile: 'object|string',
    'gateway?': 'object',
    logLevel: 'string',
  }),
  start: async () => ({ stop: async () => {} }),
})
