/** What a part of ours that answers one question writes, line by line, to whoever asked. What of a line is shown is the caller's. */
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/** Whole lines, without their ends, each as soon as it is there; the writer waits for a reader who is slower. */
export async function passOnLines(from: Readable, write: (line: string) => unknown): Promise<void> {
  for await (const line of createInterface({ input: from, crlfDelay: Number.POSITIVE_INFINITY })) write(line)
}
