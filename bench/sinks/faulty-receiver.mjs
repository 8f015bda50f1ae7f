/**
 * A receiver of Elastic's bulk interface, a process of its own, that fails one request in five: it is busy (429 with Retry-After), broken (503), breaks off
 * before and while it answers, says nothing, or takes a part; one in 200 it takes and does not say so. Argument: how many events come. Says its port,
 * then, once all are there or when it is asked (SIGUSR2), what it has, as JSON.
 */
import { createServer } from 'node:http'
import { gunzipSync } from 'node:zlib'

const wanted = Number(process.argv[2])
/** By position, how often it came. */
const seen = new Uint8Array(wanted + 1)
const told = { distinct: 0, again: 0, requests: 0, failed: 0 }
const UNTOLD_EVERY = 200
const FAILS_EVERY = 5

/** What becomes of a request; each gets its items and how to answer. */
const FAULTS = [
  (_, answer) => reply(answer, 429, '{}', { 'retry-after': '1' }),
  (_, answer) => reply(answer, 503, 'down'),
  (_, answer) => answer.socket.resetAndDestroy(),
  (_, answer) => answer.writeHead(200, { 'content-length': '1000' }).write('{"items"', () => answer.destroy()),
  () => {},
  (items, answer) => reply(answer, 200, JSON.stringify({ errors: true, items: items.map(halfTaken) })),
]

const server = createServer((request, answer) => {
  const chunks = []
  request.on('error', () => {})
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const lines = gunzipSync(Buffer.concat(chunks)).toString('utf8').trimEnd().split('\n')
    const items = []
    for (let at = 0; at < lines.length; at += 2) items.push(Number(/"seq":"(\d+)"/.exec(lines[at + 1])[1]))
    told.requests++
    if (told.requests % FAILS_EVERY === 0) {
      told.failed++
      FAULTS[(told.requests / FAILS_EVERY) % FAULTS.length](items, answer)
    } else if (told.requests % UNTOLD_EVERY === 1 + UNTOLD_EVERY / 2) {
      told.failed++
      items.forEach(take)
      answer.destroy()
    } else reply(answer, 200, JSON.stringify({ errors: false, items: items.map(take) }))
    if (told.distinct === wanted) say()
  })
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
process.on('SIGUSR2', say)

function take(seq) {
  if (seen[seq] === 0) told.distinct++
  else told.again++
  seen[seq] = 1
  return { create: { status: 201 } }
}

function halfTaken(seq, at) {
  return at % 2 === 0 ? take(seq) : { create: { status: 429, error: { type: 'es_rejected_execution_exception' } } }
}

function reply(answer, status, body, headers = {}) {
  answer.writeHead(status, headers)
  answer.end(body)
}

function say() {
  process.stdout.write(`${JSON.stringify(told)}\n`)
}
