import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { isForegroundStat, relaySignals, type SignalRelay } from '../../../../src/cli/run/signals.js'

describe('the relay of signals', () => {
  let relay: SignalRelay | null = null
  afterEach(() => relay?.dispose())

  async function kill(signal: NodeJS.Signals): Promise<void> {
    const seen = once(process, signal)
    process.kill(process.pid, signal)
    await seen
    await turn()
  }

  it('hands a signal to the command exactly once', async () => {
    const sent: string[] = []
    relay = relaySignals(() => true)
    relay.attach((signal) => sent.push(signal))
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGTERM'] as const) await kill(signal)
    expect(sent).toEqual(['SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGTERM'])
  })

  it('keeps back what the terminal has given the command already', async () => {
    const sent: string[] = []
    let atTerminal = true
    relay = relaySignals(() => atTerminal)
    relay.attach((signal) => sent.push(signal))
    await kill('SIGINT')
    expect(sent).toEqual([])
    atTerminal = false
    await kill('SIGINT')
    await kill('SIGQUIT')
    expect(sent).toEqual(['SIGINT', 'SIGQUIT'])
  })

  it('ends a run that has not started its command', async () => {
    relay = relaySignals(() => true)
    await kill('SIGUSR2')
    expect(relay.stopRequested()).toBe(0)
    await kill('SIGINT')
    await kill('SIGTERM')
    expect(await relay.stop).toBe(2)
    expect(relay.stopRequested()).toBe(2)
  })

  it('lets nothing through once the command is gone, and survives it', async () => {
    const sent: string[] = []
    relay = relaySignals(() => false)
    relay.attach((signal) => sent.push(signal))
    relay.detach()
    await kill('SIGTERM')
    await kill('SIGINT')
    expect(sent).toEqual([])
  })

  it('leaves no handler behind', () => {
    const before = process.listenerCount('SIGTERM')
    relaySignals().dispose()
    expect(process.listenerCount('SIGTERM')).toBe(before)
  })
})

describe('the foreground of a terminal', () => {
  it('is where our group is the one that ^C goes to', () => {
    expect(isForegroundStat('12 (no de) x) S 1 12 10 34816 12 4194304')).toBe(true)
    expect(isForegroundStat('12 (node) S 1 12 10 34816 99 4194304')).toBe(false)
    expect(isForegroundStat('12 (node) S 1 12 10 0 -1 4194304')).toBe(false)
    expect(isForegroundStat('')).toBe(false)
  })
})
