/**
 * kill -9 of the writer at any instant, two hundred times and more, under load: the next one goes on, the journal verifies, and every event that was
 * acknowledged is in it, once.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it } from 'vitest'
import { toBigInt } from '../../../../src/proto/codec.js'
import { verifyJournal } from '../../../../src/proto/journal/verify-journal.js'
import { patient } from '../../../support/patience.js'
import { sessionId } from './journal-rig.js'

const WRITER = fileURLToPath(new URL('../../../support/roles/journal-writer.mjs', import.meta.url))
/** Each of them kills so many writers, one after the other. */
const CHAINS = 4
const KILLS = 52
const SESSIONS = [sessionId('one'), sessionId('two')]
const dir = mkdtempSync(join(tmpdir(), 'sluice-journal-kill-'))
const alive = new Set<ChildProcess>()

afterAll(() => {
  for (const child of alive) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

interface Chain {
  readonly folder: string
  readonly state: string
  readonly key: string
}

/** What the writer said last that is for good, before it was killed at some instant. */
async function killedOnce({ folder, state, key }: Chain, afterMs: number): Promise<number> {
  const child = spawn(process.execPath, [WRITER, folder, state, key, ...SESSIONS], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  alive.add(child)
  let said = ''
  let problems = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    problems += chunk.toString()
  })
  const begun = new Promise<void>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-1_000)
      resolve()
    })
  })
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
  await Promise.race([begun, closed])
  await sleep(afterMs)
  child.kill('SIGKILL')
  await closed
  alive.delete(child)
  expect(problems).toBe('')
  const lines = said.split('\n')
  // A line is whole, or was not said.
  return Number(lines.at(-2) ?? 0)
}

it(
  `loses nothing that was acknowledged, in ${CHAINS * KILLS} kills`,
  async () => {
    await Promise.all(
      Array.from({ length: CHAINS }, async (_, n) => {
        const chain = { folder: join(dir, `${n}`), state: join(dir, `${n}.state`), key: join(dir, `${n}.key`) }
        let acked = 0
        for (let kill = 0; kill < KILLS; kill++) acked = Math.max(acked, await killedOnce(chain, Math.random() * 6))
        for (const id of SESSIONS) check(chain, id, acked)
      }),
    )
  },
  patient(400_000),
)

function check({ folder, key }: Chain, id: string, acked: number): void {
  expect(existsSync(key)).toBe(true)
  const keys = new Map([['0123456789abcdef', createPublicKey(readFileSync(key))]])
  const seqs: bigint[] = []
  let missing = 0n
  const report = verifyJournal({
    ...{ folder: join(folder, id), sessionId: id, keys },
    onEvent(event) {
      if (event.gap) missing += toBigInt(event.gap.count)
      else seqs.push(toBigInt(event.seq))
    },
  })
  expect(report.problem).toBeNull()
  expect(report.state).toBe('OPEN')
  expect(missing).toBe(0n)
  expect(report.checkpoints).toBeGreaterThan(0)
  expect(seqs.length).toBeGreaterThanOrEqual(acked)
  expect(seqs.every((seq, index) => seq === BigInt(index + 1))).toBe(true)
}
