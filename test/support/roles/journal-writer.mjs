/**
 * Writes journals as an engine does: gives events out, puts them into the journals, keeps where it stands in a file, and only then tells its
 * parent what is for good. Started again it gives out what comes after the file's word anew, as a sensor sends it again. To be killed.
 *
 * Arguments: folder, file with the state, ids of sessions.
 */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { Journal } from '../../../build/js/engine/journal/journal.js'
import { fromBigInt } from '../../../build/js/proto/codec.js'

const [folder, stateFile, keyFile, ...sessions] = process.argv.slice(2)
const EVENTS_A_TURN = 40
const TURNS_MAX = 20_000

if (!existsSync(keyFile)) {
  writeFileSync(keyFile, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }))
}
const privateKey = createPrivateKey(readFileSync(keyFile))
// Whoever started this fails for anything that is said here.
function complain(...what) {
  writeSync(2, `${JSON.stringify(what)}\n`)
}

let settled = existsSync(stateFile) ? Number(readFileSync(stateFile, 'utf8')) : 0
let nowMs = performance.now()
const journal = new Journal({
  ...{ folder, log: { info() {}, warn: complain, error: complain }, isResumable: true, segmentBytes: 60_000 },
  key: { privateKey, keyId: '0123456789abcdef' },
  nowUnixNs: () => BigInt(Date.now()) * 1_000_000n,
  // A checkpoint every now and then.
  nowMs: () => (nowMs += 50),
})
const instance = process.pid

function give(seq) {
  for (const sessionId of sessions) {
    journal.append({
      ...{
        schema: 1,
        source: 'test',
        node: { name: 'n', bootId: 'b' },
        sandbox: { id: 's' },
        sessionId,
        toolCallId: '',
      },
      ...{ uid: `${sessionId}-${seq}`, seq: fromBigInt(BigInt(seq)), timeUnixNs: fromBigInt(BigInt(seq)) },
      // What was given out by one that died, and not kept, is made anew: it need not be the same.
      fileOpen: { path: Buffer.from(`/${instance}/${'x'.repeat(seq % 300)}`), userPath: Buffer.from(`${seq}`) },
    })
  }
}

let seq = settled
for (let turn = 0; turn < TURNS_MAX; turn++) {
  for (let n = 0; n < EVENTS_A_TURN; n++) give(++seq)
  if (turn % 3 === 0) journal.flush()
  const passedOn = journal.passedOn()
  writeFileSync(`${stateFile}.new`, String(seq))
  renameSync(`${stateFile}.new`, stateFile)
  passedOn.kept()
  settled = seq
  // Whoever reads this may forget all up to here.
  writeSync(1, `${settled}\n`)
  if (turn % 10 === 0) await new Promise((done) => setImmediate(done))
}
