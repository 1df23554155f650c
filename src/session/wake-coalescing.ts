// Many agents that each send a small message at a time wake the process for each of them, and a waking costs as much as
// all that is done with the message. Here several are made to share one: when the process was woken often for little, it
// rests after a turn of the event loop, and the next turn finds what has come meanwhile. As network cards do with
// interrupts.
//
//   wakings   |a|b|c|d|e|f|g|h| …            each a turn of the loop
//   rested    |a|b|…|<rest>|cdefg|<rest>|hijkl|   at most `mostMs` later, and nobody waits for an answer
//
// Only QoS 0 without Correlation Data is made to wait: whoever sent it waits for no answer. Where somebody does all the
// same, less comes once the process rests, and that ends it. Pure but for `EventLoop`. Hot path: runs per chunk.

/** The loop of this process; satisfied by net/event-loop.ts. */
export interface EventLoop {
  /** Calls once everything that has come by now is done. */
  afterTurn(call: () => void): void
  /** Sleeps: nothing at all is done meanwhile. */
  rest(ms: number): void
}

/** No rest for so long after something that is answered, or much at a time. */
const CALM_MS = 10
/** How often the process is woken is judged anew after this. */
const WINDOW_MS = 20
/** Whoever sends so much at a time needs no help. */
const BULK_BYTES = 8 * 1024
/** Chunks that a rest is to gather: with more there is little left to gain. */
const GATHERED = 32
/** When the longest rest would gather fewer, there is none. */
const FEWEST = 4
/** When chunks come so many times as far apart since the process rests, they wait for it, */
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
  #calmFromMs = Number.NEGATIVE_INFINITY
  #windowStartMs = Number.NEGATIVE_INFINITY
  #chunks = 0
  /** By the last window; 0: none. */
  #restMs = 0
  /** From one chunk to the next, before it rested. */
  #promptMs = 0
  /** In a row, of those with a rest. */
  #slowWindows = 0
  #planned = false

  /** @param mostMs longest rest; 0: none ever */
  constructor(loop: EventLoop, mostMs: number, onRest: (ms: number) => void) {
    this.#loop = loop
    this.#mostMs = mostMs
    this.#onRest = onRest
  }

  /**
   * A chunk was relayed.
   *
   * @param nowMs monotonic
   * @param isAwaited something in it is answered, or is an answer
   */
  relayed(nowMs: number, bytes: number, isAwaited: boolean): void {
    this.#nowMs = nowMs
    if (isAwaited || bytes >= BULK_BYTES) {
      this.#calmFromMs = Math.max(this.#calmFromMs, nowMs + CALM_MS)
      return
    }
    this.#chunks += 1
    if (nowMs - this.#windowStartMs >= WINDOW_MS) this.#judge(nowMs)
    if (this.#restMs === 0 || this.#planned || nowMs < this.#calmFromMs) return
    this.#planned = true
    this.#loop.afterTurn(this.#turnEnded)
  }

  #judge(nowMs: number): void {
    const eachMs = (nowMs - this.#windowStartMs) / this.#chunks
    this.#windowStartMs = nowMs
    this.#chunks = 0
    if (this.#restMs === 0) this.#promptMs = eachMs
    else this.#slowWindows = eachMs > this.#promptMs * SLOWED ? this.#slowWindows + 1 : 0
    if (this.#slowWindows === SLOW_WINDOWS) {
      this.#slowWindows = 0
      this.#calmFromMs = nowMs + WARY_MS
    }
    const rests = nowMs >= this.#calmFromMs && eachMs * FEWEST <= this.#mostMs
    this.#restMs = rests ? Math.min(eachMs * GATHERED, this.#mostMs) : 0
  }

  readonly #turnEnded = (): void => {
    this.#planned = false
    // More may have come in the same turn.
    if (this.#restMs === 0 || this.#nowMs < this.#calmFromMs) return
    this.#loop.rest(this.#restMs)
    this.#onRest(this.#restMs)
  }
}
