/**
 * The programs for io_uring (bpf/uring.bpf.c), in an object that shares the core's maps: a kernel that has no place for them loses
 * nothing else, and `degraded` says what. They are never pinned: between two sensors of an agent io_uring goes unseen, which spares a
 * hand-over of requests that are under way.
 */
import { messageOf } from '../base/error.js'
import type { Addon, BpfObject } from '../native/addon.js'
import { OPTIONAL_PLAN, type PlannedProgram, URING_OBJECT } from './attach-plan.js'

const SWEEP_PROGRAM = 'sl_uring_sweep'
const SWEEP_ALL_PROGRAM = 'sl_uring_sweep_all'

export interface UringPrograms {
  /** What is attached, as events call it. */
  readonly hooks: readonly string[]
  /** For `degraded`. */
  readonly degraded: readonly string[]
  /** Has requests told whose end nothing told: those that are late, or all that are under way. */
  tell(which: 'late' | 'all'): void
  /** Times that the kernel skipped one of the programs. */
  skipped(): number
  close(): void
}

/** @param core loaded */
export function openUringPrograms(addon: Addon, core: BpfObject): UringPrograms {
  const why: string[] = []
  for (const submit of OPTIONAL_PLAN[0] ?? []) {
    try {
      return attachedPrograms(addon, core, [submit, ...OPTIONAL_PLAN.slice(1).flat()])
    } catch (error) {
      why.push(messageOf(error))
    }
  }
  return {
    ...{ hooks: [], degraded: [`io_uring: goes unseen, as its programs do not load here: ${why.join('; ')}`] },
    ...{ tell() {}, skipped: () => 0, close() {} },
  }
}

function attachedPrograms(addon: Addon, core: BpfObject, planned: readonly PlannedProgram[]): UringPrograms {
  const object = addon.openObject(URING_OBJECT)
  try {
    const wanted = new Set([SWEEP_PROGRAM, SWEEP_ALL_PROGRAM, ...planned.map(({ program }) => program)])
    for (const program of object.programs()) object.setAutoload(program, wanted.has(program))
    object.shareMaps(core)
    object.load()
    // Ends first: no request is kept that nobody would end.
    for (const { program } of planned.toReversed()) object.attach(program)
  } catch (error) {
    object.close()
    throw error
  }
  return {
    hooks: planned.map(({ hook }) => hook),
    degraded: [],
    tell: (which) => void object.iterate(which === 'all' ? SWEEP_ALL_PROGRAM : SWEEP_PROGRAM),
    skipped: () => planned.reduce((sum, { program }) => sum + object.programInfo(program).recursionMisses, 0),
    close: () => object.close(),
  }
}
