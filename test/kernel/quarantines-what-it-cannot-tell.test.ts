/**
 * A sandbox whose processes can't be told for sure is in quarantine: nothing of it connects any more, and nobody else is touched. The
 * failures are made by the core object's own source, compiled with helpers that fail.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { compiledBpf, compiledC } from '../support/compiled.mjs'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('bpf')
const EPERM = 1
const FAIL_STORAGE = 1
const FAIL_PLACE = 2

/** What became of a child whose id could not be stored in the places that `forget` names. */
async function findings(forget: number, ...more: string[]): Promise<Record<string, number>> {
  const cgroup = freeCgroupPath()
  mkdirSync(cgroup)
  try {
    const args = [compiledBpf('forgetful'), cgroup, String(forget), ...more]
    const out = execFileSync(compiledC('quarantine'), args, { encoding: 'utf8' })
    return Object.fromEntries(
      out
        .trim()
        .split('\n')
        .map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]),
    )
  } finally {
    await removeCgroupTree(cgroup)
  }
}

const QUARANTINED = ABI.enums.SL_SANDBOX_QUARANTINED

describe.skipIf(skip)(`a sandbox ${reason}`, () => {
  it('is left alone while every id is stored', async () => {
    expect(await findings(0)).toEqual({
      ...{
        inside: 0,
        sent: 0,
        outside: 0,
        stranger: 0,
        strangerSent: 0,
        parentStopped: 0,
        flags: 0,
        told: 0,
        failures: 0,
      },
    })
  })

  it('whose child has no id in task storage connects no more, the child wherever it is, and is stopped', async () => {
    expect(await findings(FAIL_STORAGE)).toEqual({
      ...{
        inside: EPERM,
        sent: EPERM,
        outside: EPERM,
        stranger: 0,
        strangerSent: 0,
        parentStopped: 1,
        childStopped: 1,
      },
      ...{ flags: QUARANTINED, told: 1, failures: 1 },
    })
  })

  it('whose child is moved by a stranger before it makes a call keeps the child, and the stranger is not stopped for it', async () => {
    expect(await findings(FAIL_STORAGE, 'move')).toMatchObject({ parentStopped: 1, stranger: 0, flags: QUARANTINED })
  })

  it('whose child has no place for connects connects no more in its cgroup', async () => {
    expect(await findings(FAIL_PLACE)).toMatchObject({
      ...{ inside: EPERM, sent: EPERM, stranger: 0, parentStopped: 1, flags: QUARANTINED, told: 1 },
    })
  })

  it('whose child has neither connects no more in its cgroup; outside nothing knows it', async () => {
    expect(await findings(FAIL_STORAGE | FAIL_PLACE)).toMatchObject({
      ...{ inside: EPERM, sent: EPERM, outside: 0, stranger: 0, parentStopped: 1, flags: QUARANTINED, told: 1 },
    })
  })
})
