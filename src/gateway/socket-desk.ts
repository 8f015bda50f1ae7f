/**
 * Where the sensor hands over sockets that it made in other network namespaces. Guards that they are the sensor's, which a token says that
 * only the two have, and that no descriptor is left open. Not here: what is answered by them (sandboxes.ts).
 */
import { timingSafeEqual } from 'node:crypto'
import { closeSync } from 'node:fs'
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import type { Mailbox } from '../native/addon.js'
import type { Sandboxes } from './sandboxes.js'

/** Read in one turn; then the event loop gets its own. */
const AT_ONCE_MAX = 32
const FDS_OF_IP4 = 2
const FDS_OF_BOTH = 4

interface Handed {
  readonly token: string
  readonly sandbox: string
  /** The namespace that the sockets are in. */
  readonly open?: string
  /** `all`: every one of the sandbox. */
  readonly close?: string
}

export interface SocketDeskOptions {
  readonly mailbox: Mailbox
  readonly token: string
  readonly sandboxes: Sandboxes
  readonly log: Log
}

export class SocketDesk {
  readonly #options: SocketDeskOptions
  #last: Promise<void> = Promise.resolve()

  constructor(options: SocketDeskOptions) {
    this.#options = options
  }

  start(): void {
    this.#options.mailbox.arm(() => this.#read())
  }

  stop(): void {
    this.#options.mailbox.close()
  }

  #read(): void {
    const { mailbox, log } = this.#options
    for (let count = 0; count < AT_ONCE_MAX; count++) {
      const letter = mailbox.receive()
      if (letter === null) break
      const { text, fds } = letter
      // One after the other: what closes a namespace must not overtake what opened it.
      this.#last = this.#last.then(() =>
        this.#take(text, fds).catch((error: unknown) => {
          for (const fd of fds) closeSync(fd)
          log.warn({ why: messageOf(error) }, 'sockets of another network namespace were not taken')
        }),
      )
    }
    this.start()
  }

  async #take(text: string, fds: readonly number[]): Promise<void> {
    const { sandboxes, token } = this.#options
    const handed: Handed = JSON.parse(text)
    if (!isSame(handed.token, token)) throw new Error('they are not the sensor’s')
    if (handed.open !== undefined) await sandboxes.adopt(handed.sandbox, handed.open, doorsOf(fds))
    else if (handed.close !== undefined) sandboxes.leave(handed.sandbox, handed.close === 'all' ? null : handed.close)
  }
}

function doorsOf(fds: readonly number[]) {
  const [udp4, tcp4, udp6, tcp6] = fds
  if (fds.length !== FDS_OF_IP4 && fds.length !== FDS_OF_BOTH) throw new Error(`there are ${fds.length} of them`)
  const door = (udp = -1, tcp = -1) => ({ udp, tcp })
  return { ip4: door(udp4, tcp4), ip6: udp6 === undefined ? null : door(udp6, tcp6) }
}

function isSame(given: unknown, wanted: string): boolean {
  const [one, other] = [Buffer.from(String(given)), Buffer.from(wanted)]
  return one.length === other.length && timingSafeEqual(one, other)
}
