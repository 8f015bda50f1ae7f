/** One sink over a real spool: its queue, its transport, its files; a receiver is the test's. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createLog } from '../../../src/base/log.js'
import { derivedUuid } from '../../../src/base/uuid.js'
import type { IEvent } from '../../../src/proto/codec.js'
import type { AlertSettings, EventSinkSettings } from '../../../src/schema/sink-settings.js'
import { AlertSink, type AlertSinkParts } from '../../../src/sinks/alerts/alert-sink.js'
import { makeAlertTransport } from '../../../src/sinks/alerts/make-alert-transport.js'
import { Cursors } from '../../../src/sinks/cursors.js'
import { DeadLetters } from '../../../src/sinks/dead-letters.js'
import { makeTransport } from '../../../src/sinks/make-transport.js'
import { Renderer } from '../../../src/sinks/render.js'
import { sinkSecrets } from '../../../src/sinks/secrets.js'
import { Sink } from '../../../src/sinks/sink.js'
import { SpoolReader } from '../../../src/sinks/spool-reader.js'
import type { Transport } from '../../../src/sinks/transport.js'
import { Underway } from '../../../src/sinks/underway.js'
import { opened, SpoolRig } from '../engine/spool/spool-rig.js'

export const VERSION = '0.0.0'

type CommonParts = Omit<AlertSinkParts, 'settings' | 'transport' | 'folder'>

export class SinkRig {
  readonly spool = new SpoolRig()
  private readonly writer = this.spool.open({ bytesMax: 256 * 1024 * 1024 })
  private readonly ends: (() => Promise<void>)[] = []

  get folder(): string {
    return this.spool.folder
  }

  write(events: readonly IEvent[]): void {
    for (const event of events) this.writer.append(event)
    this.writer.flush()
  }

  /** As the process that runs the sinks makes one. */
  start(settings: EventSinkSettings, transport?: Transport): Sink {
    const secrets = sinkSecrets(settings)
    return this.begun((parts) => {
      const given = { secrets, version: VERSION, sendDatagram: () => {}, log: parts.log }
      const made = transport ?? makeTransport(settings, given)
      const renderer = new Renderer(settings, VERSION)
      return new Sink({ ...parts, settings, underway: new Underway(this.folder, 's'), renderer, transport: made })
    })
  }

  startAlerts(settings: AlertSettings): AlertSink {
    const { folder } = this
    const transport = makeAlertTransport(settings, sinkSecrets(settings), VERSION)
    return this.begun((parts) => new AlertSink({ ...parts, settings, folder, transport }))
  }

  /** How far the disk knows that the sink is. */
  savedPosition(): number {
    const cursors = new Cursors(this.folder, ['s'], createLog({ role: 'test', level: 'silent' }))
    const place = cursors.of('s')
    cursors.close()
    return place?.position ?? 0
  }

  private begun<T extends Sink | AlertSink>(make: (parts: CommonParts) => T): T {
    const log = createLog({ role: 'test', level: 'silent' })
    const cursors = new Cursors(this.folder, ['s'], log)
    const reader = new SpoolReader(this.folder, () => {})
    const dead = new DeadLetters(this.folder, 's')
    const sink = make({ name: 's', reader, cursors, log, dead, retryMinMs: 1, random: () => 0 })
    sink.start()
    this.ends.push(async () => {
      await sink.stop(AbortSignal.abort())
      cursors.close()
      reader.close()
    })
    return sink
  }

  /** As a process that was told to stop and had no time left. */
  async stopSinks(): Promise<void> {
    for (const end of this.ends.splice(0)) await end()
  }

  async remove(): Promise<void> {
    await this.stopSinks()
    this.spool.remove()
  }

  /** A folder of the test's own. */
  place(name: string): string {
    const path = join(this.folder, name)
    mkdirSync(path, { recursive: true })
    return path
  }
}

/** Events 1 to `count` of one session. */
export function many(count: number, from = 1): IEvent[] {
  return Array.from({ length: count }, (_, at) => opened('a', from + at))
}

/** What receivers have trouble with. */
export function awkward(): IEvent[] {
  const texts = [
    'line\nbreak\r\n"quoted" \\ ]',
    '\u0000\u001b[31m\u007f\u0085',
    '𝕊é→\u2028\u2029',
    '<34>1 - - - - - - forged',
    'x'.repeat(65_536),
  ]
  return texts.map((text, at) => {
    const { fileOpen: _, ...common } = opened(text.slice(0, 40), at + 1)
    const uid = derivedUuid({ unixMs: 1n, parts: ['awkward', String(at)] })
    return { ...common, uid, process: { pid: 7, args: [Buffer.from(text)] }, exec: { interpreter: Buffer.from(text) } }
  })
}
