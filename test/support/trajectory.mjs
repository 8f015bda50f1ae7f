/**
 * A recorded session of a coding agent turned into the events that a host would have seen of it: a shell a command, the programs in it, what
 * they changed, exits, real times. Not modelled: network, background processes, what build tools start, sizes. Same input, same events.
 */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

const WORKSPACE = '/workspace'
const FIRST_PID = 1_000
/** Between two commands of a session without times: the median of those that have them. */
const GAP_MS = 4_000
const T0_MS = Date.UTC(2026, 0, 31, 12)
const BUILTINS = new Set(
  'cd export source . echo printf pwd test [ [[ set unset alias type read eval exec true false : if for while function'.split(
    ' ',
  ),
)
const WRAPPER = /^(?:sudo|time|env|nohup|timeout|\d+[smhd]?|[A-Za-z_]\w*=.*)$/

/** @returns {{ session: string, commands: { t_ms?: number, cmd: string, exit: number | null }[] }[]} */
export function readTrajectories(file) {
  const lines = gunzipSync(readFileSync(file)).toString().trim().split('\n')
  return lines.map((line) => JSON.parse(line))
}

/**
 * @param {{ session: string, commands: { t_ms?: number, cmd: string, exit: number | null }[] }} trajectory
 * @param {(command: string) => readonly (readonly string[])[]} split the simple commands of a shell text, as words
 * @returns {object[]} as a recording has them
 */
export function eventsOf({ session, commands }, split) {
  return new Host(session, split).run(commands)
}

class Host {
  #events = []
  #pid = FIRST_PID
  #timeMs = T0_MS - 1_000
  #session
  #split

  constructor(session, split) {
    this.#session = session
    this.#split = split
  }

  run(commands) {
    const root = this.#process(null, ['/usr/bin/agent'], '/usr/bin/agent')
    this.#say({ sandboxStarted: { ...STARTED, workdir: WORKSPACE } }, null)
    this.#say({ exec: EXEC }, root)
    const starts = startsOf(commands)
    commands.forEach((command, index) => {
      const start = starts[index]
      this.#timeMs = Math.max(this.#timeMs + 1, start)
      const next = starts[index + 1] ?? start + 250
      this.#command(root, command, Math.min(next - 50, start + 200))
    })
    this.#say({ exit: exitOf(0) }, root)
    this.#say({ sandboxEnded: { summary: { events: String(this.#events.length + 1), lost: '0' } } }, null)
    return this.#events
  }

  #command(root, { cmd, exit }, endMs) {
    const bash = this.#process(root, ['bash', '-c', cmd], '/bin/bash')
    this.#say({ exec: EXEC }, bash)
    const parts = this.#split(cmd).map(withoutWrappers)
    const programs = parts.filter(([word = '']) => word !== '' && !BUILTINS.has(word))
    for (const path of redirections(cmd)) this.#write(bash, path)
    programs.forEach((words, index) => {
      const [program = ''] = words
      const inner = this.#process(bash, words, program.includes('/') ? program : `/usr/bin/${program}`)
      this.#say({ exec: EXEC }, inner)
      for (const path of writtenBy(words, cmd)) this.#write(inner, path)
      this.#say({ exit: exitOf(index === programs.length - 1 ? (exit ?? 0) : 0) }, inner)
    })
    this.#timeMs = Math.max(this.#timeMs, endMs - 1)
    this.#say({ exit: exitOf(exit ?? 0) }, bash)
  }

  #write(process, path) {
    const absolute = path.startsWith('/') ? path.replace(/^\/testbed(?=\/|$)/, WORKSPACE) : `${WORKSPACE}/${path}`
    this.#say({ fileOpen: { ...OPEN, path: absolute, userPath: path } }, process)
  }

  #process(parent, args, exe) {
    const pid = this.#pid++
    return {
      ...{ execId: `boot-${pid}-${pid}-1`, pid, tid: pid, ppid: parent?.pid ?? 1, parentExecId: parent?.execId ?? '' },
      ...{ exe, args, argsBytes: String(args.join(' ').length + 1), argsTruncated: false, cwd: WORKSPACE },
      ...{ uid: 1000, gid: 1000, startTime: timeText(this.#timeMs) },
    }
  }

  #say(body, process) {
    this.#timeMs += 1
    const seq = String(this.#events.length + 1)
    this.#events.push({
      ...{ schema: 1, source: 'recorded', node: { name: 'host', bootId: 'boot' }, uid: `${this.#session}-${seq}` },
      ...{ time: timeText(this.#timeMs), seq, sandbox: SANDBOX, sessionId: this.#session, toolCallId: '' },
      ...(process === null ? {} : { process }),
      ...body,
    })
  }
}

