/**
 * One run: start (the launcher is tagged, the session opens), events, end (what is left is killed, what is underway arrives, the session
 * closes). Guards the order of those steps and that a client that goes away leaves nothing behind here. Not here: who may connect
 * (peer-check.ts), which process may be the first (launcher-check.ts), limits of fields (run-input.ts).
 */
import { SluiceError } from '../base/error.js'
import {
  fromBigInt,
  type IEvent,
  type IRunEnd,
  type IRunRequest,
  type IRunResume,
  type ISandbox,
  toBigInt,
} from '../proto/codec.js'
import type { RunServerCall } from '../proto/rpc.js'
import { brokerProblem } from './broker-reach.js'
import type { EventSink } from './event-stream.js'
import { incomplete } from './gap-for.js'
import type { ConnectedSensor } from './ingest.js'
import type { LauncherVerdict } from './launcher-check.js'
import type { Orphan } from './orphans.js'
import { startedUnder } from './policy-desk.js'
import { parseRunEnd, parseRunStart, type RunInput } from './run-input.js'
import type { OpenedRun, PlannedRun, PolicedRun, RunParts } from './run-parts.js'
import type { BookedSandbox } from './sandbox-book.js'
import type { CommandDone, CommandOutcome } from './sensor-commands.js'

/** From the opened call to RunStart. */
export const START_DEADLINE_MS = 10_000
const ROOT_UID = 0
/** How long a client that has not all may say nothing of what it has. */
const FINISH_DEADLINE_MS = 1_000
/** An agent's sensor that died is started again: so long a run waits for it to end its sandbox. */
const SENSOR_BACK_MS = 15_000

const NO_ROOM = { ok: false, problem: 'the engine has no room for another sandbox' } as const

type Phase = 'waiting' | 'checking' | 'starting' | 'running' | 'ending' | 'finished' | 'orphaned' | 'over'

export class Run {
  private readonly call: RunServerCall
  private readonly parts: RunParts
  private readonly onOver: () => void
  private readonly sink: EventSink
  private readonly startDeadline: NodeJS.Timeout
  private phase: Phase = 'waiting'
  private opened: OpenedRun | null = null
  private resuming: IRunResume | null = null
  /** The client has all events up to here. */
  seen = 0n
  private orphan: Orphan | null = null
  private finishDeadline: NodeJS.Timeout | null = null
  /** Ends the sandbox when there is a sensor again. */
  private waitingEnd: { readonly deadline: NodeJS.Timeout; again(): void } | null = null
  private commandPid = 0
  /** Of the command itself, as the kernel told it. */
  private exit = { exitCode: 0, signal: 0 }

  constructor(call: RunServerCall, parts: RunParts, onOver: () => void) {
    this.call = call
    this.parts = parts
    this.onOver = onOver
    this.sink = parts.openSink(call)
    this.startDeadline = setTimeout(() => this.fail('no run was started in time'), START_DEADLINE_MS)
    call.onEnd((why) => this.clientGone(why))
    call.onMessage((message) => this.receive(message))
  }

  /** Null once nobody reads it. */
  get sessionId(): string | null {
    return this.orphan !== null ? null : (this.opened?.session.id ?? null)
  }

  flush(): void {
    if (this.phase === 'running') this.sink.flush()
  }

  fail(why: string | SluiceError): void {
    if (this.phase === 'over') return
    if (this.phase === 'finished') {
      this.done()
      return
    }
    const problem = typeof why === 'string' ? why : why.message
    this.parts.log.warn({ problem, sandbox: this.opened?.sandboxId }, 'run failed')
    this.call.fail(why)
    this.over()
  }

  private receive(message: IRunRequest): void {
    if (this.phase === 'over' || this.orphan !== null) return
    if (message.start) this.start(message)
    else if (message.end) this.end(message.end)
    else if (message.resume) this.resume(message.resume)
    else if (message.seen) this.hasUpTo(toBigInt(message.seen.seq))
    else this.fail('the request holds nothing that this engine knows')
  }

  private hasUpTo(seq: bigint): void {
    if (seq > this.seen) this.seen = seq
    this.parts.progressed('seen')
    if (this.phase === 'finished') this.overWhenSeen()
  }

  private resume(resume: IRunResume): void {
    if (this.phase !== 'waiting') {
      this.fail('resume: the run was started already')
      return
    }
    this.resuming = resume
    this.retryResume()
  }

