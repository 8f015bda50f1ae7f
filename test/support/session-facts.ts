/** Facts of one session, written as a short story: who was started by whom, what it did, how it ended. Times go on by themselves. */
import type { Fact, FactBody, ProcessFact } from '../../src/engine/detect/fact.js'
import type { Finding } from '../../src/engine/detect/finding.js'
import type { SessionDetection } from '../../src/engine/detect/session-detection.js'

export const WORKDIR = '/project'
const T0_MS = Date.UTC(2026, 0, 31, 12)

export class Story {
  readonly facts: Fact[] = []
  /** Of the next fact, ms after the beginning. */
  atMs = 0
  private pid = 100
  readonly harness: ProcessFact

  constructor(harness: readonly string[] = ['/usr/bin/agent']) {
    this.say({ kind: 'started', workdir: WORKDIR, sandbox: 'box-1', task: '' }, null)
    this.harness = this.exec(null, harness)
  }

  say(body: FactBody, process: ProcessFact | null): Fact {
    this.atMs += 1
    const timeMs = T0_MS + this.atMs
    const time = new Date(timeMs).toISOString().replace('Z', '000000Z')
    const fact = { uid: `uid-${this.facts.length}`, timeMs, time, process, ...body } as Fact
    this.facts.push(fact)
    return fact
  }

  /** `into`: in the place of a process that is there. */
  exec(parent: ProcessFact | null, args: readonly string[], into?: ProcessFact): ProcessFact {
    const [program = ''] = args
    const pid = into?.pid ?? this.pid++
    const count = into === undefined ? 1 : Number(into.execId.slice(into.execId.lastIndexOf('-') + 1)) + 1
    const process: ProcessFact = {
      ...{ execId: `boot-${pid}-s${pid}-${count}`, parentExecId: into?.parentExecId ?? parent?.execId ?? '' },
      ...{ spawnerExecId: '', pid },
      ...{ exe: program.startsWith('/') ? program : `/usr/bin/${program}`, args, cwd: WORKDIR },
    }
    this.say({ kind: 'exec', script: '', memfd: false, file: '', adopted: false }, process)
    return process
  }

  exit(process: ProcessFact, code = 0, signal = 0): void {
    this.say({ kind: 'exit', code, signal }, process)
  }

  write(process: ProcessFact, path: string): void {
    const absolute = path.startsWith('/') ? path : `${WORKDIR}/${path}`
    this.say({ kind: 'mutation', how: 'WRITE', paths: [absolute], file: '' }, process)
  }

  read(process: ProcessFact, path: string, asked = path): void {
    this.say({ kind: 'read', path, asked }, process)
  }

  attempt(process: ProcessFact, target: string, host = ''): void {
    this.say({ kind: 'attempt', target, host, denied: false, count: 1 }, process)
  }

  lookUp(process: ProcessFact, name: string): void {
    this.say({ kind: 'name', name, denied: false }, process)
  }

  /** A whole tool call: `bash -c COMMAND` that writes and exits. */
  call(command: string, { code = 0, writes = [] as readonly string[] } = {}): void {
    const bash = this.exec(this.harness, ['bash', '-c', command])
    for (const path of writes) this.write(bash, path)
    this.exit(bash, code)
  }

  end(): void {
    this.exit(this.harness)
    this.say({ kind: 'ended' }, null)
  }

  tell(detection: SessionDetection): Finding[] {
    return this.facts.flatMap((fact) => detection.take(fact).findings)
  }
}
