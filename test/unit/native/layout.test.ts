import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadAddon } from '../../../src/native/addon.js'
import { ABI } from '../../../src/native/generated/abi.js'

const addon = loadAddon()

const headers = ['event_abi.h', 'map_abi.h', 'policy_abi.h', 'redirect_abi.h', 'limit_abi.h'].map((name) =>
  readFileSync(new URL(`../../../bpf/${name}`, import.meta.url), 'utf8'),
)

describe('the layout of the shared structs', () => {
  it('is the same to the C++ compiler and in the generated TypeScript', () => {
    const generated = Object.fromEntries(
      Object.entries(ABI.structs).map(([name, { size, fields }]) => [name, { '': size, ...fields }]),
    )
    expect(addon.abiLayout()).toEqual(generated)
    expect(addon.abiVersion).toBe(ABI.version)
  })

  it.each(addon.objects())('is the same in the BPF object %s', (object) => {
    const whole = addon.abiLayout()
    for (const [struct, layout] of Object.entries(addon.btfLayout(object)))
      expect(layout, struct).toEqual(whole[struct])
  })

  it('is known of every struct by one of the BPF objects', () => {
    const known = addon.objects().flatMap((object) => Object.keys(addon.btfLayout(object)))
    expect([...new Set(known)].sort()).toEqual(Object.keys(ABI.structs).sort())
  })

  it('names every struct of the headers', () => {
    const structs = [...headers.join('').matchAll(/^struct (\w+) \{/gm)].map((match) => match[1])
    expect(Object.keys(ABI.structs).sort()).toEqual(structs.sort())
  })

  it('names every enum value of the headers', () => {
    const values = [...headers.join('').matchAll(/^\tSL_\w+(?=[ ,])/gm)].map((match) => match[0].trim())
    expect(Object.keys(ABI.enums).sort()).toEqual(values.sort())
  })
})
