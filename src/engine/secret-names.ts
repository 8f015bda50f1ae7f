/**
 * Decides whether a name (of a flag, a variable, a JSON key, a header) says that its value is a secret. Guards against both
 * mistakes: `PGPASSWORD` and `--apiKey` are, `--tokenizer`, `max_tokens` and `--password-file` are not. Not here: values.
 */

/** Words that make a secret wherever they stand inside a word: MYPASSWORD, dbpasswd. */
const INSIDE = /password|passwd|passphrase|secret|credential/
/** Words that make a secret at the end of a word: token, authtoken, apikey. `tokens` and `tokenizer` count and cut. */
const ENDING = new RegExp(
  '(?:token|(?:api|access|private|secret|auth|account|storage|shared|master)key|' +
    '(?:admin|db|ftp|http|key|login|mail|proxy|require|root|smtp|ssh|store|sudo|user)pass)$',
)
/** What `key` comes after where it is a secret's, in any spelling. */
const KEY_BEFORE = words(
  'access account api auth encryption functions license master private secret shared signing subscription webhook',
)
/** What `KEY` comes after in the name of a variable that holds no secret. Every other SOME_KEY does. */
const KEY_NOT_AFTER = words(
  'any arrow cache column composite dict enter field file foreign group hash host hot idempotency index lookup map ' +
    'message natural object partition press primary pub public registry route routing row shift sort surrogate unique',
)
const PASS_NOT_AFTER = words('band by first high low multi num one second single test third two')
const PAT_NOT_AFTER = words('dir exclude file glob include name path search')
/** A last word that says the value describes the secret instead of being it. */
const DESCRIBES = words(
  'age arn budget count dir directory endpoint env expires expiration expiry field file file_path format header helper id ids ' +
    'index length len lifetime limit manager max min mode name names num path policy prompt provider ref size stdin store ' +
    'strategy timeout ttl type uri url usage username version window',
)
/** In the query of a URL a short name is enough. */
const QUERY = words('auth hmac key pass pw pwd sig signature')

/** @param name without leading dashes; any case, words split by `-`, `_`, `.` or camel case */
export function isSecretName(name: string): boolean {
  // The registry logins of npm: `_auth`, `//host/:_auth`.
  if (/(?:^|:)_auth$/.test(name)) return true
  const parts = partsOf(name)
  const last = parts.at(-1)
  if (last === undefined || (parts.length > 1 && DESCRIBES.has(last))) return false
  const before = parts.at(-2) ?? ''
  switch (last) {
    case 'pwd':
      return before !== '' && parts[0] !== 'old'
    case 'pass':
      if (before !== '' ? !PASS_NOT_AFTER.has(before) : name === 'PASS') return true
      break
    case 'pat':
      if (before !== '' ? !PAT_NOT_AFTER.has(before) : name === 'PAT') return true
      break
    case 'key':
      if (KEY_BEFORE.has(before) || (isVariable(name) && before !== '' && !KEY_NOT_AFTER.has(before))) return true
      break
  }
  return parts.some((part) => INSIDE.test(part) || ENDING.test(part))
}

/** @param name before a `=` in the query of a URL */
export function isSecretQueryName(name: string): boolean {
  return QUERY.has(name.toLowerCase()) || /-signature$/i.test(name) || isSecretName(name)
}

function partsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]/)
    .filter((part) => part !== '')
}

/** SSH_KEY, process.env.SSH_KEY */
function isVariable(name: string): boolean {
  return /(?:^|\.)[A-Z][A-Z0-9_]*$/.test(name)
}

function words(list: string): ReadonlySet<string> {
  return new Set(list.split(' '))
}
