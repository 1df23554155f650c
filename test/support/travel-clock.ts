// Real time that can be moved forward: for tests with real sockets, where most timers must run and a token must
// expire without anybody waiting for it.
import type { Clock, Timer } from '../../src/clock.ts'

interface Pending {
  atMs: number
  fn: () => void
  handle: NodeJS.Timeout
}

export class TravelClock implements Clock {
  #offsetMs = 0
  readonly #pending = new Set<Pending>()

  now(): number {
    return Date.now() + this.#offsetMs
  }

  monotonic(): number {
    return performance.now() + this.#offsetMs
  }

  after(delayMs: number, fn: () => void): Timer {
    const pending: Pending = { atMs: this.now() + delayMs, fn, handle: undefined as never }
    this.#arm(pending)
    return {
      cancel: () => {
        clearTimeout(pending.handle)
        this.#pending.delete(pending)
      },
    }
  }

  /** Moves time on; timers that became due fire now, in order. */
  advance(ms: number): void {
    this.#offsetMs += ms
    for (const pending of [...this.#pending].sort((a, b) => a.atMs - b.atMs)) {
      if (!this.#pending.delete(pending)) continue
      clearTimeout(pending.handle)
      if (pending.atMs <= this.now()) pending.fn()
      else this.#arm(pending)
    }
  }

  #arm(pending: Pending): void {
    const delay = Math.min(Math.max(0, pending.atMs - this.now()), 2 ** 31 - 1)
    pending.handle = setTimeout(() => {
      this.#pending.delete(pending)
      pending.fn()
    }, delay)
    this.#pending.add(pending)
  }
}
