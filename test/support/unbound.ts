/**
 * A recursive resolver of its own for a test: unbound on a free port of loopback, with zones that the test writes as its authorities. It
 * asks nobody else. Everything it makes is in a folder of its own, and goes with it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.js'
import { patient } from './patience.js'

export interface Unbound {
  readonly port: number
  stop(): Promise<void>
}

const READY_MS = patient(10_000)

/** `zones`: by name, what the zone file has beside SOA and NS. `through`: a command that starts it, which is appended. */
export async function startUnbound(
  zones: Record<string, string>,
  options: { through?: readonly string[]; port?: number } = {},
): Promise<Unbound> {
  const { through = [] } = options
  const folder = mkdtempSync(join(tmpdir(), 'sluice-unbound-'))
  const port = options.port ?? (await freePort())
  const authorities = Object.entries(zones).map(([zone, records], index) => {
    const file = join(folder, `zone-${index}`)
    writeFileSync(
      file,
      `$ORIGIN ${zone}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 120\n@ NS ns\nns A 192.0.2.53\n${records}\n`,
    )
    return `auth-zone:\n  name: "${zone}."\n  zonefile: "${file}"\n  for-downstream: no\n  for-upstream: yes\n  fallback-enabled: no\n`
  })
  const config = join(folder, 'unbound.conf')
  const server = [
    ...[
      `interface: 127.0.0.1@${port}`,
      `interface: 127.0.0.53@${port}`,
      `interface: ::1@${port}`,
      'do-daemonize: no',
      'username: ""',
      'chroot: ""',
    ],
    ...['pidfile: ""', 'use-syslog: no', 'logfile: ""', `directory: "${folder}"`, 'module-config: "iterator"'],
    ...['num-threads: 1', 'access-control: 127.0.0.0/8 allow', 'access-control: ::1 allow'],
  ]
  writeFileSync(
    config,
    `server:\n${server.map((line) => `  ${line}\n`).join('')}remote-control:\n  control-enable: no\n${authorities.join('')}`,
  )
  const child = spawn(
    through[0] ?? 'unbound',
    [...through.slice(1), ...(through.length > 0 ? ['unbound'] : []), '-d', '-p', '-c', config],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  try {
    await said(child, 'start of service')
  } catch (error) {
    child.kill()
    rmSync(folder, { recursive: true })
    throw error
  }
  return {
    port,
    async stop() {
      child.kill()
      await exited
      rmSync(folder, { recursive: true })
    },
  }
}

function said(child: ChildProcess, wanted: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = ''
    const timer = setTimeout(() => reject(new Error(`unbound did not start: ${text}`)), READY_MS)
    child.stderr?.on('data', (chunk: Buffer) => {
      text = `${text}${chunk}`.slice(-4_096)
      if (!text.includes(wanted)) return
      clearTimeout(timer)
      resolve()
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`unbound ended: ${text}`)))
  })
}
