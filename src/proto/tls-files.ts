/**
 * Certificates and keys from files, as both ends of a remote uplink need them. Guards that a key others may read is not used, that key and
 * certificate belong together, and that what can't work is said at the start, with the file's name. Not here: who is let in with them.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'
import { messageOf, reasonOf, SluiceError } from '../base/error.js'

const FILE_BYTES_MAX = 1024 * 1024
const GROUP_OR_OTHERS = 0o077
const ROOT_UID = 0
export const TLS_MIN_VERSION = 'TLSv1.2'

export interface TlsFiles {
  /** Of the authority that the other end's certificate must come from. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface TlsIdentity {
  readonly files: TlsFiles
  readonly ca: Buffer
  readonly cert: Buffer
  readonly key: Buffer
  readonly certificate: X509Certificate
  readonly context: SecureContext
}

/** Throws IO, PRIVILEGE or USAGE, always with the file. */
export function loadTlsIdentity(files: TlsFiles): TlsIdentity {
  const ca = readOwnFile(files.ca, 'CA certificate', false)
  const cert = readOwnFile(files.cert, 'certificate', false)
  const key = readOwnFile(files.key, 'key', true)
  parsed(files.ca, 'CA certificate', () => new X509Certificate(ca))
  const certificate = parsed(files.cert, 'certificate', () => new X509Certificate(cert))
  const privateKey = parsed(files.key, 'key', () => createPrivateKey(key))
  checkPair(files, certificate, privateKey)
  checkDates(files, certificate)
  const minVersion = TLS_MIN_VERSION
  const context = parsed(files.cert, 'certificate', () => createSecureContext({ ca, cert, key, minVersion }))
  return { files, ca, cert, key, certificate, context }
}

/** By its DNS names, or by its common name where it has none. Wildcards name nobody. */
export function isNameOf(certificate: X509Certificate, name: string): boolean {
  // What it returns is the certificate's word: a name that begins with a dot would match all below it.
  const found = certificate.checkHost(name, { subject: 'default', wildcards: false, partialWildcards: false })
  return found?.toLowerCase() === name.toLowerCase()
}

/** For people. */
export function namesOf(certificate: X509Certificate): string {
  return certificate.subjectAltName ?? certificate.subject.replaceAll('\n', ', ')
}

/** A file of the configuration; a secret must be its owner's alone. Throws IO, LIMIT or PRIVILEGE, with the file. */
export function readOwnFile(file: string, what: string, isSecret: boolean): Buffer {
  let fd: number
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch (error) {
    throw new SluiceError('IO', `the ${what} ${file} can't be read: ${reasonOf(error)}`, {
      hint: 'the configuration names it; it must be there before the start',
      cause: error,
    })
  }
  try {
    const found = fstatSync(fd)
    if (!found.isFile()) throw new SluiceError('IO', `the ${what} ${file} is not a regular file`)
    if (found.size > FILE_BYTES_MAX) {
      throw new SluiceError('LIMIT', `the ${what} ${file} has more than ${FILE_BYTES_MAX} bytes`)
    }
    const owners = [ROOT_UID, process.geteuid?.() ?? ROOT_UID]
    if (isSecret && ((found.mode & GROUP_OR_OTHERS) !== 0 || !owners.includes(found.uid))) {
      throw new SluiceError('PRIVILEGE', `the ${what} ${file} may be read by others than root`, {
        hint: `chown root ${file} && chmod 600 ${file}; if it was so for long, make a new one`,
      })
    }
    return readFileSync(fd)
  } finally {
    closeSync(fd)
  }
}

function parsed<T>(file: string, what: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw new SluiceError('USAGE', `the ${what} ${file} is none that can be used: ${messageOf(error)}`, {
      hint: 'it must be PEM, and a key without a passphrase',
      cause: error,
    })
  }
}

function checkPair({ cert, key }: TlsFiles, certificate: X509Certificate, privateKey: KeyObject): void {
  if (certificate.checkPrivateKey(privateKey)) return
  throw new SluiceError('USAGE', `the key ${key} is not the key of the certificate ${cert}`, {
    hint: 'name the two files that were made together; in a chain the own certificate comes first',
  })
}

function checkDates({ cert }: TlsFiles, { validFrom, validTo }: X509Certificate): void {
  const now = Date.now()
  if (now > Date.parse(validTo)) {
    throw new SluiceError('USAGE', `the certificate ${cert} expired on ${validTo}`, { hint: 'make a new one' })
  }
  if (now < Date.parse(validFrom)) {
    throw new SluiceError('USAGE', `the certificate ${cert} is not valid before ${validFrom}`, {
      hint: "is this machine's clock right?",
    })
  }
}
