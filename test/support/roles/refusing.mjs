// A role that takes any config and can't start.
import { SluiceError } from '../../../build/js/base/error.js'
import { runRole } from '../../../build/js/base/role-process.js'

runRole({
  name: 'fixture',
  parse: (raw) => raw,
  async start() {
    throw new SluiceError('KERNEL', 'the kernel lacks a hook', { hint: 'use a newer one' })
  },
})
