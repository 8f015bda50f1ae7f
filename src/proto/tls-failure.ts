/**
 * Why a TLS connection to an engine did not come about, as one line with the next step: from what grpc-js says of its last attempt. Guards
 * nothing: it is for people. What it does not know, it passes on as it is.
 */
import { SluiceError } from '../base/error.js'
import type { TlsFiles } from './tls-files.js'

/** Of a message that is passed on; OpenSSL's have the names of its source files. */
const REASON_CHARS_MAX = 300
const UNTOLD = /Last error: (?:Error: |Error \[\w+\]: )?(.*?)\.?\s*Resolution note/s

interface Known {
  readonly like: RegExp
  message(where: string, files: TlsFiles, reason: string): string
  readonly hint: string
}

const KNOWN: readonly Known[] = [
  {
    like: /ECONNREFUSED/,
    message: (where) => `nothing listens at ${where}`,
    hint: 'start the engine there, or correct the address',
  },
  {
    like: /ENOTFOUND|EAI_AGAIN|Name resolution failed/,
    message: (where) => `the name of ${where} is not known`,
    hint: 'correct the address, or the name service of this machine',
  },
  {
    like: /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/,
    message: (where) => `${where} can't be reached`,
    hint: 'is there a route, and does a firewall let it through?',
  },
  {
    like: /altnames|altname/,
    message: (where, _, reason) => `what listens at ${where} has a certificate for another name: ${reason}`,
    hint: "set serverName to a name in the engine's certificate",
  },
  {
    like: /certificate has expired/,
    message: (where) => `the certificate of the engine at ${where} has expired`,
    hint: "renew the engine's certificate and start it again",
  },
  {
    like: /self[- ]signed|unable to verify|unable to get|issuer/i,
    message: (where, { ca }) => `the certificate of what listens at ${where} is not from the CA in ${ca}`,
    hint: 'both ends need the CA that made the other one’s certificate',
  },
  {
    like: /wrong version number|packet length|record layer|unexpected message/i,
    message: (where) => `what listens at ${where} does not speak TLS`,
    hint: 'correct the address: it must be the engine’s uplink',
  },
  {
    like: /Failed to connect|socket hang up|ECONNRESET|disconnected before/,
    message: (where) => `the engine at ${where} closed the connection: it may not accept this sensor's certificate`,
    hint: "the engine's log says why",
  },
]

/** `details`: of the status that a call ended with for want of a connection. */
export function tlsFailure(where: string, details: string, files: TlsFiles): SluiceError {
  const reason = lastError(details)
  const known = KNOWN.find(({ like }) => like.test(details))
  if (known === undefined) return new SluiceError('IO', `no connection to the engine at ${where}: ${reason}`)
  return new SluiceError('IO', known.message(where, files, reason), { hint: known.hint })
}

/** What went wrong on the way, of all that grpc-js says of it. */
export function lastError(details: string): string {
  return (UNTOLD.exec(details)?.[1] ?? details).replaceAll(/\s+/g, ' ').slice(0, REASON_CHARS_MAX)
}

/** It took the connection, or not even that, and said nothing. */
export function tlsSilence(where: string, deadlineMs: number): SluiceError {
  return new SluiceError('IO', `the engine at ${where} did not answer within ${deadlineMs} ms`, {
    hint: 'is the address right, and does a firewall let it through?',
  })
}