  /** Goes on with a session that an earlier engine began. Without a sensor it is not known yet: then it waits for that. */
  private retryResume(): void {
    const { vet, sensor } = this.parts
    const from = sensor()
    if (this.resuming === null || this.phase !== 'waiting' || from === null) return
    const { resuming } = this
    this.phase = 'checking'
    void vet(this.call.caller).then((reason) => {
      if (this.phase !== 'checking') return
      this.phase = 'waiting'
      // It was another sensor's to say who the caller is.
      if (sensor() !== from) this.retryResume()
      else if (reason !== null) this.fail(new SluiceError('PRIVILEGE', `the engine does not answer: ${reason}`))
      else this.resumed(resuming, from)
    })
  }

  private resumed(resuming: IRunResume, from: ConnectedSensor): void {
    const { pipeline } = this.parts
    const early: IEvent[] = []
    let publish = (event: IEvent): void => void early.push(event)
    this.seen = toBigInt(resuming.lastSeq)
    const sessionId = resuming.sessionId ?? ''
    const owner = pipeline.reopenedSession(sessionId)?.ownerUid
    const { uid } = this.call.caller
    // Whoever learnt of another's session by its id is told what one is told who made it up.
    const mayHave = owner === uid || uid === ROOT_UID
    const found = mayHave ? pipeline.resume(sessionId, resuming, (event) => publish(event)) : null
    if (found === null) {
      this.fail('the engine was started again and does not know the session any more')
      return
    }
    clearTimeout(this.startDeadline)
    const { cgroupId, session } = found
    const { id, cgroupPath } = session.sandbox
    this.parts.registry.add(cgroupPath ?? '')
    const place = { sandboxId: id ?? '', cgroupId, cgroupPath: cgroupPath ?? '', session, degraded: [...from.degraded] }
    this.running(place, (reader) => {
      publish = reader
      for (const event of early) publish(event)
    })
  }

  private start(message: IRunRequest): void {
    if (this.phase !== 'waiting') {
      this.fail('start: the run was started already')
      return
    }
    const parsed = parseRunStart(message.start ?? {})
    if (!parsed.ok) {
      this.fail(parsed.problem)
      return
    }
    const sensor = this.parts.sensor()
    if (sensor === null) {
      this.fail(
        'no sensor is connected to the engine, so nothing could be watched; `sluice doctor` says what is missing',
      )
      return
    }
    clearTimeout(this.startDeadline)
    this.phase = 'checking'
    const { caller } = this.call
    const input = { ...parsed.value, user: this.parts.userOf(caller, parsed.value.user) }
    void this.parts.checkLauncher(caller, input.pid).then((verdict) => this.checked(input, sensor, verdict))
  }

  private checked(input: RunInput, sensor: ConnectedSensor, verdict: LauncherVerdict): void {
    if (this.phase !== 'checking') return
    if (!verdict.ok) {
      this.fail(new SluiceError('PRIVILEGE', verdict.problem))
      return
    }
    this.phase = 'starting'
    const { sandboxId, pid, name, agent, task, labels, apart } = input
    const { id, descriptor } = this.parts.pipeline.plan(
      { id: sandboxId, name, agent, task, labels },
      this.call.caller.uid,
    )
    sensor.commands.startSandbox({ sandboxId, pid, descriptor, apart }, (outcome) => {
      if (outcome.ok && !verdict.still()) this.notTheOne(input, sensor)
      else this.tagged({ ...input, sessionId: id }, sensor, outcome)
    })
  }

  /** Another process has the pid by now, or the caller is gone: what was tagged is let go, not killed. */
  private notTheOne({ sandboxId, pid }: RunInput, sensor: ConnectedSensor): void {
    sensor.commands.releaseSandbox(sandboxId, (outcome) => this.forget(sandboxId, outcome))
    this.fail(new SluiceError('PRIVILEGE', `pid: process ${pid} is not the one that was checked`))
  }

  private tagged(input: PlannedRun, sensor: ConnectedSensor, outcome: CommandOutcome): void {
    const known = outcome.ok && this.parts.registry.add(outcome.cgroupPath)
    const held = outcome.ok && known ? this.parts.keeper.forRun(input, outcome.cgroupPath) : NO_ROOM
    if (this.phase !== 'starting' || !outcome.ok || !held.ok) {
      // Nothing has run in it: whatever there is of the sandbox can go.
      sensor.commands.endSandbox(input.sandboxId, () => this.forget(input.sandboxId, outcome))
      this.fail(!outcome.ok ? outcome.problem : held.ok ? 'the client went away' : held.problem)
      return
    }
    const { policy, origin } = held
    if (policy === null) this.open({ ...input, policy }, sensor, outcome)
    else this.police({ ...input, policy, origin }, sensor, outcome)
  }

