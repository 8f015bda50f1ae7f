/** When an agent has so many watchers: what they say themselves is events alone, and those begin when their watch was taken. */
import { freePort } from './free-port.js'
import { patient } from './patience.js'

const DEADLINE_MS = patient(20_000)
const ANSWER_MS = 1_000

/** Keys of a configuration with which the agent tells, and what waits until it has `count` of them. */
export async function watchersOf(): Promise<{
  config: { metrics: { listen: string } }
  until(count: number): Promise<void>
}> {
  const listen = `127.0.0.1:${await freePort()}`
  const now = async () => {
    const answer = await fetch(`http://${listen}/metrics`, { signal: AbortSignal.timeout(ANSWER_MS) })
    return Number(/^sluice_watchers (\d+)$/m.exec(await answer.text())?.[1])
  }
  return {
    config: { metrics: { listen } },
    async until(count) {
      let found = Number.NaN
      for (const end = performance.now() + DEADLINE_MS; performance.now() < end; ) {
        found = await now().catch(() => Number.NaN)
        if (found === count) return
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      throw new Error(`watchers are ${found} and not ${count}`)
    },
  }
}
