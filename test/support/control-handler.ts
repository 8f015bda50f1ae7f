/** A control service of which a test serves only the runs, and the caller that its connections come from. */
import type { Caller, ControlHandler, RunServerCall } from '../../src/proto/rpc.js'

export const SELF: Caller = {
  pid: process.pid,
  uid: process.getuid?.() ?? -1,
  gid: process.getgid?.() ?? -1,
  groups: [],
}

export function onlyRuns(run: (call: RunServerCall) => void): ControlHandler {
  const none = () => Promise.reject(new Error('this test does not serve it'))
  return {
    run,
    planRun: none,
    watch: (call) => call.fail('this test does not serve it'),
    listSandboxes: none,
    addSandbox: none,
    changeSandbox: none,
    setPolicy: none,
    listBaselines: none,
    forgetBaseline: none,
  }
}
