/**
 * Starts the commands that the scripts need, before any dependency is installed: captured (for steps whose output matters
 * only when they fail) or passed through (for the command that the user asked for). Holds no policy about what is run.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { constants } from 'node:os'

/** Bytes kept of a captured command's output; the end of it is where compilers put what went wrong. */
const CAPTURE_MAX_BYTES = 1024 * 1024

/** Said to people, never to pipes: stdout belongs to the command that is run in the end. */
export function say(line) {
  process.stderr.write(`${line}\n`)
}

/** An expected failure with a message that is enough: `exitOnFailure` prints it without a stack. */
export class StepFailure extends Error {
  constructor(message, output = '') {
    super(message)
    this.name = 'StepFailure'
    this.output = output
  }
}

/**
 * Runs a command and keeps the last part of what it printed.
 * @returns {Promise<{ code: number, output: string }>} code is 128+n after a signal, 127 when the command isn't there
 */
export function capture(command, args, options = {}) {
  return new Promise((resolve) => {
    const kept = []
    let bytes = 0
    const keep = (chunk) => {
      kept.push(chunk)
      bytes += chunk.length
      while (bytes - kept[0].length >= CAPTURE_MAX_BYTES) bytes -= kept.shift().length
    }
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', (error) => resolve({ code: 127, output: `${command}: ${error.message}` }))
    child.on('close', (code, signal) =>
      resolve({ code: exitCode(code, signal), output: Buffer.concat(kept).toString() }),
    )
  })
}

/** Like `capture`, but a non-zero end is a StepFailure with the output. */
export async function captureOrFail(command, args, failure, options = {}) {
  const { code, output } = await capture(command, args, options)
  if (code !== 0) throw new StepFailure(failure, output)
  return output
}

/**
 * Runs a command on our own stdin, stdout and stderr (unless `options.stdio` says otherwise) and returns its exit code (128+n after a signal). Signals that the
 * terminal sends to the whole foreground group reach the child by themselves, so we only survive them; those sent to
 * us alone are handed on.
 */
export function passThrough(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', ...options })
    const fromTerminal = hasControllingTerminal() ? ['SIGINT', 'SIGQUIT'] : []
    const listeners = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP'].map((signal) => [
      signal,
      () => {
        if (!fromTerminal.includes(signal)) child.kill(signal)
      },
    ])
    for (const [signal, listener] of listeners) process.on(signal, listener)
    const done = () => {
      for (const [signal, listener] of listeners) process.off(signal, listener)
    }
    child.on('error', (error) => {
      done()
      reject(new StepFailure(`${command} can't be started: ${error.message}`))
    })
    child.on('close', (code, signal) => {
      done()
      resolve(exitCode(code, signal))
    })
  })
}

/** Runs a script's main function: a StepFailure becomes its output, one line and exit code 1. */
export async function exitOnFailure(main) {
  try {
    process.exitCode = (await main()) ?? 0
  } catch (error) {
    report(error)
    process.exitCode = 1
  }
}

/** Prints a failure: what the failed command said, then the sentence that names the problem. */
export function report(error) {
  if (!(error instanceof StepFailure)) say(error.stack ?? String(error))
  else say(error.output === '' ? error.message : `${error.output.trimEnd()}\n${error.message}`)
}

function exitCode(code, signal) {
  return code ?? 128 + (constants.signals[signal] ?? 0)
}

function hasControllingTerminal() {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}
