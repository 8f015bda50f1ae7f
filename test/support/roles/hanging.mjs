// A role that takes any config and never gets ready.
import { runRole } from '../../../build/js/base/role-process.js'

runRole({
  name: 'fixture',
  parse: (raw) => raw,
  async start() {
    setInterval(() => {}, 1_000)
    return new Promise(() => {})
  },
})
