/** A command on a pseudo-terminal, with somebody who types. */
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'

const RUNNER = fileURLToPath(new URL('programs/pty_run.py', import.meta.url))
const DEADLINE_MS = 80_000

export type PtyStep =
  | { expect: string }
  | { send: string }
  | { size: [number, number] }
  | { sleep: number }
  | { hidden: true }
  | { hangUp: true }

export interface PtyResult {
  /** As the terminal showed it, echo included; line ends are \r\n. */
  output: string
  exitCode: number
  settingsKept: boolean
}

export async function onPty(command: string[], steps: PtyStep[]): Promise<PtyResult> {
  const args = [RUNNER, JSON.stringify(steps), '--', ...command]
  const { stdout } = await execa('/usr/bin/python3', args, { timeout: DEADLINE_MS, stdin: 'ignore' })
  return JSON.parse(stdout) as PtyResult
}