  /** The command waits still: it does not run unless the policy is in the kernel. */
  private police(input: PolicedRun, sensor: ConnectedSensor, done: CommandDone): void {
    const { sandboxId, policy, origin } = input
    const settled = (problem: string | null): void => {
      if (this.phase === 'starting' && problem === null) {
        this.open(input, sensor, done)
        return
      }
      sensor.commands.endSandbox(sandboxId, () => this.forget(sandboxId, done))
      this.fail(problem ?? 'the client went away')
    }
    const reach = brokerProblem({ policy, callerUid: this.call.caller.uid, degraded: sensor.degraded })
    if (reach !== null) settled(reach)
    else this.parts.policies.apply({ sandboxId, cgroupId: done.cgroupId, policy, origin }, settled)
  }

  private open(input: PlannedRun, sensor: ConnectedSensor, done: CommandDone): void {
    const { cgroupId, cgroupPath } = done
    const { sandboxId: id, name, agent, task, labels } = input
    const sandbox: ISandbox = { id, name, cgroupId: fromBigInt(cgroupId), cgroupPath, agent, task, labels }
    const early: IEvent[] = []
    let publish = (event: IEvent): void => void early.push(event)
    const degraded = [...new Set([...sensor.degraded, ...input.degraded])]
    const session = this.parts.pipeline.open({
      ...{ id: input.sessionId, cgroupId, ownerUid: this.call.caller.uid },
      sandbox,
      started: {
        ...{ ...startedUnder(input.policy), degraded, user: input.user },
        ...{ command: [...input.command], workdir: input.workdir },
      },
      publish: (event) => publish(event),
    })
    if (session === null) {
      sensor.commands.endSandbox(id, () => this.forget(id, done))
      this.fail(`cgroup ${cgroupId} has a session already`)
      return
    }
    this.commandPid = input.pid
    this.running({ sandboxId: id, cgroupId, cgroupPath, session, degraded }, (reader) => {
      publish = reader
      for (const event of early) publish(event)
    })
  }

  /** @param read hands over the session's events to a reader, those that it has already first */
  private running(
    place: Omit<OpenedRun, 'booked'> & { degraded: string[] },
    read: (reader: (event: IEvent) => void) => void,
  ): void {
    const { sandboxId: id, cgroupId, session, degraded } = place
    const { sandbox } = session
    const booked: BookedSandbox = {
      ...{ id, sandbox, cgroupId, session, degraded, adopted: false, frozen: false },
      ownerUid: session.ownerUid,
      end: (killed) => this.endedByOther(killed),
    }
    this.parts.book.add(booked)
    // The node's files may say something else since it was asked for.
    this.parts.keeper.settle(booked, 'the node’s policies')
    this.opened = { ...place, booked }
    this.phase = 'running'
    // RunStarted comes before the first event.
    this.call.send({ started: { sandbox, sessionId: session.id } })
    read((event) => this.publish(event))
    this.parts.progressed('sessions')
    this.parts.log.info({ sandbox: id, session: session.id, uid: booked.ownerUid }, 'run started')
    // Its end was given out by an engine that died before the client was told.
    if (session.isOver) this.finish('')
  }

  private publish(event: IEvent): void {
    if (event.exit && event.process?.pid === this.commandPid) {
      this.exit = { exitCode: event.exit.code ?? 0, signal: event.exit.signal ?? 0 }
    }
    this.parts.tap(event, this.opened?.session.ownerUid ?? this.call.caller.uid)
    if (this.orphan !== null) return
    this.sink.push(event.sandboxEnded && this.sink.lost > 0n ? incomplete(event, this.sink.lost) : event)
  }

  private end(message: IRunEnd): void {
    const { opened } = this
    const parsed = parseRunEnd(message)
    if (this.phase !== 'running' || opened === null || !parsed.ok) {
      this.fail(parsed.ok ? `end: the run is ${this.phase}` : parsed.problem)
      return
    }
    this.phase = 'ending'
    this.endSandbox(opened, parsed.value)
  }

  /** A sensor is here, and with it the sessions that it knows of. */
  sensorConnected(): void {
    this.retryResume()
    this.stopWaiting()?.again()
  }

  /** By the sensor that is there now: one that was started again has taken up the sandboxes of the one before. */
  private endSandbox(opened: OpenedRun, end: { exitCode: number; signal: number }): void {
    const sensor = this.parts.sensor()
    if (sensor === null) {
      this.endLater(opened, end)
      return
    }
    sensor.commands.endSandbox(opened.sandboxId, (outcome) => {
      if (!outcome.ok && this.parts.sensor() === null) this.endLater(opened, end)
      else this.ended(opened, end, outcome)
    })
  }

  /** A run's own sensor does not come back, an agent's does, and with it what happened meanwhile. */
  private endLater(opened: OpenedRun, end: { exitCode: number; signal: number }): void {
    const giveUp = () => this.ended(opened, end, { ok: false, problem: 'the sensor is gone' })
    if (this.parts.orphans === null) giveUp()
    else if (this.phase === 'ending') {
      const deadline = setTimeout(giveUp, SENSOR_BACK_MS)
      this.waitingEnd = { deadline, again: () => this.endSandbox(opened, end) }
    }
  }

