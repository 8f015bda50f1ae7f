/**
 * A sensor's own process with as many sandboxes as wanted, ordered about as the engine does: by the engine's own commands. The cgroups are
 * made here, and gone afterwards.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createLog } from '../../build/js/base/log.js'
import { walkFrame } from '../../build/js/engine/frame-walk.js'
import { outcomeOf, SensorCommands } from '../../build/js/engine/sensor-commands.js'
import { CommandResult, fromBigInt } from '../../build/js/proto/codec.js'
import { serveUnix } from '../../build/js/proto/rpc.js'
import { startRole } from '../../build/js/supervise/role.js'

const MAIN = new URL('../../dist/sensor/main.js', import.meta.url)
const RING_BYTES = { priority: 1024 * 1024, bulk: 16 * 1024 * 1024 }
const CLOSE_MS = 500

function cgroupMount() {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((each) => each.includes(' - cgroup2 '))
  if (line === undefined) throw new Error('no cgroup v2 hierarchy is mounted here')
  return line.split(' ')[4]
}

/** Commands of the engine to whatever sensor connects. */
async function hostSensor(path) {
  const log = createLog({ role: 'bench', level: 'silent' })
  let current = null
  const uplink = (call) => {
    const commands = new SensorCommands({ send: (message) => call.send(message), isHeld: () => false })
    call.onMessage((raw) => {
      const frame = walkFrame(raw)
      if (frame.kind === 'hello') {
        call.send({ welcome: { engineInstance: 'bench', committedBatchSeq: fromBigInt(0n) } })
        current = commands
      } else if (frame.kind === 'result') commands.result(CommandResult.decode(frame.body))
      else if (frame.kind === 'batch') call.send({ ack: { batchSeq: fromBigInt(frame.batch.batchSeq) } })
    })
    call.onEnd(() => commands.sensorGone('the sensor is gone'))
  }
  const check = () => ({ allowed: true, caller: { pid: 1, uid: 0, gid: 0, groups: [] } })
  const server = await serveUnix({ path, mode: 0o600, check, log, services: { uplink } })
  return { commands: () => current, close: () => server.close(CLOSE_MS) }
}

/** `body` gets the sensor's pid and ways to order it about. */
export async function withPolicedSensor(body) {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const uplinkSocket = join(dir, 'uplink.sock')
  const runDir = join(dir, 'run')
  mkdirSync(runDir)
  const host = await hostSensor(uplinkSocket)
  const cgroups = []
  const config = {
    ...{
      logLevel: process.env.LL ?? 'warn',
      flushMs: { priority: 1, bulk: 5 },
      ringBytes: RING_BYTES,
      runtimeDir: dir,
      runDir,
    },
    ...{ uplinkSocket, spool: { dir: join(runDir, 'spool'), bytesMax: 16 * 1024 * 1024 } },
  }
  const sensor = await startRole({ name: 'sensor', main: MAIN, config, readyDeadlineMs: 30_000 })
  const command = (name, target) => outcomeOf((done) => host.commands()[name](target, done))
  try {
    return await body({
      pid: sensor.pid,
      async addSandbox(id) {
        const path = join(cgroupMount(), `sluice-bench-${randomBytes(6).toString('hex')}`)
        mkdirSync(path)
        cgroups.push(path)
        await command('adoptSandbox', { sandboxId: id, cgroupPath: `/${basename(path)}` })
        return path
      },
      apply: (sandboxId, policy) => command('applyPolicy', { sandboxId, policy }),
      release: (sandboxId) => outcomeOf((done) => host.commands().releaseSandbox(sandboxId, done)),
    })
  } finally {
    await sensor.stop()
    await host.close()
    for (const path of cgroups) rmdirSync(path)
    rmSync(dir, { recursive: true, force: true })
  }
}
