/**
 * Asks the sensor's own probe what really loads and attaches here, in a process of its own, as the answer may be a crash. Guards
 * nothing of the kernel: the probe attaches for an instant only.
 */
import { existsSync } from 'node:fs'
import { execa } from 'execa'
import { z } from 'zod'
import { programFile } from '../../base/installation.js'

const PROBE_DEADLINE_MS = 30_000
const OUTPUT_BYTES_MAX = 1024 * 1024

const program = z.object({
  name: z.string(),
  /** The hook, and what is lost without it. */
  hook: z.string().catch(''),
  lost: z.string().catch(''),
  loaded: z.boolean(),
  attached: z.boolean(),
  error: z.string().nullable(),
})
const output = z.object({
  programs: z.array(program),
  /** What of the optional programs does not load. */
  degraded: z.array(z.string()).catch([]),
  error: z.string().nullable().catch(null),
})

export type ProgramProbe = z.output<typeof program>

export type ProbeResult = z.output<typeof output>

/** Never throws: an answer that does not come is an `error`. @param startDeadlineMs of our parts, if it is not the usual one */
export async function probeKernel(startDeadlineMs: number | null): Promise<ProbeResult> {
  const main = programFile('sensor/probe-main')
  if (!existsSync(main)) return { programs: [], degraded: [], error: `${main} is missing; run npm run build` }
  const result = await execa(process.execPath, [main], {
    cwd: '/',
    stdin: 'ignore',
    reject: false,
    timeout: Math.max(PROBE_DEADLINE_MS, startDeadlineMs ?? 0),
    maxBuffer: OUTPUT_BYTES_MAX,
  })
  if (result.failed)
    return { programs: [], degraded: [], error: lastLine(result.stderr) || (result.shortMessage ?? 'the probe failed') }
  return parseProbe(result.stdout)
}

export function parseProbe(text: string): ProbeResult {
  try {
    return output.parse(JSON.parse(text))
  } catch {
    return {
      programs: [],
      degraded: [],
      error: 'the probe gave an answer that this version does not understand; run npm run build',
    }
  }
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