  private stopWaiting(): { again(): void } | null {
    const { waitingEnd } = this
    this.waitingEnd = null
    if (waitingEnd !== null) clearTimeout(waitingEnd.deadline)
    return waitingEnd
  }

  private ended(opened: OpenedRun, end: { exitCode: number; signal: number }, outcome: CommandOutcome): void {
    const telling = this.parts.keeper.forget(opened.sandboxId, opened.cgroupId)
    if (outcome.ok) this.parts.registry.remove(opened.cgroupPath)
    if (telling === null) this.close(opened, end, outcome)
    else void telling.then(() => this.close(opened, end, outcome))
  }

  /** All is here that there will be. */
  private close(opened: OpenedRun, end: { exitCode: number; signal: number }, outcome: CommandOutcome): void {
    if (this.phase !== 'ending') return
    const { pipeline } = this.parts
    const { session, cgroupId } = opened
    // Sessions of a sensor that is gone get a gap of their own.
    if (!outcome.ok && this.parts.sensor() !== null) pipeline.gap(session, { cause: outcome.problem })
    pipeline.close(cgroupId, session, { ...end, killed: outcome.ok ? outcome.killed : 0 })
    this.finish(outcome.ok ? '' : `the record may lack events of the run's end: ${outcome.problem}`)
  }

  /** An operator has released it: what goes on in it is not ours to see. */
  private endedByOther(killed: number): void {
    const { opened } = this
    if (opened === null || this.phase === 'over') return
    this.phase = 'ending'
    this.parts.registry.remove(opened.cgroupPath)
    const over = () => {
      if (this.phase !== 'ending') return
      this.parts.pipeline.close(opened.cgroupId, opened.session, { ...this.exit, killed })
      this.finish('the sandbox was released: what its command does from then on is not in the record')
    }
    const telling = this.parts.keeper.forget(opened.sandboxId, opened.cgroupId)
    if (telling === null) over()
    else void telling.then(over)
  }

  private finish(problem: string): void {
    this.parts.log.info({ sandbox: this.opened?.sandboxId, problem }, 'run ended')
    this.sink.flush()
    this.call.send({ ended: { problem } })
    if (this.opened !== null) this.parts.book.remove(this.opened.booked)
    this.phase = 'finished'
    this.overWhenSeen()
  }

  /** Until its client has it all, the session is one that another engine would have to know. */
  private overWhenSeen(): void {
    const { opened } = this
    if (opened !== null && this.orphan === null && this.seen < opened.session.lastSeq) {
      if (this.finishDeadline !== null) clearTimeout(this.finishDeadline)
      this.finishDeadline = setTimeout(() => this.done(), FINISH_DEADLINE_MS)
      return
    }
    this.done()
  }

  private done(): void {
    this.call.end()
    this.over()
  }

  /** A sandbox that is no more has no members to refuse. */
  private forget(sandboxId: string, outcome: CommandOutcome): void {
    if (!outcome.ok) return
    this.parts.keeper.forget(sandboxId, outcome.cgroupId)
    if (outcome.cgroupPath !== '') this.parts.registry.remove(outcome.cgroupPath)
  }

  private clientGone(why: 'ended' | 'cancelled'): void {
    if (this.phase === 'starting') this.parts.log.info('the client went away while its sandbox was made')
    const { opened } = this
    const { orphans, log } = this.parts
    if (why !== 'cancelled' || this.phase !== 'running' || orphans === null || opened === null) {
      this.over()
      return
    }
    this.phase = 'orphaned'
    this.sink.close()
    log.info({ sandbox: opened.sandboxId }, 'the client of a run is gone; its sandbox goes on')
    const ended = (outcome: CommandDone) => {
      this.phase = 'ending'
      this.ended(opened, this.exit, outcome)
    }
    this.orphan = { sandboxId: opened.sandboxId, ended }
    orphans.add(this.orphan)
  }

  /** Ended, failed, or the client is gone. What runs in the sandbox is left alone: only its watcher has ended. */
  private over(): void {
    if (this.phase === 'over') return
    this.phase = 'over'
    clearTimeout(this.startDeadline)
    if (this.orphan !== null) this.parts.orphans?.remove(this.orphan)
    if (this.finishDeadline !== null) clearTimeout(this.finishDeadline)
    this.stopWaiting()
    this.sink.close()
    if (this.opened !== null) {
      this.parts.pipeline.drop(this.opened.cgroupId, this.opened.session)
      this.parts.book.remove(this.opened.booked)
      this.opened = null
      this.parts.progressed('sessions')
    }
    this.onOver()
  }
}
