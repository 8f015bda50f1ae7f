/** `host:port` as people write it, `[::1]:port` included. Guards nothing else: whether anybody is there is found out later. */
import { SluiceError } from '../base/error.js'

const FORM = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^\s:[\]/]+)):(\d{1,5})$/
const PORT_MAX = 65_535

export interface TcpAddress {
  readonly host: string
  readonly port: number
}

/** Throws USAGE. Port 0 is for those who listen: any that is free. */
export function parseTcpAddress(text: string): TcpAddress {
  const [, v6, name, digits] = FORM.exec(text) ?? []
  const host = v6 ?? name
  const port = Number(digits)
  if (host !== undefined && port <= PORT_MAX) return { host, port }
  throw new SluiceError('USAGE', `${JSON.stringify(text)} is no address`, {
    hint: 'write host:port, as engine.example:7443 or [::1]:7443',
  })
}
