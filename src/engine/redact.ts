/**
 * Takes secrets out of arguments before an event leaves the engine. What is replaced becomes `[redacted:<8 hex>]`: a keyed tag, so
 * that equal secrets stay equal, different ones different, and nobody without the key can try guesses. The key lives as long as
 * this engine. Everything that is not replaced stays byte for byte. Not here: what a secret looks like (secret-*.ts), and secrets
 * that nothing marks as such.
 */
import { createHmac } from 'node:crypto'
import { scanCommand } from './secret-commands.js'
import { isSecretName } from './secret-names.js'
import { secretsIn } from './secret-scan.js'
import { isHarmless, looksLikeFlag, type Span } from './secret-text.js'

const FLAG_ALONE = /^--?([A-Za-z][\w.-]{0,63})$/
const SHELL = Buffer.from('sh')
const COMMAND_STRING = Buffer.from('-c')
const COMMAND_STRING_FLAG = /^-[A-Za-z]{0,8}c$/

export class Redactor {
  private readonly key: Uint8Array
  /** Secrets replaced so far. */
  redacted = 0
  /** Characters that the scans looked at so far. */
  steps = 0

  /** @param key at least 16 random bytes */
  constructor(key: Uint8Array) {
    this.key = key
  }

  /** A whole argv. Arguments without a secret come back as they are. */
  redactArgs(args: readonly Uint8Array[]): Uint8Array[] {
    const texts = args.map(latin1)
    const byProgram = new Map<number, Span>()
    scanCommand(texts, (word, span) => {
      const [start, end] = span
      if (!isHarmless(texts[word]?.slice(start, end) ?? '')) byProgram.set(word, span)
    })
    return args.map((arg, i) => {
      const text = texts[i] ?? ''
      const spans = this.secretsIn(text, texts[i - 1] ?? '')
      const span = byProgram.get(i)
      if (span !== undefined) spans.push(span)
      return spans.length === 0 ? arg : Buffer.from(this.replace(text, spans), 'latin1')
    })
  }

  /** What a shell or an interpreter was given to run, or a part of it. */
  redactScript(script: Uint8Array): Uint8Array {
    return this.redactArgs([SHELL, COMMAND_STRING, script])[2] ?? script
  }

  private secretsIn(text: string, previous: string): Span[] {
    const flag = FLAG_ALONE.exec(previous)?.[1]
    if (flag !== undefined && text !== '' && isSecretName(flag) && !isOption(flag, text)) return [[0, text.length]]
    const { spans, steps } = secretsIn(text, { commandString: COMMAND_STRING_FLAG.test(previous) })
    this.steps += steps
    return spans
  }

  /** Spans that overlap become one. */
  private replace(text: string, spans: readonly Span[]): string {
    const sorted = [...spans].sort((a, b) => a[0] - b[0])
    const parts: string[] = []
    let done = 0
    for (let i = 0; i < sorted.length; i++) {
      let [start, end] = sorted[i] ?? [0, 0]
      while (i + 1 < sorted.length && (sorted[i + 1]?.[0] ?? end) < end) {
        i++
        end = Math.max(end, sorted[i]?.[1] ?? end)
      }
      start = Math.max(start, done)
      parts.push(text.slice(done, start), this.tag(text.slice(start, end)))
      done = end
    }
    parts.push(text.slice(done))
    return parts.join('')
  }

  private tag(secret: string): string {
    this.redacted++
    return `[redacted:${createHmac('sha256', this.key).update(secret, 'latin1').digest('hex').slice(0, 8)}]`
  }
}

/** What follows the flag says that it takes no secret: another flag, a boolean, the fields of `docker build --secret id=…`. */
function isOption(flag: string, argument: string): boolean {
  if (looksLikeFlag(argument) || /^(?:true|false)$/i.test(argument)) return true
  return flag.toLowerCase() === 'secret' && /^(?:id|type|src|source|env)=/.test(argument)
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}
