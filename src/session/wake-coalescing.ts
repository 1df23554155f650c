// Many agents that each send a small message at a time wake the process for each of them, and a waking costs as much as
// all that is done with the message. Here several are made to share one: when the process was woken often for little, it
// rests after a turn of the event loop, and the next turn finds what has come meanwhile. As network cards do with
// interrupts.
//
//   wakings   |a|b|c|d|e|f|g|h| …            each a turn of the loop
//   rested    |a|b|…|<rest>|cdefg|<rest>|hijkl|   at most `mostMs` later
//
// While it rests the whole process does nothing. So it does not for a while after anything that is answered or is an
// answer, and it stops where all messages together come less than half as fast because of it: where somebody waits for
// answers to QoS 0. Only messages of agents that were let in make it rest. Pure but for `EventLoop`. Hot path: runs per chunk.

/** The loop of this process; satisfied by net/event-loop.ts. */
export interface EventLoop {
  /** Calls once everything that has come by now is done. */
  afterTurn(call: () => void): void
  /** Sleeps: nothing at all is done meanwhile. */
  rest(ms: number): void
}

/** No rest for so long after something that is answered, or much at a time. */
const CALM_MS = 10
/** How often messages come is judged anew after this. */
const WINDOW_MS = 20
/** Whoever sends so much at a time needs no help. */
const BULK_BYTES = 8 * 1024
/** No rest when wakings, or messages, come further apart. */
const SPARSE_MS = 0.5
/** Wakings that a rest is to gather: with more there is little left to gain. */
const GATHERED = 32
/** After so many windows with rests there is one without, to see how the messages come then. */
const RESTED_WINDOWS = 50
/** When messages come so many times as far apart as without rests, somebody waits for them, */
const SLOWED = 2
/** if it is so in as many windows with a rest in a row: a stall of the machine is shorter. */
const SLOW_WINDOWS = 3
/** No rest for so long after that. */
const WARY_MS = 2000

export class WakeCoalescing {
  readonly #loop: EventLoop
  readonly #mostMs: number
  readonly #onRest: (ms: number) => void
  /** Of the chunk last read. */
  #nowMs = 0
  #calmUntilMs = Number.NEGATIVE_INFINITY
  #windowStartMs = Number.NEGATIVE_INFINITY
  /** In this window; and chunks in which one began, which are wakings where there are no rests. */
  #messages = 0
  #chunks = 0
  /** By the last window; 0: none. */
  #restMs = 0
  /** From one message to the next, and from one such chunk to the next, without rests. */
  #promptMs = 0
  #wakingMs = 0
  /** With rests, in a row. */
  #restedWindows = 0
  /** Of those, in a row. */
  #slowWindows = 0
  #planned = false

  /** @param mostMs longest rest; 0: none ever */
  constructor(loop: EventLoop, mostMs: number, onRest: (ms: number) => void) {
    this.#loop = loop
    this.#mostMs = mostMs
    this.#onRest = onRest
  }

  /** Somebody waits for what comes next: a connection was accepted, or something is answered. @param nowMs monotonic */
  stayAwake(nowMs: number): void {
    this.#nowMs = nowMs
    this.#calmUntilMs = Math.max(this.#calmUntilMs, nowMs + CALM_MS)
  }

  /**
   * A chunk was relayed.
   *
   * @param nowMs monotonic
   * @param messages that began in it
   * @param isAwaited something in it is answered, or is an answer
   */
  relayed(nowMs: number, bytes: number, messages: number, isAwaited: boolean): void {
    if (isAwaited || bytes >= BULK_BYTES) return this.stayAwake(nowMs)
    this.#nowMs = nowMs
    if (messages === 0) return
    this.#messages += messages
    this.#chunks += 1
    const mayRest = this.#restMs > 0 && nowMs >= this.#calmUntilMs
    if (this.#planned || !(mayRest || this.#isOver)) return
    this.#planned = true
    this.#loop.afterTurn(this.#turnEnded)
  }

  /** The window. */
  get #isOver(): boolean {
    return this.#nowMs - this.#windowStartMs >= WINDOW_MS
  }

  #judge(): void {
    const nowMs = this.#nowMs
    const windowMs = nowMs - this.#windowStartMs
    const eachMs = windowMs / this.#messages
    if (this.#restMs === 0) {
      this.#promptMs = eachMs
      this.#wakingMs = windowMs / this.#chunks
      this.#restedWindows = 0
    } else {
      this.#restedWindows += 1
      this.#slowWindows = eachMs > this.#promptMs * SLOWED ? this.#slowWindows + 1 : 0
    }
    if (this.#slowWindows === SLOW_WINDOWS) {
      this.#slowWindows = 0
      this.#calmUntilMs = nowMs + WARY_MS
    }
    const isDense = Math.max(eachMs, this.#wakingMs) <= SPARSE_MS
    const rests = isDense && nowMs >= this.#calmUntilMs && this.#restedWindows < RESTED_WINDOWS
    this.#restMs = rests ? Math.min(this.#wakingMs * GATHERED, this.#mostMs) : 0
    this.#windowStartMs = nowMs
    this.#messages = 0
    this.#chunks = 0
  }

  readonly #turnEnded = (): void => {
    this.#planned = false
    // Not before: what came during the last rest is of this window.
    if (this.#isOver) this.#judge()
    // More may have come in the same turn.
    if (this.#restMs === 0 || this.#nowMs < this.#calmUntilMs) return
    this.#loop.rest(this.#restMs)
    this.#onRest(this.#restMs)
  }
}
