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

class SystemTimer implements Timer {
  #handle: NodeJS.Timeout
  constructor(delayMs: number, fn: () => void) {
    const deadline = performance.now() + delayMs
    const arm = (): NodeJS.Timeout => {
      const left = deadline - performance.now()
      const handle = setTimeout(
        () => {
          if (deadline - performance.now() > 1) this.#handle = arm()
          else fn()
        },
        Math.max(0, Math.min(left, LONGEST_TIMEOUT_MS)),
      )
      handle.unref()
      return handle
    }
    this.#handle = arm()
  }
  cancel(): void {
    clearTimeout(this.#handle)
  }
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, fn) => new SystemTimer(delayMs, fn),
}
