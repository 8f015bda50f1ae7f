/**
 * What a sink needs from files that only root may read: read once, before privileges go. Guards that a secret never leaves this value but to the
 * receiver: nothing here is logged, and messages name files alone.
 */
import type { ConnectionOptions } from 'node:tls'
import { SluiceError } from '../base/error.js'
import { readOwnFile, TLS_MIN_VERSION } from '../proto/tls-files.js'
import { isOtlpHeader, type NatsSettings, type SinkSettings, type TlsSettings } from '../schema/sink-settings.js'

export interface SinkSecrets {
  /** Null: none is sent. */
  readonly token: string | null
  /** Where the address itself is one; null: it is not. */
  readonly url: string | null
  /** Of a user of NATS; null: none. */
  readonly nats: NatsIdentity | null
  /** Of the user that `sasl` names; null: none. */
  readonly password: string | null
  /** Of requests, by name. */
  readonly headers: Readonly<Record<string, string>>
  readonly tls: ConnectionOptions
}

export interface NatsIdentity {
  readonly kind: 'credentials' | 'nkey'
  readonly text: string
}

/** https://docs.nats.io/using-nats/developer/connecting/creds */
const CREDENTIALS = /-BEGIN NATS USER JWT-[\s\S]*-BEGIN USER NKEY SEED-/
/** https://docs.nats.io/using-nats/developer/connecting/nkey: base32, of a user. */
const NKEY_SEED = /^SU[A-Z2-7]{56}$/

/** Throws what a file says, or does not. */
export function sinkSecrets(settings: SinkSettings): SinkSecrets {
  const tls = 'tls' in settings ? settings.tls : undefined
  const tokenFile = 'tokenFile' in settings ? settings.tokenFile : undefined
  return {
    token: tokenFile === undefined ? null : token(tokenFile),
    url: 'urlFile' in settings ? secretUrl(settings.urlFile) : null,
    nats: settings.type === 'nats' ? natsIdentity(settings) : null,
    password: settings.type === 'kafka' && settings.sasl ? password(settings.sasl.passwordFile) : null,
    headers: settings.type === 'otlp' && settings.headersFile ? headers(settings.headersFile) : {},
    tls: tlsOptions(tls ?? {}),
  }
}

function token(file: string): string {
  const text = readOwnFile(file, 'token', true).toString('utf8').trim()
  if (/^[!-~]{1,8192}$/.test(text)) return text
  throw new SluiceError('USAGE', `the token ${file} must be one line of printable ASCII`)
}

function password(file: string): string {
  const text = readOwnFile(file, 'password', true)
    .toString('utf8')
    .replace(/\r?\n$/, '')
  if (/^[^\p{Cc}]{1,1024}$/u.test(text)) return text
  throw new SluiceError('USAGE', `the password ${file} must be one line`)
}

function natsIdentity({ credentialsFile, nkeyFile }: NatsSettings): NatsIdentity | null {
  if (credentialsFile !== undefined) {
    const text = readOwnFile(credentialsFile, 'credentials', true).toString('utf8')
    if (CREDENTIALS.test(text)) return { kind: 'credentials', text }
    throw new SluiceError(
      'USAGE',
      `the credentials ${credentialsFile} must have a user's JWT and seed, as nsc writes them`,
    )
  }
  if (nkeyFile === undefined) return null
  const text = readOwnFile(nkeyFile, 'nkey', true).toString('utf8').trim()
  if (NKEY_SEED.test(text)) return { kind: 'nkey', text }
  throw new SluiceError('USAGE', `the nkey ${nkeyFile} must be one line with a user's seed, which begins with SU`)
}

function headers(file: string): Record<string, string> {
  const lines = readOwnFile(file, 'headers', true).toString('utf8').split('\n')
  const found: Record<string, string> = {}
  for (const [at, line] of lines.entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const [, name = '', value = ''] = /^([^:]*):(.*)$/.exec(line) ?? []
    // What it says is not told.
    if (!isOtlpHeader(name.trim().toLowerCase(), value.trim())) {
      const hint = 'a line is `name: value` in printable ASCII, and none of HTTP’s own headers'
      throw new SluiceError('USAGE', `line ${at + 1} of the headers ${file} can't be sent`, { hint })
    }
    found[name.trim().toLowerCase()] = value.trim()
  }
  return found
}

function secretUrl(file: string): string {
  const text = readOwnFile(file, 'webhook', true).toString('utf8').trim()
  // What it says is not told.
  if (/^https?:\/\/[!-~]{1,4096}$/.test(text) && URL.canParse(text)) return text
  throw new SluiceError('USAGE', `the webhook ${file} must be one line with an http or https address`)
}

function tlsOptions({ ca, cert, key, serverName }: TlsSettings): ConnectionOptions {
  if ((cert === undefined) !== (key === undefined)) {
    throw new SluiceError('USAGE', 'a sink’s tls needs cert and key together')
  }
  return {
    minVersion: TLS_MIN_VERSION,
    ...(ca === undefined ? {} : { ca: readOwnFile(ca, 'CA certificate', false) }),
    ...(cert === undefined ? {} : { cert: readOwnFile(cert, 'certificate', false) }),
    ...(key === undefined ? {} : { key: readOwnFile(key, 'key', true) }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  }
}
