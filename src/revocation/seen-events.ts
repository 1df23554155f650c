// Security events that were acted on, so that one which comes twice is done once: also after a restart, and when another
// replica has done it. In memory; journal.ts keeps them on disk. Bounded in number and age.

import type { Clock } from '../clock.ts'

const MOST = 10_000
/** Longer than a transmitter goes on sending one. */
export const SEEN_FOR_MS = 7 * 24 * 3_600_000

export class SeenEvents {
  readonly #clock: Clock
  /** Stream and `jti` -> when it was done, milliseconds since the epoch. The oldest first. */
  readonly #events = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#events.size
  }

  entries(): [event: string, atMs: number][] {
    this.#sweep()
    return [...this.#events]
  }

  has(event: string): boolean {
    const atMs = this.#events.get(event)
    return atMs !== undefined && atMs + SEEN_FOR_MS > this.#clock.now()
  }

  add(event: string, atMs: number): void {
    this.#events.delete(event)
    this.#events.set(event, atMs)
    if (this.#events.size > MOST) this.#sweep()
  }

  #sweep(): void {
    const oldest = this.#clock.now() - SEEN_FOR_MS
    for (const [event, atMs] of this.#events) {
      if (atMs > oldest && this.#events.size <= MOST) break
      this.#events.delete(event)
    }
  }
}

export function eventKey(stream: string, jti: string): string {
  return JSON.stringify([stream, jti])
}
