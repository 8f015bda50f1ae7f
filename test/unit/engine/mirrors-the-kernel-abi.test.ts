import { readFileSync, statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as facts from '../../../src/engine/kernel-facts.js'
import { ABI } from '../../../src/native/generated/abi.js'

const header = ['event_abi.h', 'policy_abi.h']
  .map((name) => readFileSync(new URL(`../../../bpf/${name}`, import.meta.url), 'utf8'))
  .join('')

function numberOf(name: string): number {
  const match = new RegExp(`${name}\\s*=\\s*(?:(\\d+)u? << (\\d+)|(\\d+))|#define ${name} (\\d+)`).exec(header)
  if (match === null) throw new Error(`${name} is in no header`)
  return match[1] === undefined ? Number(match[3] ?? match[4]) : Number(match[1]) << Number(match[2])
}

describe('kernel facts', () => {
  it.each([
    ['SL_ABI_VERSION', facts.ABI_VERSION],
    ['SL_KIND_EXEC', facts.KIND_EXEC],
    ['SL_KIND_FORK', facts.KIND_FORK],
    ['SL_KIND_EXIT', facts.KIND_EXIT],
    ['SL_KIND_FILE_OPEN', facts.KIND_FILE_OPEN],
    ['SL_KIND_CONNECT', facts.KIND_CONNECT],
    ['SL_KIND_CGROUP', facts.KIND_CGROUP],
    ['SL_KIND_STDIN', facts.KIND_STDIN],
    ['SL_KIND_QUARANTINE', facts.KIND_QUARANTINE],
    ['SL_KIND_DNS', facts.KIND_DNS],
    ['SL_KIND_LIMIT', facts.KIND_LIMIT],
    ['SL_WHY_DEFAULT', facts.WHY_DEFAULT],
    ['SL_PATH_TRUNCATED', facts.PATH_TRUNCATED],
    ['SL_PATH_DELETED', facts.PATH_DELETED],
    ['SL_PATH_DETACHED', facts.PATH_DETACHED],
    ['SL_PATH_UNRESOLVED', facts.PATH_UNRESOLVED],
    ['SL_PATH_FOREIGN', facts.PATH_FOREIGN],
    ['SL_EXEC_SECURE', facts.EXEC_SECURE],
    ['SL_KIND_CONNECTION_CLOSED', facts.KIND_CONNECTION_CLOSED],
    ['SL_KIND_LISTEN', facts.KIND_LISTEN],
    ['SL_KIND_SOCKET', facts.KIND_SOCKET],
    ['SL_INPUT_UNSHOWN', facts.INPUT_UNSHOWN],
    ['SL_CGROUP_BORN', facts.CGROUP_BORN],
    ['SL_VIA_CONNECT', facts.VIA_CONNECT],
    ['SL_VIA_SENDMSG', facts.VIA_SENDMSG],
    ['SL_VIA_SOCKET', facts.VIA_SOCKET],
    ['SL_VIA_PACKET', facts.VIA_PACKET],
    ['SL_VERDICT_ALLOW', facts.VERDICT_ALLOW],
    ['SL_VERDICT_DENY', facts.VERDICT_DENY],
    ['SL_VERDICT_WOULD_DENY', facts.VERDICT_WOULD_DENY],
    ['SL_VERDICT_REDIRECT', facts.VERDICT_REDIRECT],
    ['SL_WHY_LISTENER', facts.WHY_LISTENER],
    ['SL_WHY_PROTOCOL', facts.WHY_PROTOCOL],
    ['SL_WHY_STATE', facts.WHY_STATE],
    ['SL_WHY_QUARANTINE', facts.WHY_QUARANTINE],
    ['SL_WHY_GATEWAY', facts.WHY_GATEWAY],
    ['SL_WHY_HELD', facts.WHY_HELD],
    ['SL_WHY_CONNECTS', facts.WHY_CONNECTS],
    ['SL_WHY_CONNECTIONS', facts.WHY_CONNECTIONS],
    ['SL_WHY_THROTTLE', facts.WHY_THROTTLE],
    ['SL_WHY_BYTES', facts.WHY_BYTES],
    ['SL_CONNECT_KERNEL_ADDR', facts.CONNECT_KERNEL_ADDR],
  ])('%s is what the header says', (name, value) => {
    expect(value).toBe(numberOf(name))
  })

  it('has the generation of no policy', () => {
    expect(facts.GENERATION_HELD).toBe(ABI.limits.SL_GENERATION_HELD)
  })

  it('names every kind of the header', () => {
    const body = /enum sl_kind \{([\s\S]*?)\}/.exec(header)?.[1] ?? ''
    const numbers = [...body.matchAll(/SL_KIND_\w+ = (\d+)/g)].map((match) => Number(match[1]))
    expect(numbers.length).toBeGreaterThan(0)
    for (const kind of numbers) expect(facts.kindName(kind)).not.toMatch(/^kind-/)
    expect(facts.kindName(31)).toBe('kind-31')
  })

  it.each([
    [0, []],
    [0o100 | 1, ['O_CREAT']],
    [0o1000 | 0o100 | 2, ['O_CREAT', 'O_TRUNC']],
    [0o2000000, ['O_CLOEXEC']],
    [0o4010000, ['O_SYNC']],
    [0o10000, ['O_DSYNC']],
    [0x40000000, ['0x40000000']],
  ])('open flags %o', (flags, names) => {
    expect(facts.openFlagNames(flags)).toEqual(names)
  })

  it.each([
    [(8 << 20) | 1, 0x801n],
    [(259 << 20) | 300, 0x11032cn],
  ])('device %i as stat(2) shows it', (kernel, stat) => {
    expect(facts.statDevice(kernel)).toBe(stat)
  })

  it('gives the st_dev that stat(2) gives for a real device number', () => {
    const { dev } = statSync('/', { bigint: true })
    const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn)
    const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn)
    expect(facts.statDevice(Number((major << 20n) | minor))).toBe(dev)
  })
})
