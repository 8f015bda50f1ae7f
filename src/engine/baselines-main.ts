/**
 * What is usual, shown and forgotten where no engine runs: `{path, forget}` as JSON, answered as JSON. Guards that root becomes the folder's owner
 * before it opens what that one can write, and that nothing is made where nothing is.
 */
import { lstatSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'
import { errnoCode, messageOf } from '../base/error.js'
import { createLog } from '../base/log.js'
import { type IBaseline, toBigInt } from '../proto/codec.js'
import { Baselines } from './baselines.js'

const ROOT_UID = 0
const question = z.strictObject({
  path: z.string().startsWith('/'),
  forget: z.strictObject({ agent: z.string(), ownerUid: z.number() }).nullable(),
})

function answer(): { readonly all: readonly object[]; readonly forgotten: boolean } {
  const { path, forget } = question.parse(JSON.parse(process.argv[2] ?? ''))
  becomeOwnerOf(dirname(path))
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return { all: [], forgotten: false }
  const kept = new Baselines(path, createLog({ role: 'engine', level: 'warn' }))
  try {
    const forgotten = forget !== null && kept.forget(forget)
    return { all: kept.all().map(plain), forgotten }
  } finally {
    kept.close()
  }
}

function plain(one: IBaseline): object {
  return { ...one, lastUnixMs: Number(toBigInt(one.lastUnixMs)) }
}

function becomeOwnerOf(folder: string): void {
  const found = lstatSync(folder, { throwIfNoEntry: false })
  if (found === undefined || process.geteuid?.() !== ROOT_UID) return
  process.setgroups?.([found.gid])
  process.setgid?.(found.gid)
  process.setuid?.(found.uid)
}

function answerOrWhy(): object {
  try {
    return answer()
  } catch (error) {
    return { error: messageOf(error), isForbidden: errnoCode(error) === 'EACCES' }
  }
}

process.stdout.write(JSON.stringify(answerOrWhy()))
