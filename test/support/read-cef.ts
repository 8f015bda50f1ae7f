/** A reader of the Common Event Format, by its description (revision 25), and the keys of its dictionary. Knows nothing of who writes it. */

/** Of the dictionary, what producers may send; and what is ours by the form that the description asks for. */
export const CEF_KEYS: readonly string[] = [
  ...[
    'act',
    'app',
    'cat',
    'cnt',
    'destinationDnsDomain',
    'destinationServiceName',
    'deviceDirection',
    'deviceDnsDomain',
  ],
  ...[
    'deviceExternalId',
    'deviceFacility',
    'deviceInboundInterface',
    'deviceProcessName',
    'dhost',
    'dmac',
    'dntdom',
    'dpid',
  ],
  ...[
    'dpriv',
    'dproc',
    'dpt',
    'dst',
    'dtz',
    'duid',
    'duser',
    'dvc',
    'dvchost',
    'dvcmac',
    'dvcpid',
    'end',
    'externalId',
  ],
  ...['fileHash', 'fileId', 'filePath', 'filePermission', 'fileType', 'flexNumber1', 'flexNumber1Label', 'flexNumber2'],
  ...[
    'flexNumber2Label',
    'flexString1',
    'flexString1Label',
    'flexString2',
    'flexString2Label',
    'fname',
    'fsize',
    'in',
    'msg',
  ],
  ...[
    'oldFileName',
    'oldFilePath',
    'out',
    'outcome',
    'proto',
    'reason',
    'request',
    'rt',
    'shost',
    'smac',
    'spid',
    'spriv',
  ],
  ...['sproc', 'spt', 'src', 'start', 'suid', 'suser', 'type'],
  ...[1, 2, 3, 4, 5, 6].flatMap((number) => [`cs${number}`, `cs${number}Label`]),
  ...[1, 2, 3].flatMap((number) => [`cn${number}`, `cn${number}Label`]),
  ...[1, 2, 3, 4].flatMap((number) => [`c6a${number}`, `c6a${number}Label`, `cfp${number}`, `cfp${number}Label`]),
  'SluiceSluiceEvent',
]
const HEADER_FIELDS = 7

export interface ReadCef {
  /** With `CEF:0` as the first of seven. */
  readonly header: readonly string[]
  readonly extension: ReadonlyMap<string, string>
}

/** Throws for what is none, or has a key twice. */
export function readCef(line: string): ReadCef {
  const header: string[] = []
  let at = 0
  while (header.length < HEADER_FIELDS) {
    let field = ''
    for (; line[at] !== '|'; at++) {
      if (at >= line.length) throw new Error('the header ends too early')
      if (line[at] === '\\') at++
      field += line[at]
    }
    header.push(field)
    at++
  }
  const extension = new Map<string, string>()
  // A value ends before the next key: an equals sign in it is escaped.
  const pair = /([A-Za-z0-9_.]+)=((?:\\.|[^\\=])*?)(?= [A-Za-z0-9_.]+=|$)(?: |$)/gsy
  pair.lastIndex = at
  while (pair.lastIndex < line.length) {
    const from = pair.lastIndex
    const found = pair.exec(line)
    if (found === null) throw new Error(`no pair at ${from}: ${line.slice(from)}`)
    const [, key = '', value = ''] = found
    if (extension.has(key)) throw new Error(`${key} is there twice`)
    extension.set(
      key,
      value.replace(/\\(.)/gs, (_, of: string) => ESCAPES[of] ?? of),
    )
  }
  return { header, extension }
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r' }
