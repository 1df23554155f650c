// Asks one transmitter for events, again and again. What was done is acknowledged with the next request, never before.
// RFC 8936.

import type { Clock, Timer } from '../clock.ts'
import type { EventPoller, PollRequest } from '../identity/event-poll.ts'
import type { EventStream } from './event-stream.ts'

const EVENTS_PER_POLL = 100
const LONGEST_BACK_OFF_MS = 300_000

export class PollLoop {
  readonly #stream: EventStream
  readonly #poller: EventPoller
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #onFailure: (reason: string) => void
  #ack: string[] = []
  #setErrs: PollRequest['setErrs'] = {}
  #failures = 0
  #timer: Timer | undefined
  #turn: Promise<void> = Promise.resolve()
  #stopped = false

  /** @param intervalMs between polls that found nothing more */
  constructor(
    stream: EventStream,
    poller: EventPoller,
    clock: Clock,
    intervalMs: number,
    onFailure: (reason: string) => void,
  ) {
    this.#stream = stream
    this.#poller = poller
    this.#clock = clock
    this.#intervalMs = intervalMs
    this.#onFailure = onFailure
  }

  start(): void {
    this.#turn = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#poller.close()
    await this.#turn
  }

  async #run(): Promise<void> {
    let more = true
    while (more && !this.#stopped) more = await this.#once()
    if (this.#stopped) return
    const backOff = Math.min(this.#intervalMs * 2 ** Math.min(this.#failures, 10), LONGEST_BACK_OFF_MS)
    const pause = this.#failures === 0 ? this.#intervalMs : Math.max(this.#intervalMs, backOff)
    this.#timer = this.#clock.after(pause, () => this.start())
  }

  /** @returns whether to ask again at once */
  async #once(): Promise<boolean> {
    const [ack, setErrs] = [this.#ack, this.#setErrs]
    const answer = await this.#poller.poll({
      maxEvents: EVENTS_PER_POLL,
      returnImmediately: true,
      ack,
      setErrs,
    })
    if (!answer.ok) return this.#failed(answer.reason)
    this.#ack = []
    this.#setErrs = {}
    this.#stream.contact()
    for (const [jti, set] of answer.sets) {
      if (!(await this.#take(jti, set))) return false
    }
    this.#failures = 0
    // At once as well when there is something to acknowledge.
    return answer.moreAvailable || answer.sets.size > 0
  }

  /** @returns false when what it asks for could not be done: it is left to come again */
  async #take(jti: string, set: string): Promise<boolean> {
    try {
      const taken = await this.#stream.take(set, 'poll')
      if (taken.ok) this.#ack.push(jti)
      else if (taken.retry) return this.#failed('keys_unavailable')
      else this.#setErrs = { ...this.#setErrs, [jti]: { err: taken.err, description: taken.description } }
      return true
    } catch {
      return this.#failed('not_written')
    }
  }

  #failed(reason: string): false {
    this.#failures++
    if (!this.#stopped) this.#onFailure(reason)
    return false
  }
}
