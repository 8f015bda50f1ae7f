/**
 * Queries that the kernel had no room for at a socket of this gateway's: nobody saw them, but the kernel counts them. Of sockets in other
 * network namespaces nothing is known here.
 */
import { readFileSync } from 'node:fs'
import type { DnsPorts } from './dns-server.js'

/** A line a socket: `12: 0100007F:0035 00000000:0000 07 … 0`, the address and port in hex, drops at the end. */
const FILES = { ip4: '/proc/self/net/udp', ip6: '/proc/self/net/udp6' } as const
const HEX = 16

export function kernelDrops({ ip4, ip6 }: DnsPorts): number {
  return dropsAt(FILES.ip4, ip4) + (ip6 === 0 ? 0 : dropsAt(FILES.ip6, ip6))
}

function dropsAt(file: string, port: number): number {
  try {
    const lines = readFileSync(file, 'utf8').split('\n')
    const fields = lines.map((line) => line.trim().split(/\s+/))
    const own = fields.find(([, local = '']) => Number.parseInt(local.split(':')[1] ?? '', HEX) === port)
    return Number(own?.at(-1) ?? 0) || 0
  } catch {
    return 0
  }
}
