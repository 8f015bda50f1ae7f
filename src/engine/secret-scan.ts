/**
 * Finds the secrets in one argument, by all that an argument itself can tell. Not here: what only its neighbours can tell (redact.ts,
 * secret-commands.ts), and secrets that nothing marks as such.
 */
import { scanAssignments } from './secret-assignments.js'
import { PROGRAM_SOURCE } from './secret-commands.js'
import { FORMAT_PREFIX_SOURCE, scanFormats, scanKeyBlocks } from './secret-formats.js'
import { scanFlags, scanNetrc, scanSql } from './secret-phrases.js'
import { scanShell } from './secret-shell.js'
import { SecretText, type Span } from './secret-text.js'
import { scanUrls } from './secret-urls.js'

/** Without one of these in it no argument holds a secret name or a URL. */
const NAME_HINT = /pass|pwd|pat|secret|token|cred|key|auth|cookie|identified|[?&](?:hmac|pw|sig)|signature|:\/\//i
const FORMAT_HINT = new RegExp(`${FORMAT_PREFIX_SOURCE}|-----BEGIN`)
const PROGRAM_HINT = new RegExp(PROGRAM_SOURCE)
const BLANK = /\s/

/**
 * @param options.commandString the text is known to be a command (`sh -c`)
 * @returns the secrets, in no order and perhaps overlapping; `steps`: characters that were looked at
 */
export function secretsIn(text: string, options: { commandString: boolean }): { spans: Span[]; steps: number } {
  const named = NAME_HINT.test(text)
  const formed = FORMAT_HINT.test(text)
  const script = BLANK.test(text)
  const commands = script && PROGRAM_HINT.test(text)
  if (!named && !formed && !commands) return { spans: [], steps: 0 }
  const scan = new SecretText(text, options)
  if (formed) {
    scanKeyBlocks(scan)
    scanFormats(scan)
  }
  if (named) {
    scanUrls(scan)
    scanAssignments(scan)
    if (script) {
      scanFlags(scan)
      scanSql(scan)
      scanNetrc(scan)
    }
  }
  if (commands) scanShell(scan)
  return { spans: scan.spans, steps: scan.steps }
}
