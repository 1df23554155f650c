// One worker as the first process sees it: a process, the way to it, and what it last said of itself.

import { type ChildProcess, fork } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Clock } from '../clock.ts'
import { PosternError } from '../errors.ts'
import type { Elsewhere } from '../session/registry.ts'
import type { Remembered } from '../session/session-memory.ts'
import type { Snapshot } from '../telemetry/metrics.ts'
import type { Counts, Start, ToFirst, ToWorker } from './calls.ts'
import { type Frame, GONE, type Handlers, Link } from './link.ts'
import type { Holder } from './session-directory.ts'

/** A worker that does not carry out an order within this time is killed: its connections are cut by that. */
const OBEY_MS = 5_000
/** For answers that are only told. */
const TELL_MS = 2_000

export class Member implements Holder {
  readonly name: string
  /** Resolves when the process has ended, with how. */
  readonly gone: Promise<string>
  isUp = false
  hasEnded = false
  counts: Counts = { connections: 0, unauthenticated: 0, established: 0 }
  health: true | string = 'It is being started.'
  snapshot: Snapshot = []
  readonly #clock: Clock
  readonly #onCounts: () => void
  readonly #child: ChildProcess
  readonly #link: Link<ToWorker, ToFirst>
  /** Connections, since its start. */
  handedOver = 0
  #taken = 0

  /**
   * @param entry the script of a worker
   * @param onCounts it has told how many connections it has
   */
  constructor(
    name: string,
    entry: string,
    clock: Clock,
    handlers: (from: Member) => Omit<Handlers<ToFirst>, 'counts'>,
    onCounts: () => void,
  ) {
    this.#onCounts = onCounts
    this.name = name
    this.#clock = clock
    // Signals to the whole group are for the first process, which tells its workers.
    this.#child = fork(entry, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const send = (frames: Frame[], socket?: Socket): void => {
      this.#child.send(frames, socket, (error) => {
        if (error !== null) socket?.destroy()
      })
    }
    this.#link = new Link<ToWorker, ToFirst>(send, {
      ...handlers(this),
      counts: (said) => this.#counted(said),
    })
    this.#child.on('message', (frames, socket) => this.#link.receive(frames as Frame[], socket as Socket))
    // Nothing can be sent any more; the end of the process says so too.
    this.#child.on('error', () => {})
    this.gone = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.isUp = false
        this.hasEnded = true
        this.health = 'It has ended.'
        this.#link.close()
        resolve(signal ?? `exit code ${code}`)
      })
    })
  }

  /** Connections that it holds, with those on their way to it. */
  get load(): Elsewhere {
    const underWay = this.handedOver - this.#taken
    const { connections, unauthenticated } = this.counts
    return { connections: connections + underWay, unauthenticated: unauthenticated + underWay }
  }

  /** @throws PosternError why it cannot start */
  async start(what: Start): Promise<void> {
    try {
      await this.#link.ask('start', what)
    } catch (error) {
      this.kill()
      const how = await this.gone
      if (!(error instanceof PosternError) || error.code !== GONE) throw error
      throw new PosternError(
        'ERR_WORKER',
        'internal',
        `worker ${this.name} has ended before it had started: ${how}`,
      )
    }
    this.isUp = true
    this.health = true
  }

  /** A connection is on its way to it: a second one would hold up everything else that is said. */
  get isTaking(): boolean {
    return this.handedOver > this.#taken
  }

  take(listener: number, elsewhere: Elsewhere, socket: Socket): void {
    this.handedOver += 1
    this.#link.hand('connection', { listener, elsewhere }, socket)
  }

  tell: Link<ToWorker, ToFirst>['tell'] = (name, body) => this.#link.tell(name, body)

  /** An order; undefined: it has ended, or was killed because it did not answer in time. Rejects if it cannot. */
  async order<K extends keyof ToWorker & string>(
    name: K,
    body: ToWorker[K]['ask'],
    withinMs = OBEY_MS,
  ): Promise<ToWorker[K]['answer'] | undefined> {
    const answer = await this.#within(withinMs, this.#link.ask(name, body))
    if (answer !== LATE) return answer
    this.kill()
    await this.gone
    return undefined
  }

  async drain(withinMs: number): Promise<void> {
    await this.order('drain', withinMs, withinMs + OBEY_MS)
    if ((await this.#within(OBEY_MS, this.gone)) === LATE) this.kill()
    await this.gone
  }

  /** Brings `health` up to date. */
  async refreshHealth(): Promise<void> {
    const health = await this.#within(TELL_MS, this.#link.ask('health', undefined))
    if (this.isUp) this.health = health === LATE || health === undefined ? 'It does not answer.' : health
  }

  /** Brings `snapshot` up to date, if it answers. */
  async refreshSnapshot(): Promise<void> {
    const snapshot = await this.#within(TELL_MS, this.#link.ask('metrics', undefined))
    if (snapshot !== LATE && snapshot !== undefined) this.snapshot = snapshot
  }

  look(clientId: string): Promise<Remembered | undefined> {
    return this.#link.ask('look', clientId)
  }

  moved(clientId: string): void {
    this.tell('moved', clientId)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #counted({ taken, ...counts }: Counts & { taken: number }): undefined {
    this.#taken = taken
    this.counts = counts
    this.#onCounts()
    return undefined
  }

  /** undefined: it has ended. */
  async #within<T>(ms: number, answer: Promise<T>): Promise<T | undefined | typeof LATE> {
    const deadline = Promise.withResolvers<typeof LATE>()
    const timer = this.#clock.after(ms, () => deadline.resolve(LATE))
    try {
      return await Promise.race([answer, deadline.promise])
    } catch (error) {
      if (error instanceof PosternError && error.code === GONE) return undefined
      throw error
    } finally {
      timer.cancel()
    }
  }
}

const LATE = Symbol('late')
