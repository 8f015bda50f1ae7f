/**
 * How this sensor reaches its engine: by a unix socket of this machine, or by TLS. Guards that what can't work (a file that is not there, a
 * certificate for another node) is said at the start, and that certificates are read again for each attempt, so that renewed ones count.
 * Not here: when attempts are made.
 */
import { SluiceError } from '../base/error.js'
import { connectUplink, connectUplinkTls, isNameOf, loadTlsIdentity, namesOf, type UplinkCall } from '../proto/rpc.js'
import type { SensorConfig } from './config.js'

export interface EngineAccess {
  /** A sensor whose engine is elsewhere works without it. */
  readonly isRemote: boolean
  connect(deadlineMs: number): Promise<UplinkCall>
}

/** Throws USAGE, PRIVILEGE or IO for certificates that can't be used. */
export function engineAccess({ uplinkSocket, uplinkTls }: SensorConfig, nodeName: string): EngineAccess {
  if (uplinkTls === undefined) {
    return { isRemote: false, connect: (deadlineMs) => connectUplink(uplinkSocket ?? '', deadlineMs) }
  }
  const identity = () => {
    const loaded = loadTlsIdentity(uplinkTls)
    const { certificate } = loaded
    if (isNameOf(certificate, nodeName)) return loaded
    throw new SluiceError(
      'USAGE',
      `the certificate ${uplinkTls.cert} is for ${namesOf(certificate)}, not for this node, ${nodeName}`,
      { hint: 'make one with that DNS name, or set sensor.nodeName' },
    )
  }
  identity()
  return { isRemote: true, connect: async (deadlineMs) => connectUplinkTls(uplinkTls, identity(), deadlineMs) }
}
