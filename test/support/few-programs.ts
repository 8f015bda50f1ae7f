/** Loads an object without the programs that a test has no use for: the verifier's work is most of what a load costs. */
import type { BpfObject } from '../../src/native/addon.js'

/** Loads it with these programs alone, and with all of its maps. */
export function loadOnly(object: BpfObject, programs: readonly string[]): void {
  for (const program of object.programs()) if (!programs.includes(program)) object.setAutoload(program, false)
  object.load()
}
