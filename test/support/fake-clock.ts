// A clock that moves only when told. Timers fire inside `advance`, in the order of their time.
import type { Clock, Timer } from '../../src/clock.ts'

interface Pending {
  at: number
  fn: () => void
}

export class FakeClock implements Clock {
  #elapsed = 0
  #startMs: number
  readonly #pending = new Set<Pending>()

  constructor(startMs = Date.UTC(2026, 10, 22, 12)) {
    this.#startMs = startMs
  }

  now(): number {
    return this.#startMs + this.#elapsed
  }

  monotonic(): number {
    return this.#elapsed
  }

  after(delayMs: number, fn: () => void): Timer {
    const pending = { at: this.#elapsed + delayMs, fn }
    this.#pending.add(pending)
    return { cancel: () => void this.#pending.delete(pending) }
  }

  /** Timers that have not fired. */
  get pendingCount(): number {
    return this.#pending.size
  }

  advance(ms: number): void {
    const end = this.#elapsed + ms
    for (;;) {
      const due = [...this.#pending].filter((pending) => pending.at <= end).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#pending.delete(due)
      this.#elapsed = Math.max(this.#elapsed, due.at)
      due.fn()
    }
    this.#elapsed = end
  }
}
