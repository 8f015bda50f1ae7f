/**
 * The process that runs the sinks, as an agent starts it. `faults`: a spool of many events goes through a receiver that fails one request in five; all have to
 * arrive, few of them twice, in memory that is bounded. `load`: an agent with a journal, a spool and two sinks while files are opened at a steady
 * rate; what engine and sinks take of a CPU. Both by default. Fails where something is missing.
 *
 *   node bench/run.mjs sinks [faults EVENTS | load RATE SECONDS]     `load` needs root and gcc
 */
import { runFaults } from './faults.mjs'
import { runLoad } from './load.mjs'

export async function run([which, ...args] = []) {
  if (which !== 'load') await runFaults(args)
  if (which !== 'faults') await runLoad(args)
}
