// The only file that reads the time or sets a timer. Everything else is given a Clock.

/** A pending call; `cancel` is idempotent. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Wall clock, milliseconds since the epoch. */
  now(): number
  /** Never goes back, milliseconds from an arbitrary origin, fractional. */
  monotonic(): number
  /** Calls `fn` once after `delayMs`; any length is allowed (EXP-06: longer than 2^31 ms too). */
  after(delayMs: number, fn: () => void): Timer
}

/** setTimeout overflows above this and would fire at once. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1
const FAR_MS = 60_000

class SystemTimer implements Timer {
  readonly #deadline: number
  readonly #fn: () => void
  #handle: NodeJS.Timeout

  constructor(delayMs: number, fn: () => void) {
    this.#deadline = performance.now() + delayMs
    this.#fn = fn
    this.#handle = this.#arm(delayMs)
  }

  cancel(): void {
    clearTimeout(this.#handle)
  }

  #arm(leftMs: number): NodeJS.Timeout {
    // Node keeps a list for each length: those that end far ahead share a few, and wait for the rest in a second step.
    const stepMs =
      leftMs > FAR_MS
        ? Math.min(Math.floor(leftMs / FAR_MS) * FAR_MS, LONGEST_TIMEOUT_MS)
        : Math.max(0, leftMs)
    return setTimeout(fire, stepMs, this).unref()
  }

  static fire(timer: SystemTimer): void {
    const leftMs = timer.#deadline - performance.now()
    if (leftMs > 1) timer.#handle = timer.#arm(leftMs)
    else timer.#fn()
  }
}

const { fire } = SystemTimer

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, fn) => new SystemTimer(delayMs, fn),
}
