import { spawn } from 'node:child_process'
import { describe, expect, it } from 'vitest'

const LOG = new URL('../../../build/js/base/log.js', import.meta.url).href

/** Runs `body` with a `log` of the given level in a process of its own. */
async function runLogging(level: string, body: string, options: { closeStderr?: boolean } = {}) {
  const script = `import { createLog } from '${LOG}'; const log = createLog({ role: 'sensor', level: '${level}' }); ${body}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  const out = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => {
    out.stdout += chunk
  })
  if (options.closeStderr) child.stderr.destroy()
  else
    child.stderr.on('data', (chunk) => {
      out.stderr += chunk
    })
  const code = await new Promise((resolve) => child.once('close', resolve))
  return { code, ...out }
}

describe('createLog', () => {
  it('writes one JSON object a line to stderr, before the process can exit', async () => {
    const { code, stdout, stderr } = await runLogging(
      'info',
      "log.info({ n: 1 }, 'one'); log.debug('not this'); log.error({ err: new Error('two\\nlines') }, 'bad'); process.exit(4)",
    )
    expect(code).toBe(4)
    expect(stdout).toBe('')
    const lines = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines).toMatchObject([
      { level: 'info', role: 'sensor', pid: expect.any(Number), n: 1, msg: 'one', time: expect.stringMatching(/Z$/) },
      { level: 'error', msg: 'bad', err: { message: 'two\nlines' } },
    ])
  })

  it('writes nothing at level silent', async () => {
    expect(await runLogging('silent', "log.error('x')")).toMatchObject({ code: 0, stderr: '' })
  })

  it('does not take the process down when nobody reads', async () => {
    const body = "setTimeout(() => { for (let i = 0; i < 50; i += 1) log.error('x'); console.log('alive') }, 200)"
    expect(await runLogging('info', body, { closeStderr: true })).toMatchObject({ code: 0, stdout: 'alive\n' })
  })
})
