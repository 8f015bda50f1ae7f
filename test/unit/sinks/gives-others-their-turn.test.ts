/** All sinks are one process: one that goes through much that is not for it does not keep the others from sending, nor the process from saying how it does. */
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { many, SinkRig } from './sink-rig.js'

/** Forty chunks of the spool. */
const EVENTS = 40_000
const TURNS_MIN = 8

describe('a sink with much in the spool that is not for it', () => {
  let rig: SinkRig
  beforeEach(() => {
    rig = new SinkRig()
  })
  afterEach(() => rig.remove())

  it.each([
    ['events', () => rig.start({ type: 'file', path: join(rig.place('out'), 'x.jsonl'), kinds: ['detection'] })],
    ['alerts', () => rig.startAlerts({ type: 'alertmanager', url: 'http://127.0.0.1:9' })],
  ])('gives others their turn while it goes through it: %s', async (_, start) => {
    rig.write(many(EVENTS))
    const sink = start()
    let turns = 0
    for (; sink.position < EVENTS; turns++) await turn()
    expect(turns).toBeGreaterThanOrEqual(TURNS_MIN)
  })
})
