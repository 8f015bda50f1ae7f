import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type OwnStack, startOwnStack } from '../../../src/supervise/own-stack.js'
import { READY_DEADLINE_MS } from '../../../src/supervise/stack-parts.js'
import { privileged } from '../../support/privileged.js'

const ROLES = new URL('../../support/roles/', import.meta.url)
const MAINS = {
  sensor: new URL('stack-sensor.mjs', ROLES),
  engine: new URL('stack-engine.mjs', ROLES),
  gateway: new URL('stack-gateway.mjs', ROLES),
  sweep: new URL('sweep.mjs', ROLES),
}
const REFUSING = new URL('refusing.mjs', ROLES)
const HANGING = new URL('hanging.mjs', ROLES)

let directory: string
let runtimeDir: string
let stacks: OwnStack[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-stack-'))
  runtimeDir = join(directory, 'runtime')
  stacks = []
})

afterEach(async () => {
  for (const stack of stacks) await stack.stop().catch(() => {})
  rmSync(directory, { recursive: true, force: true })
})

async function start(
  options: { engineUser?: string; gatewayUser?: string; sensor?: URL; engine?: URL; gateway?: URL } = {},
): Promise<OwnStack> {
  const { engineUser = 'root', gatewayUser, ...mains } = options
  const stack = await startOwnStack({
    ...{ runtimeDir, logLevel: 'silent', engineUser, mains: { ...MAINS, ...mains } },
    ...(gatewayUser === undefined ? {} : { gatewayUser }),
  })
  stacks.push(stack)
  return stack
}

const needsRoot = privileged('root')

describe.skipIf(needsRoot.skip)(`a stack of its own ${needsRoot.reason}`, () => {
  it('gives both roles their configs, in a directory for root alone, and leaves nothing', async () => {
    const stack = await start()
    const runDir = dirname(stack.controlSocket)
    expect(dirname(runDir)).toBe(runtimeDir)
    expect(statSync(runDir).mode & 0o777).toBe(0o700)
    expect(statSync(runtimeDir).mode & 0o777).toBe(0o755)
    expect(stack.degraded).toEqual([])
    await stack.stop()
    await stack.stop()
    expect(await stack.roles.sensor.exited).toMatchObject({ expected: true, exitCode: 0 })
    expect(await stack.roles.engine.exited).toMatchObject({ expected: true, exitCode: 0 })
    expect(readdirSync(runtimeDir)).toEqual([])
  })

  it('keeps two stacks apart', async () => {
    const [one, two] = await Promise.all([start(), start()])
    expect(one?.controlSocket).not.toBe(two?.controlSocket)
  })

  it('says that the engine stays root where its user is missing', async () => {
    const stack = await start({ engineUser: 'no-such-user-here' })
    expect(stack.degraded).toEqual([expect.stringMatching(/^engine-user: .*no-such-user-here/)])
  })

  it.each(['sensor', 'engine'] as const)(
    'stops the other and removes the directory when the %s refuses',
    async (name) => {
      await expect(start({ [name]: REFUSING })).rejects.toMatchObject({ code: 'KERNEL', hint: 'use a newer one' })
      expect(readdirSync(runtimeDir)).toEqual([])
    },
  )

  it('does not wait for the one that hangs when the other refuses', async () => {
    const startedAt = performance.now()
    await expect(start({ sensor: HANGING, engine: REFUSING })).rejects.toMatchObject({
      code: 'KERNEL',
    })
    expect(performance.now() - startedAt).toBeLessThan(READY_DEADLINE_MS / 2)
  })

  it('sweeps after a sensor that died', async () => {
    const stack = await start()
    process.kill(stack.roles.sensor.pid, 'SIGKILL')
    expect(await stack.roles.sensor.exited).toMatchObject({ expected: false })
    await stack.stop()
    expect(readdirSync(runtimeDir)).toEqual([])
  })

  it('keeps the record of what a sweep could not remove, and says so', async () => {
    const stack = await start()
    writeFileSync(join(runtimeDir, 'keep'), '')
    process.kill(stack.roles.sensor.pid, 'SIGKILL')
    await stack.roles.sensor.exited
    await expect(stack.stop()).rejects.toMatchObject({ code: 'IO', message: expect.stringMatching(/lists them/) })
    expect(existsSync(dirname(stack.controlSocket))).toBe(true)
    expect(await stack.roles.engine.exited).toMatchObject({ expected: true })
  })

  it('starts a gateway where one is wanted, whose user can come to its socket and to nothing else, and leaves nothing', async () => {
    const stack = await start({ gatewayUser: 'daemon' })
    const folder = join(runtimeDir, `gateway-${basename(dirname(stack.controlSocket))}`)
    expect(statSync(folder)).toMatchObject({ uid: 0, gid: 1, mode: 0o40710 })
    expect(stack.degraded).toEqual([])
    await stack.stop()
    expect(readdirSync(runtimeDir)).toEqual([])
  })

  it('says that the gateway stays root where its user is missing', async () => {
    const stack = await start({ gatewayUser: 'no-such-user-here' })
    expect(stack.degraded).toEqual([expect.stringMatching(/^gateway-user: .*no-such-user-here/)])
  })

  it('stops the others and removes both directories when the gateway refuses', async () => {
    await expect(start({ gatewayUser: 'daemon', gateway: REFUSING })).rejects.toMatchObject({ code: 'KERNEL' })
    expect(readdirSync(runtimeDir)).toEqual([])
  })

  it('refuses a directory that others may write to', async () => {
    mkdirSync(runtimeDir)
    chmodSync(runtimeDir, 0o777)
    await expect(start()).rejects.toMatchObject({ code: 'IO', hint: expect.stringMatching(/chmod 755/) })
  })
})
