/**
 * Who may talk to the engine: decided by what the kernel says of the peer, before a byte of it is parsed. Each socket is for its own
 * users, and for nobody who is in a sandbox, whatever the user. What can't be found out is refused; every refusal is handed on.
 * Not here: asking the kernel (handed in), and what a caller may do once it is in.
 */
import type net from 'node:net'
import { messageOf } from '../base/error.js'
import type { Caller, PeerCheck } from '../proto/rpc.js'
import type { RefusedPeer } from './refusal-log.js'

export interface PeerFacts extends Caller {
  /** Whether the process that connected still lives; null where the kernel can't tell. */
  readonly alive: boolean | null
}

export interface PeerRules {
  /** May throw: then the peer is refused. */
  peer(fd: number): PeerFacts
  /** Null: `admit` decides. */
  readonly uids: readonly number[] | null
  /** The cgroup of the sandbox that the process is in, null if it is in none. */
  sandboxOf(pid: number): string | null
  /** Asked last, of a peer that all else lets in: null, or why this one is refused. */
  admit?(peer: PeerFacts): string | null
  onRefused(peer: RefusedPeer): void
}

/** The same rules for every socket: a root process in a sandbox must not pass for a sensor either. */
export function peerCheck(rules: PeerRules): PeerCheck {
  return (socket) => {
    const judged = judge(socket, rules)
    if ('caller' in judged) return { allowed: true, caller: judged.caller }
    rules.onRefused(judged)
    return { allowed: false, reason: judged.reason }
  }
}

/**
 * An engine of one run serves one command line. A root process that left its sandbox's cgroup passes every other rule, but it is not
 * that process. `supervisorPid` null: anybody that the other rules let in.
 */
export function onlySupervisor(supervisorPid: number | null): (peer: PeerFacts) => string | null {
  return ({ pid }) =>
    supervisorPid === null || pid === supervisorPid ? null : `process ${pid} is not the one that started this engine`
}

/**
 * The same for a part of ours, which connects before anything runs that could pass for it. An engine that was started again, when
 * something does run, is told which process the part is.
 */
export function onlyFirst(rules: {
  supervisorPid: number | null
  part: 'sensor' | 'gateway'
  pid: number | null
}): (peer: PeerFacts) => string | null {
  let first: number | null = rules.pid
  return ({ pid }) => {
    if (rules.supervisorPid === null || pid === first) return null
    if (first !== null) return `process ${pid} is not the ${rules.part}, which was process ${first}`
    first = pid
    return null
  }
}

/** As `onlySupervisor`, for the sensors of an agent: its own children, which nothing in a sandbox can become. */
export function onlyChildrenOf(
  supervisorPid: number,
  parentOf: (pid: number) => number | null,
): (peer: PeerFacts) => string | null {
  return ({ pid }) => (parentOf(pid) === supervisorPid ? null : `process ${pid} was not started by the agent`)
}

function judge(socket: net.Socket, rules: PeerRules): RefusedPeer | { readonly caller: Caller } {
  const unknown = { pid: null, uid: null, sandbox: null }
  const fd = descriptorOf(socket)
  if (fd === null) return { ...unknown, reason: 'its socket is closed already' }
  let peer: PeerFacts
  try {
    peer = rules.peer(fd)
  } catch (error) {
    return { ...unknown, reason: `who it is can't be found out: ${messageOf(error)}` }
  }
  const { pid, uid, gid, groups } = peer
  const refused = (reason: string, sandbox: string | null = null) => ({ pid, uid, sandbox, reason })
  if (pid <= 0) return refused('its pid is not visible from here, so it may be in a sandbox')
  // Its pid may be another process's by now, and whoever holds its socket may be anywhere.
  if (peer.alive === false) return refused(`process ${pid}, which connected, is gone`)
  const sandbox = rules.sandboxOf(pid)
  if (sandbox !== null) return refused(`process ${pid} of user ${uid} is in the sandbox ${sandbox}`, sandbox)
  if (rules.uids !== null && !rules.uids.includes(uid)) return refused(`process ${pid} runs as user ${uid}`)
  const reason = rules.admit?.(peer) ?? null
  return reason === null ? { caller: { pid, uid, gid, groups } } : refused(reason)
}

/** Node keeps the descriptor in the socket's handle, which has no public type (stable since Node 0.10). */
function descriptorOf(socket: net.Socket): number | null {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle !== 'object' || handle === null) return null
  const fd: unknown = Reflect.get(handle, 'fd')
  return typeof fd === 'number' && fd >= 0 ? fd : null
}
