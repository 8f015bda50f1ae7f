/**
 * Real receivers of syslog for a test: rsyslog and syslog-ng, over TLS with certificates on both sides, each a process of its own on loopback with a
 * folder of its own, from which everything is read and which goes with it. Where setup unpacked them, or where the system has them.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CertFiles } from './certificates.js'
import { freePort } from './free-port.js'
import { patient } from './patience.js'
import { LIBRARIES, LIBRARY_PATH, UNPACKED } from './receiver-places.js'

export type SyslogProgram = 'rsyslog' | 'syslog-ng'

export interface Received {
  /** APP-NAME, PROCID, MSGID and the structured data, as the receiver understood them. */
  readonly about: string
  readonly message: string
}

export interface SyslogReceiver {
  readonly port: number
  /** Whole messages, so far. */
  received(): Received[]
  stop(): Promise<void>
}

const READY_MS = patient(20_000)
const STEP_MS = 20
/** Of a message: more than any of ours. */
const BYTES_MAX = 1024 * 1024
/** Between what the message is about and itself: in JSON it can't be. */
const APART = '\t'

interface Start {
  readonly folder: string
  readonly port: number
  readonly out: string
  readonly tls: CertFiles
}

/** Starts one that takes messages from whom `tls.ca` signed; resolves when it listens. */
export async function startSyslog(program: SyslogProgram, folder: string, tls: CertFiles): Promise<SyslogReceiver> {
  mkdirSync(folder)
  const port = await freePort()
  const out = join(folder, 'out.log')
  const [path, args] = (program === 'rsyslog' ? rsyslog : syslogNg)({ folder, port, out, tls })
  const child = spawn(path, args, {
    cwd: folder,
    env: { ...process.env, LD_LIBRARY_PATH: LIBRARY_PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-4_096)
  })
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  if (!(await listens(child, port))) {
    child.kill('SIGKILL')
    await gone
    throw new Error(`${path} did not start: ${said}; does \`npm run setup\` say what is missing?`)
  }
  return {
    port,
    received: () => (existsSync(out) ? parsed(readFileSync(out, 'utf8')) : []),
    async stop() {
      child.kill('SIGKILL')
      await gone
    },
  }
}

function parsed(text: string): Received[] {
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
  return lines.slice(0, -1).map((line) => {
    const at = line.indexOf(APART)
    return { about: line.slice(0, at), message: line.slice(at + 1).trimStart() }
  })
}

function rsyslog({ folder, port, out, tls }: Start): [string, string[]] {
  const config = join(folder, 'rsyslog.conf')
  const about = '%app-name% %procid% %msgid% %structured-data%'
  writeFileSync(
    config,
    `global(workDirectory="${folder}" maxMessageSize="${BYTES_MAX}" internalmsg.severity="0"
  defaultNetstreamDriverCAFile="${tls.ca}" defaultNetstreamDriverCertFile="${tls.cert}" defaultNetstreamDriverKeyFile="${tls.key}")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="${port}")
template(name="whole" type="string" string="${about}${APART}%msg%\\n")
if $app-name == "sluice" then { action(type="omfile" file="${out}" template="whole") stop }
`,
  )
  const modules = [UNPACKED, ''].flatMap((root) => LIBRARIES.map((library) => join(root, '/', library, 'rsyslog')))
  const there = modules.filter((module) => existsSync(module))
  return [program('rsyslogd'), ['-n', '-f', config, '-i', join(folder, 'pid'), '-M', there.join(':')]]
}

function syslogNg({ folder, port, out, tls }: Start): [string, string[]] {
  const config = join(folder, 'syslog-ng.conf')
  const template = `$PROGRAM $PID $MSGID $SDATA${APART}$MSG\\n`
  writeFileSync(
    config,
    `@version: 3.38
options { log-msg-size(${BYTES_MAX}); keep-hostname(yes); };
source s { syslog(ip("127.0.0.1") port(${port}) transport("tls")
  tls(key-file("${tls.key}") cert-file("${tls.cert}") ca-file("${tls.ca}") peer-verify(required-trusted))); };
destination d { file("${out}" template("${template}")); };
log { source(s); destination(d); };
`,
  )
  const own = ['persist-file', 'control', 'pidfile'].map((name) => `--${name}=${join(folder, name)}`)
  // Beside the modules of whichever version it is.
  const versions = join(UNPACKED, 'usr/lib/syslog-ng')
  const unpacked = existsSync(versions) ? readdirSync(versions).map((version) => join(versions, version)) : []
  const modules = unpacked.length === 0 ? [] : [`--module-path=${unpacked.join(':')}`]
  return [program('syslog-ng'), ['-F', '--no-caps', '-f', config, ...own, ...modules]]
}

/** Unpacked, or the system's. */
function program(name: string): string {
  const found = [UNPACKED, '/'].map((root) => join(root, 'usr/sbin', name)).find((path) => existsSync(path))
  return found ?? name
}

async function listens(child: ChildProcess, port: number): Promise<boolean> {
  const deadline = performance.now() + READY_MS
  while (performance.now() < deadline && child.pid !== undefined && child.exitCode === null) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (isOpen) return true
    await sleep(STEP_MS)
  }
  return false
}
