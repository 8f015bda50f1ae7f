// A role that does what its config says, for the tests of starting and stopping roles. `journal` is a file that gets a line for each
// thing that happened to it. Uses the built code, as real roles do.
import { appendFileSync } from 'node:fs'
import { SluiceError } from '../../../build/js/base/error.js'
import { runRole } from '../../../build/js/base/role-process.js'

const FOREVER = new Promise(() => {})

runRole({
  name: 'fixture',
  parse(raw) {
    if (typeof raw.behave !== 'string') throw new SluiceError('USAGE', 'behave is missing', { hint: 'say how' })
    return { logLevel: 'silent', ...raw }
  },
  async start(config, { log, fail }) {
    const note = (line) => config.journal && appendFileSync(config.journal, `${line}\n`)
    note(`start ${JSON.stringify({ pid: process.pid, env: process.env, cwd: process.cwd(), config })}`)
    log.info({ behave: config.behave }, 'started')
    switch (config.behave) {
      case 'refuse':
        throw new SluiceError('KERNEL', 'the kernel lacks a hook', { hint: 'use a newer one' })
      case 'break':
        throw new TypeError('x is not a function')
      case 'exit':
        process.exit(9)
        break
      case 'hang-in-start':
        setInterval(() => {}, 1_000)
        await FOREVER
        break
      case 'fail-later':
        setTimeout(() => fail(new SluiceError('IO', 'the engine is gone')), 20)
        break
      case 'crash-later':
        setTimeout(() => {
          throw new Error('a bug')
        }, 20)
        break
    }
    return {
      async stop() {
        note('stop')
        if (config.behave === 'throw-in-stop') throw new Error('can not')
        if (config.behave === 'hang-in-stop') await FOREVER
        if (config.behave === 'block-in-stop') for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
      },
    }
  },
})
