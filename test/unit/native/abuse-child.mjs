/**
 * Calls every export of the addon, and every function of what they return, with values drawn from a seed: `node abuse-child.mjs SEED
 * CALLS`. Run as a process of its own by never-crashes.test.ts, because the finding is a signal. Prints how many calls it made.
 * What would act on the machine is only ever given values that it must refuse.
 */
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const addon = createRequire(import.meta.url)(
  fileURLToPath(new URL('../../../build/Release/sluice.node', import.meta.url)),
)
const CODES = ['EINVAL_ARGUMENT', 'ECLOSED', 'ESYSCALL', 'EBPF']

let state = Number(process.argv[2]) >>> 0
const limit = Number(process.argv[3])

/** A number below `bound` (mulberry32). */
function draw(bound) {
  state = (state + 0x6d2b79f5) >>> 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
}

const shared = new Uint8Array(new SharedArrayBuffer(64))
const detached = new Uint8Array(64)
structuredClone(detached.buffer, { transfer: [detached.buffer] })
const values = [
  undefined,
  null,
  true,
  false,
  0,
  -1,
  1,
  2,
  10,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  -0,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  1n,
  2n ** 70n,
  '',
  'core',
  'sl_tasks',
  'sl_ring_priority',
  'sl_exit_hook',
  'sl_connect4',
  '/nonexistent/sluice-test',
  'a\0b',
  '\ud800',
  'x'.repeat(100_000),
  Symbol('s'),
  {},
  [],
  () => {},
  { create: true },
  { create: false },
  { create: 1 },
  {
    get create() {
      throw new Error('getter')
    },
  },
  new Proxy({}, {}),
  new Proxy(() => {}, {}),
  new Uint8Array(0),
  new Uint8Array(8),
  Buffer.alloc(200_000),
  new Uint16Array(8),
  new Float64Array(8),
  new DataView(new ArrayBuffer(8)),
  new ArrayBuffer(8),
  shared,
  detached,
  new Date(0),
  Object.create(null),
  addon,
]

/** What the addon opened: called most, because handles are where a wrong receiver could hurt. */
const handles = []
const HANDLES_MAX = 100

function keep(result) {
  if (result === null || typeof result !== 'object' || ArrayBuffer.isView(result) || Array.isArray(result)) return
  if (!Object.values(result).some((each) => typeof each === 'function') || handles.length >= HANDLES_MAX) return
  handles.push(result)
  values.push(result)
}

/** The call, with any receiver and any arguments; what it throws must be ours, or the value's own. */
function abuse(target) {
  const names = Object.keys(target).filter((name) => typeof target[name] === 'function')
  const name = names[draw(names.length)]
  const args = Array.from({ length: draw(5) }, () => values[draw(values.length)])
  try {
    const receiver = draw(4) === 0 ? values[draw(values.length)] : target
    if (draw(20) === 0) keep(Reflect.construct(target[name], args))
    else keep(Reflect.apply(target[name], receiver, args))
  } catch (error) {
    const ours = CODES.includes(error.code) && typeof error.errno === 'number' && typeof error.argument === 'string'
    if (!ours && error.message !== 'getter') throw error
  }
}

for (let call = 0; call < limit; call += 1) {
  const pool = [addon, ...handles]
  abuse(pool[draw(pool.length)])
  if (call % 250 === 0) {
    try {
      keep(addon.openObject('core'))
    } catch {
      // Out of descriptors or memory: the calls go on without it.
    }
  }
  if (call % 100 === 99) await new Promise((resolve) => setImmediate(resolve))
}
for (const handle of handles) handle.close?.()
globalThis.gc?.()
process.stdout.write(`${limit}\n`)
