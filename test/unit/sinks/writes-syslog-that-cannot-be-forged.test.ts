/** Syslog messages by RFC 5424: whatever is in an event, one message stays one, and its text is the event, unchanged. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { IEvent } from '../../../src/proto/codec.js'
import { EVENT_KINDS } from '../../../src/proto/event-json.js'
import type { SyslogSettings } from '../../../src/schema/sink-settings.js'
import { Renderer } from '../../../src/sinks/render.js'
import { SpooledEvents } from '../../../src/sinks/spooled-event.js'
import { framed, syslogMessage } from '../../../src/sinks/syslog-message.js'
import type { Item } from '../../../src/sinks/transport.js'
import { anyEvent } from '../../support/any-event.js'
import { detected } from '../engine/spool/spool-rig.js'
import { awkward, VERSION } from './sink-rig.js'

const SETTINGS: SyslogSettings = { type: 'syslog', transport: 'tls', address: 'localhost:6514' }
/** PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID, one element of structured data, the text. */
const MESSAGE =
  /^<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) \[sluice@32473((?: [a-z]+="(?:[^"\\\]]|\\["\\\]])*")*)\] ([\s\S]*)$/u
const item = (event: IEvent): Item => {
  const [spooled] = new SpooledEvents().one(event)
  const made = spooled === undefined ? null : new Renderer(SETTINGS, VERSION).item(spooled)
  if (made === null) throw new Error('it is left out')
  return made
}

function parsed(message: Buffer): { priority: number; time: string; id: string; data: string; text: string } {
  const text = message.toString('utf8')
  const [, priority, time = '', , , , id = '', data = '', body = ''] = MESSAGE.exec(text) ?? []
  if (priority === undefined) throw new Error(`no RFC 5424: ${text.slice(0, 300)}`)
  return { priority: Number(priority), time, id, data, text: body }
}

describe('a syslog message', () => {
  it('has the event’s time, kind and weight in its header', () => {
    const { priority, time, id, data, text } = parsed(syslogMessage(item(detected('s"]\\', 1)), SETTINGS))
    expect({ priority, id }).toEqual({ priority: 16 * 8 + 4, id: 'detection' })
    expect(time).toBe('2027-01-15T08:00:00.000000Z')
    expect(data).toContain('session="s\\"\\]\\\\"')
    expect(JSON.parse(text)).toMatchObject({ detection: { detector: 'loop' } })
  })

  it.each([0, 1, 2, 3, 4])('is one, whatever is in its event (%i)', (at) => {
    const event = awkward()[at]
    if (event === undefined) throw new Error('there are five')
    const made = item(event)
    const message = syslogMessage(made, SETTINGS)
    expect(message.toString('utf8')).not.toMatch(/\p{Cc}/u)
    expect(JSON.parse(parsed(message).text)).toEqual(made.event)
  })

  it('is one for every event that there can be', () => {
    fc.assert(
      fc.property(fc.constantFrom(...EVENT_KINDS).chain(anyEvent), (event) => {
        const made = item(event)
        expect(JSON.parse(parsed(syslogMessage(made, SETTINGS)).text)).toEqual(JSON.parse(made.text))
      }),
      { numRuns: 200 },
    )
  })

  it('is counted in bytes where it is framed so', () => {
    const message = Buffer.from('<134>1 é')
    expect(framed(message, 'octets').toString()).toBe('9 <134>1 é')
    expect(framed(message, 'lines').toString()).toBe('<134>1 é\n')
  })
})
