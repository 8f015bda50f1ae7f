/** Every event that can be made is one line of CEF that a reader of the format takes apart again, whatever a sandbox wrote into its texts. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EVENT_KINDS, eventToJson } from '../../../src/proto/event-json.js'
import { cefHeader, cefOf, cefValue } from '../../../src/schema/cef.js'
import { anyEvent } from '../../support/any-event.js'
import { CEF_KEYS, readCef } from '../../support/read-cef.js'

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .array(
      fc.constantFrom('|', '\\', '=', ' ', '\n', '\r', '\t', '\0', '\u2028', '\u0085', 'a', 'é', '𝕊', ' cs1=', '\\n'),
    )
    .map((all) => all.join('')),
)

describe('an event as CEF', () => {
  it.each(EVENT_KINDS)('is one line with keys that CEF knows, and nothing of what happened is lost: %s', (kind) => {
    fc.assert(
      fc.property(anyEvent(kind), (event) => {
        const json = eventToJson(event)
        const line = cefOf(json, '1.2.3')
        expect(line).not.toMatch(/[\p{Cc}\u2028\u2029]/u)
        const { header, extension } = readCef(line)
        expect(header.slice(0, 4)).toEqual(['CEF:0', 'Sluice', 'Sluice', '1.2.3'])
        expect(header[4]).toMatch(new RegExp(`^${kind}(\\..*)?$`, 's'))
        expect(Number(header[6])).toSatisfy(
          (severity: number) => Number.isInteger(severity) && severity >= 0 && severity <= 10,
        )
        for (const key of extension.keys()) expect(CEF_KEYS, key).toContain(key)
        for (const key of extension.keys())
          if (key.endsWith('Label')) expect(extension.has(key.slice(0, -5)), key).toBe(true)
        expect(extension.get('externalId')).toBe(json.uid)
        expect(JSON.parse(extension.get('SluiceSluiceEvent') ?? '')).toEqual(Reflect.get(json, kind))
      }),
      { numRuns: 150 },
    )
  })

  it('has values that are read back as they were, next to each other', () => {
    fc.assert(
      fc.property(anyText, anyText, (first, second) => {
        const line = `CEF:0|a|b|c|${cefHeader(first)}|e|5|msg=${cefValue(first)} cs1=${cefValue(second)}`
        const { header, extension } = readCef(line)
        const whole = (text: string) => text.replace(/\p{Surrogate}/gu, '\ufffd')
        const controlFree = (text: string) =>
          whole(text).replace(/(?![\n\r])[\p{Cc}\u2028\u2029]/gu, (one) =>
            Buffer.from(one).toString('hex').replace(/../g, '\\x$&'),
          )
        expect(extension.get('msg')).toBe(controlFree(first))
        expect(extension.get('cs1')).toBe(controlFree(second))
        expect(header[4]).toBe(whole(first).replace(/[\p{Cc}\u2028\u2029]+/gu, ' '))
      }),
      { numRuns: 500 },
    )
  })

  it('is written as the format has it', () => {
    const args = ['sh', '-c', 'a|b=c\nd \\ \t'].map((arg) => Buffer.from(arg.replaceAll('\\', '\\\\')))
    const event = eventToJson({
      ...{ uid: 'u1', node: { name: 'n1', bootId: 'b1' }, sandbox: { id: 'box|1' }, sessionId: 's1' },
      process: { pid: 7, uid: 1000, exe: Buffer.from('/bin/sh'), args },
      connect: {
        ...{ protocol: 1, address: '192.0.2.1', port: 443, hostname: 'example.com', via: 1 },
        verdict: { decision: 2, rule: 'egress[2]', reason: 'no=rule' },
      },
    })
    const line = cefOf(event, '1|2')
    expect(
      line.startsWith('CEF:0|Sluice|Sluice|1\\|2|connect|Connection, denied|6|rt=0 externalId=u1 dvchost=n1 '),
    ).toBe(true)
    expect(line).toContain(' spid=7 sproc=/bin/sh suid=1000 ')
    expect(line).toContain(' cs1Label=sandbox cs1=box|1 ')
    expect(line).toContain(' act=DENY reason=no\\=rule cs5Label=rule cs5=egress[2] ')
    expect(line).toContain(' proto=TCP dst=192.0.2.1 dhost=example.com dpt=443 ')
    expect(readCef(line).extension.get('cs6')).toContain('a|b=c\nd ')
  })
})
