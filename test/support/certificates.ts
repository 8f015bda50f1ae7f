/** Certificates of a test's own, made by openssl as docs say: an authority, and what it and others sign. */
import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface CertFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface CertOptions {
  /** As `DNS:node-a,IP:127.0.0.1`; none: the common name alone. */
  san?: string
  /** Of the subject; the file's name by default. */
  cn?: string
  /** -1: it expired yesterday. */
  days?: number
  usage?: 'clientAuth' | 'serverAuth'
}

export interface Authority {
  readonly ca: string
  /** Makes NAME.pem and NAME.key. */
  sign(name: string, options?: CertOptions): CertFiles
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
const openssl = (args: string[]) => void execFileSync('openssl', args, { stdio: 'pipe' })

export function makeAuthority(dir: string, name = 'ca'): Authority {
  const at = (file: string) => join(dir, file)
  const [ca, caKey] = [at(`${name}.pem`), at(`${name}.key`)]
  openssl(['req', '-x509', ...KEY, '-keyout', caKey, '-out', ca, '-days', '2', '-subj', `/CN=${name}`])
  return {
    ca,
    sign(file, { san, cn = file, days = 2, usage } = {}) {
      const [cert, key, request, extensions] = ['pem', 'key', 'csr', 'ext'].map((end) => at(`${file}.${end}`)) as [
        string,
        string,
        string,
        string,
      ]
      openssl(['req', ...KEY, '-keyout', key, '-out', request, '-subj', `/CN=${cn}`])
      const lines = [san === undefined ? '' : `subjectAltName=${san}`, usage ? `extendedKeyUsage=${usage}` : '']
      writeFileSync(extensions, ['basicConstraints=CA:FALSE', ...lines, ''].join('\n'))
      const by = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', String(days), '-extfile', extensions]
      openssl(['x509', '-req', '-in', request, ...by, '-out', cert])
      chmodSync(key, 0o600)
      return { ca, cert, key }
    },
  }
}
