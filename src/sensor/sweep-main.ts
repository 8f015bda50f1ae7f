/** Cleans up once after runs whose sensor died, then exits. Argument: the runtime folder. For a supervisor whose sensor is gone. */
import { createLog } from '../base/log.js'
import { loadAddon } from '../native/addon.js'
import { findCgroupRoot } from './cgroup-root.js'
import { sweepStaleRuns } from './sweep.js'

const runtimeDir = process.argv[2]
if (runtimeDir === undefined) throw new Error('usage: sweep-main RUNTIME_DIR')
const log = createLog({ role: 'sensor', level: 'warn' })
sweepStaleRuns({ addon: loadAddon(), cgroupRoot: findCgroupRoot(), runtimeDir, log })
