/**
 * One sandbox's policy from all that concern it: the node's floors, the node's other policies, those that its user gave, and the file in its
 * working directory. Guards that each layer can only tighten those above it: the user can't widen what the node allows, and the sandbox, which may
 * write to the working directory, can't widen anything.
 */
import { SluiceError } from '../../base/error.js'
import { type Compiled, compileRules } from './compile.js'
import { ownLadders } from './ladders.js'
import { layersOf, mergeLayers } from './merge-rules.js'
import type { Rules } from './rules.js'

export interface PolicyLayers {
  /** That select the sandbox. */
  readonly node: readonly Rules[]
  /** What `--policy` named. */
  readonly own: readonly Rules[]
  readonly workdir: Rules | null
  /** Of `--mode`, for the own ones; null: as they say. */
  readonly ownMode: 'monitor' | null
}

/**
 * Null: none concerns it. Throws USAGE for what can't be enforced together, LIMIT.
 *
 * @param known what rules come to by themselves, where somebody has compiled them already
 */
export function compileLayers(
  { node, own, workdir, ownMode }: PolicyLayers,
  known: (rules: Rules) => Compiled | null = () => null,
): (Compiled & { readonly rules: Rules }) | null {
  const lower = [...layersOf(own), ...(workdir === null ? [] : [[onlyTightens(workdir)]])]
  const merged = mergeLayers([...layersOf(node), ...lower.map((layer) => layer.map((rules) => inMode(rules, ownMode)))])
  if (merged === null) return null
  if (merged.mode === 'enforce' && merged.unjudged.length > 0) {
    throw new SluiceError('USAGE', `${merged.name}: can't be enforced together: ${merged.unjudged.join('; ')}`)
  }
  return { ...(known(merged) ?? compileRules(merged)), rules: merged }
}

/** As with a floor: where it allows nothing by itself, what is above it is not closed. */
function onlyTightens(rules: Rules): Rules {
  return { ...rules, floor: true }
}

/** What follows from the mode where nothing is said follows from this one. */
function inMode(rules: Rules, mode: 'monitor' | null): Rules {
  if (mode === null || rules.mode === mode) return rules
  return { ...rules, mode, wire: null, dns: null, ladders: ownLadders(rules.ladders) }
}
