import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const CHILD = fileURLToPath(new URL('./abuse-child.mjs', import.meta.url))
const ADDON = fileURLToPath(new URL('../../../build/Release/sluice.node', import.meta.url))
const CALLS = 2_000
const DEADLINE_MS = 20_000

describe('the addon', () => {
  it.each([1, 2])('survives any arguments and receivers (seed %s)', (seed) => {
    const args = ['--expose-gc', CHILD, `${seed}`, `${CALLS}`]
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      timeout: DEADLINE_MS,
    })
    expect({ status, signal, stdout, stderr }).toEqual({ status: 0, signal: null, stdout: `${CALLS}\n`, stderr: '' })
  })

  it('survives an environment that ends with everything open, on the main thread and in workers', () => {
    const worker = `
      const addon = require(${JSON.stringify(ADDON)})
      globalThis.kept = [addon.openObject('core'), addon.openObject('core')]
      addon.lockFile('/proc/self/nothing').release`
    const script = `
      const { Worker } = require('node:worker_threads')
      const addon = require(${JSON.stringify(ADDON)})
      const object = addon.openObject('core')
      const runs = [1, 2, 3].map(() => new Promise((resolve) =>
        new Worker(${JSON.stringify(worker)}, { eval: true }).on('error', () => {}).on('exit', resolve)))
      Promise.all(runs).then(() => console.log(object.programs().length > 0))`
    const { status, signal, stdout } = spawnSync(process.execPath, ['-e', script], {
      encoding: 'utf8',
      timeout: DEADLINE_MS,
    })
    expect({ status, signal, stdout }).toEqual({ status: 0, signal: null, stdout: 'true\n' })
  })
})
