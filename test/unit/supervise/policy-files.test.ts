/** The files of a node's policies: what counts, what a change is, and what does not take a policy along. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../src/base/log.js'
import { type PolicyFile, PolicyFiles } from '../../../src/supervise/policy-files.js'
import { until } from '../../support/sluice-process.js'

const log = createLog({ role: 'test', level: 'silent' })
const isRoot = process.geteuid?.() === 0
const NOBODY = 65_534
/** Shorter than a file must be gone. */
const A_MOMENT_MS = 300

describe.skipIf(!isRoot)(`the policy files of a node ${isRoot ? '' : '(needs root, whose they must be)'}`, () => {
  let dir: string
  let folder: string
  let files: PolicyFiles | null = null
  let told: (readonly PolicyFile[])[]

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    folder = join(dir, 'policies')
    mkdirSync(folder)
    told = []
  })
  afterEach(() => {
    files?.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  const put = (name: string, text = name) => writeFileSync(join(folder, name), text)
  const open = (...paths: string[]) => {
    files = new PolicyFiles({ paths: paths.length === 0 ? [folder] : paths, log })
    files.start((now) => told.push(now))
    return files
  }
  const texts = (of: readonly PolicyFile[] = files?.files ?? []) => of.map(({ text }) => text)

  it('are those of its folders that end in .yaml or .yml, by name, and the ones that are named', () => {
    for (const name of ['b.yml', 'a.yaml', '.hidden.yaml', 'README.md', 'c.yaml~']) put(name)
    writeFileSync(join(dir, 'one'), 'named')
    symlinkSync(join(folder, 'a.yaml'), join(folder, 'link.yaml'))
    expect(texts(open(folder, join(dir, 'one'), join(dir, 'not-there')).files)).toEqual([
      'named',
      'a.yaml',
      'b.yml',
      'a.yaml',
    ])
    expect(files?.problems).toEqual([])
  })

  it('are told when one comes or changes, by whatever way it is written', async () => {
    put('a.yaml', '1')
    open()
    put('a.yaml', '2')
    await until('a change in place is told', () => texts(told.at(-1))[0] === '2')
    writeFileSync(join(folder, '.a.new'), '3')
    renameSync(join(folder, '.a.new'), join(folder, 'a.yaml'))
    await until('one by renaming is told', () => texts(told.at(-1))[0] === '3')
    put('b.yaml', '4')
    await until('a new one is told', () => texts(told.at(-1)).join() === '3,4')
    // As Kubernetes mounts them: the folder is a link that is turned.
    mkdirSync(join(dir, 'next'))
    writeFileSync(join(dir, 'next', 'a.yaml'), '5')
    renameSync(folder, `${folder}-old`)
    symlinkSync(join(dir, 'next'), folder)
    await until('a folder in its place is told', () => texts(told.at(-1))[0] === '5')
  }, 20_000)

  it('are not gone because they are away for a moment, or their folder is', async () => {
    put('a.yaml', '1')
    open()
    rmSync(join(folder, 'a.yaml'))
    await sleep(A_MOMENT_MS)
    put('a.yaml', '2')
    await until('the new text is told', () => texts(told.at(-1))[0] === '2')
    expect(told.every((each) => each.length === 1)).toBe(true)
    renameSync(folder, `${folder}-away`)
    files?.reload()
    expect(texts()).toEqual(['2'])
    expect(files?.problems).toEqual([expect.stringMatching(/its policies stay as they were/)])
  }, 20_000)

  it('are gone after a while, or at once when somebody says so', async () => {
    put('a.yaml')
    put('b.yaml')
    open()
    rmSync(join(folder, 'a.yaml'))
    await until('it is told', () => told.at(-1)?.length === 1)
    rmSync(join(folder, 'b.yaml'))
    files?.reload()
    expect(told.at(-1)).toEqual([])
  }, 20_000)

  it('stay as they were where others than root may write them', () => {
    put('a.yaml', '1')
    open()
    put('a.yaml', '2')
    chmodSync(join(folder, 'a.yaml'), 0o666)
    files?.reload()
    expect([texts(), files?.problems]).toEqual([['1'], [expect.stringMatching(/others than root may write it/)]])
    chmodSync(join(folder, 'a.yaml'), 0o644)
    chownSync(join(folder, 'a.yaml'), NOBODY, NOBODY)
    files?.reload()
    expect(texts()).toEqual(['1'])
    chownSync(join(folder, 'a.yaml'), 0, 0)
    files?.reload()
    expect([texts(), files?.problems]).toEqual([['2'], []])
  })
})
