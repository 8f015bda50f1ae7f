/** What the demo agent acts with: programs (each with a time limit), a stand-in for a model's API, and the screen. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { delimiter, isAbsolute, join } from 'node:path'

const TOOL_LIMIT_MS = 10_000
const OUTPUT_LIMIT_BYTES = 64 * 1024 // of one program; one that writes more is killed
const OUTPUT_LINES = 3 // shown of it
const WIDTH_MAX = 110 // columns
const REPLIES = ['run the tests and read what fails', 'the sum leaves out the quantity: multiply by it']

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** Runs programs in the workspace, without what would make git, curl or python look beyond the workspace and loopback. */
export function createToolbox({ workspace, env, signal }) {
  const kept = Object.entries(env).filter(([name]) => !/^GIT_|_proxy$/i.test(name))
  const own = {
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    XDG_CONFIG_HOME: workspace,
    NO_PROXY: '*',
    PYTHONDONTWRITEBYTECODE: '1',
  }
  const options = {
    ...{ cwd: workspace, env: { ...Object.fromEntries(kept), ...own }, signal },
    ...{ timeout: TOOL_LIMIT_MS, killSignal: 'SIGKILL', maxBuffer: OUTPUT_LIMIT_BYTES },
  }
  const dirs = (env.PATH ?? '/usr/bin:/bin').split(delimiter).filter((dir) => dir !== '')
  const places = (name) => (isAbsolute(name) ? [name] : dirs.map((dir) => join(dir, name)))
  const missing = (names) => names.filter((name) => !places(name).some(isProgram))
  /** Resolves to {status: 'exit N', or how else it ended, output: stdout then stderr}. Rejects when the agent is to stop. */
  const run = ([program, ...args]) =>
    new Promise((done, reject) => {
      const child = execFile(program, args, options, (error, stdout, stderr) => {
        if (signal.aborted) reject(signal.reason)
        else done({ status: ending(error), output: stdout + stderr })
      })
      child.stdin?.end()
    })
  return { missing, run }
}

function ending(error) {
  if (error === null) return 'exit 0'
  if (typeof error.code === 'number') return `exit ${error.code}`
  return error.killed ? `its limit (${TOOL_LIMIT_MS} ms)` : (error.signal ?? error.code)
}

/** An HTTP server on 127.0.0.1 that answers with prepared sentences in order. `ask` posts to it and resolves to text to show. */
export async function startModelServer(signal) {
  let asked = 0
  const server = createServer((request, response) => {
    request.resume()
    const answer = request.method === 'POST' ? { reply: REPLIES[asked++ % REPLIES.length] } : { models: ['no-model'] }
    request.once('end', () => response.end(JSON.stringify(answer)))
  })
  server.listen({ host: '127.0.0.1', port: 0, signal })
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}/v1`
  const ask = async (content) => {
    const body = JSON.stringify({ model: 'no-model', messages: [{ role: 'user', content }] })
    const response = await fetch(`${url}/messages`, { method: 'POST', body, signal })
    return `${content}\nprepared answer: ${(await response.json()).reply}`
  }
  return { url, ask }
}

/** Narration at the margin; programs and their output indented, and dimmed on a terminal. */
export function createScreen(stream, env) {
  const colour = Boolean(stream.isTTY) && !env.NO_COLOR
  const width = Math.min(stream.columns || WIDTH_MAX, WIDTH_MAX)
  const detail = (text) => {
    const line = `  │ ${text}`
    const cut = line.length > width ? `${line.slice(0, width - 1)}…` : line
    stream.write(colour ? `\x1b[2m${cut}\x1b[22m\n` : `${cut}\n`)
  }
  const quote = (arg) => (/^[\w./:=@%+,-]+$/.test(arg) ? arg : arg.includes("'") ? `"${arg}"` : `'${arg}'`)
  const say = (text) => stream.write(`● ${text}\n`)
  const command = (shown) => detail(`$ ${Array.isArray(shown) ? shown.map(quote).join(' ') : shown}`)
  const show = (output, limit = OUTPUT_LINES) => {
    const lines = output.split('\n').filter((line) => line.trim() !== '')
    for (const line of lines.slice(0, limit)) detail(line)
    if (lines.length > limit) detail(`… ${lines.length - limit} more lines`)
  }
  return { say, command, show }
}
