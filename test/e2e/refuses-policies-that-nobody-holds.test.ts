/** An engine, or a sensor, that is started alone where the node has policies: it says so in place of enforcing nothing. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { SLUICE_BIN, tempDirForAll } from '../support/sluice-run.js'

const isRoot = process.geteuid?.() === 0

describe.skipIf(!isRoot)('policies of a node', () => {
  const dir = tempDirForAll()

  it.each(['engine', 'sensor'])(
    'are refused by the %s alone, and by nothing else of it where there are none',
    async (role) => {
      const folder = join(dir(), role)
      mkdirSync(folder)
      // Certificates that are not there: it ends in either case.
      const uplink = {
        address: '127.0.0.1:1',
        ca: join(dir(), 'ca.pem'),
        cert: join(dir(), 'cert.pem'),
        key: join(dir(), 'key.pem'),
      }
      const config = join(dir(), `${role}.json`)
      const agent = { runtimeDir: join(dir(), 'run'), policies: [folder] }
      writeFileSync(config, JSON.stringify({ agent, [role]: { uplink } }))
      const start = () => execa(SLUICE_BIN, [role, '--config', config], { reject: false, timeout: 60_000 })
      const free = await start()
      expect(free.exitCode).toBeGreaterThan(0)
      expect(free.stderr).not.toMatch(/polic/)
      writeFileSync(join(folder, 'node.yaml'), 'version: 1\nname: node\nmode: enforce\negress: []\n')
      const refused = await start()
      expect(refused.exitCode).toBeGreaterThan(0)
      expect(refused.stderr).toMatch(new RegExp(`are not enforced by .sluice ${role}. alone: .*node\\.yaml`))
    },
    150_000,
  )
})