const SANDBOX = { id: 'box-1', name: 'box', cgroupId: '7', cgroupPath: '/box', agent: '', task: '', labels: {} }
const STARTED = { policyName: '', policyHash: '', mode: 'monitor', degraded: [], user: 'agent', command: ['agent'] }
const EXEC = { script: '', memfd: false }
const OPEN = { resolved: true, access: 'WRITE', flags: [], created: false, errno: 0, verdict: null, count: '1' }
const exitOf = (code) => ({ code, signal: 0, runtimeMs: '1' })
const timeText = (ms) => new Date(ms).toISOString().replace('Z', '000000Z')

function startsOf(commands) {
  let last = -1
  return commands.map(({ t_ms: given }, index) => {
    const at = given ?? index * GAP_MS
    last = at > last ? at : last + 1
    return T0_MS + last
  })
}

function withoutWrappers(words) {
  const rest = [...words]
  while (rest.length > 1 && WRAPPER.test(rest[0])) rest.shift()
  return rest
}

/** Targets of `>`, `>>` and `&>`, outside of heredocs; of `cat > f <<E` too. */
function redirections(cmd) {
  const bodiless = cmd.replace(/<<-?\s*(['"]?)(\w+)\1([^\n]*)\n[\s\S]*?\n\2(?=\n|$)/g, '$3')
  return [...bodiless.matchAll(/(?:^|[^<>&\d])(?:&|1)?>>?\s*(["']?)([^\s"'&|;<>()]+)\1/g)]
    .map((match) => match[2])
    .filter((path) => path !== '/dev/null')
}

const WRITES_ALL = new Set(['tee', 'touch', 'rm', 'mkdir', 'chmod', 'chown'])
const WRITES_LAST = new Set(['mv', 'cp', 'install', 'ln'])
const WRITES_BUILD = new Set(['make', 'mvn', 'npm', 'pip', 'gcc'])

function writtenBy([program, ...args], cmd) {
  const name = program.slice(program.lastIndexOf('/') + 1)
  const plain = args.filter((argument) => !argument.startsWith('-'))
  const last = plain.slice(-1)
  if (WRITES_ALL.has(name)) return plain
  if (WRITES_LAST.has(name)) return last
  if (WRITES_BUILD.has(name)) return ['build/cache']
  if (name === 'sed' || name === 'perl') return args.some((argument) => /^-\w*i/.test(argument)) ? last : []
  if (name === 'dd') return args.filter((argument) => argument.startsWith('of=')).map((argument) => argument.slice(3))
  if (name === 'patch') return ['CHANGED']
  if (name === 'git') return writtenByGit(plain, args)
  if (/^python\d?$/.test(name)) return /open\([^)]*,\s*['"][wa]|write_text|to_csv/.test(cmd) ? ['by-python'] : []
  return []
}

const GIT_CHANGES = new Set(['apply', 'am', 'checkout', 'restore', 'stash', 'merge', 'rebase', 'pull', 'clean'])

function writtenByGit([verb = ''], args) {
  if (GIT_CHANGES.has(verb) || (verb === 'reset' && args.includes('--hard'))) return ['CHANGED', '.git/index']
  return verb === 'add' || verb === 'commit' ? ['.git/index'] : []
}
