/**
 * What a command has io_uring do, on this kernel, whose requests have another shape than the next one's: each is told once, with the
 * result that the command got. What an operation is that this kernel does not know yet shows in that result.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import type { IKernelEvent } from '../../src/proto/codec.js'
import { encodeTask } from '../../src/sensor/map-values.js'
import { openUringPrograms, type UringPrograms } from '../../src/sensor/uring-programs.js'
import { compiledC } from '../support/compiled.mjs'
import { CoreObject } from '../support/core-object.js'
import { launch } from '../support/launcher.js'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('bpf')
const ENOENT = 2
const EINPROGRESS = 115
const ECANCELED = 125
const PORT = 9
const OPENS = 1000
const [PLAIN, LINKED, ASYNC, SKIP_SUCCESS] = [0, 4, 16, 64]
const SQPOLL = 2
const SANDBOX = 2n ** 40n
const CHANGES = new Map(
  Object.entries(ABI.enums).flatMap(([name, value]) =>
    name.startsWith('SL_CHANGE_') ? [[value as number, name.slice('SL_CHANGE_'.length)] as const] : [],
  ),
)

describe.skipIf(skip)(`io_uring ${reason}`, () => {
  let core: CoreObject
  let uring: UringPrograms
  let dir: string

  beforeAll(() => {
    core = new CoreObject()
    uring = openUringPrograms(core.addon, core.object)
    expect(uring.degraded).toEqual([])
    core.write('sl_sandboxes', 'sl_sandbox', SANDBOX, { id: SANDBOX })
  })

  afterAll(() => {
    uring.close()
    core.close()
  })

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    // Of a test before that ended early.
    core.events()
  })

  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  /** What was told of the program, and what it printed; all that is under way is told at its end. */
  async function run(...args: unknown[]): Promise<{ told: IKernelEvent[]; stdout: string }> {
    const launched = launch({ command: [compiledC('uring'), ...args.map(String)] })
    core.object.updateTask('sl_tasks', launched.child.pid ?? 0, encodeTask(SANDBOX))
    launched.go('G')
    const { code, stdout } = await launched.result
    expect(code).toBe(0)
    uring.tell('all')
    return { told: core.events(), stdout }
  }

  const textOf = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString()

  /** As [what, of what, errno]; nothing of what the program does by calls. */
  function factOf({ fileOpen, fileChange, connect, listen }: IKernelEvent): unknown[][] {
    const name = fileOpen ? textOf(fileOpen.userPath) : ''
    if (/^(made|missing)$/.test(name)) return [['open', name, fileOpen?.error]]
    if (fileChange) {
      const { op, path, newPath, error } = fileChange
      return [[CHANGES.get(op ?? 0), [textOf(path), textOf(newPath)].join(' ').trim(), error]]
    }
    if (connect?.via === ABI.enums.SL_VIA_URING) return [['connect', connect.port, connect.error]]
    if (listen) return [['listen', '', listen.error]]
    return []
  }

  it.each([
    ['done at once', PLAIN, 0],
    ['done by a worker thread of the kernel', ASYNC, 0],
    ['taken by a polling thread of the kernel', PLAIN, SQPOLL],
  ])('%s is told with the results that the command got', async (_how, flags, setup) => {
    const { told, stdout } = await run('all', dir, PORT, flags, setup)
    const results = stdout
      .trim()
      .split(' ')
      .map((result) => Math.abs(Number(result)))
    const asked = [
      ['open', 'made'],
      ['open', 'missing'],
      ['MKDIR', 'dir'],
      ['RENAME', 'made renamed'],
      ['LINK', 'renamed linked'],
      ['SYMLINK', 'nowhere symlink'],
      ['UNLINK', 'renamed'],
      ['RMDIR', 'dir'],
      ['connect', PORT],
      ['connect', PORT],
    ]
    // Behind a socket and a bind. Listening came with 6.11; before, the kernel refuses it before anything could tell.
    const listened = results[asked.length + 2] === 0 ? [['listen', '', 0]] : []
    expect(told.flatMap(factOf)).toEqual([...asked.map((what, index) => [...what, results[index]]), ...listened])
  })

  // The tracepoint for ends stays silent where a ring has no room for a result, or where nobody wants to hear of a success.
  it.each([
    ['a ring without room for their results', PLAIN, [ENOENT, EINPROGRESS]],
    ['links that end with the first that fails', LINKED, [ENOENT, ECANCELED, EINPROGRESS]],
    ['no word of success wanted', SKIP_SUCCESS, [EINPROGRESS]],
  ])('%s: each of many opens is told once all the same', async (_how, flags, known) => {
    const { told } = await run('full', dir, OPENS, flags)
    const opens = told.filter(({ fileOpen }) => textOf(fileOpen?.userPath).startsWith(`${dir}/none-`))
    expect(opens.length).toBe(OPENS)
    expect(new Set(opens.map(({ fileOpen }) => textOf(fileOpen?.userPath))).size).toBe(OPENS)
    const errnos = new Set(opens.map(({ fileOpen }) => fileOpen?.error))
    expect(known).toEqual(expect.arrayContaining([...errnos]))
  })
})
