// Keep Alive towards the server. An agent whose packets are all denied is alive, but the broker hears nothing of it
// and would close: Postern then sends PINGREQ packets of its own and swallows as many answers. MQTT 5.0 §3.1.2.10.

import { PINGREQ } from '../wire/reply.ts'
import type { Outbox } from './outbox.ts'

export class KeepAlive {
  #intervalMs = 0
  #lastForwardMs = 0
  #unanswered = 0

  /** @param keepAliveS what the broker counts by, seconds; 0 is off */
  start(keepAliveS: number, nowMs: number): void {
    this.#intervalMs = keepAliveS * 1000
    this.#lastForwardMs = nowMs
  }

  /** Something of the agent went to the server. */
  forwarded(nowMs: number): void {
    this.#lastForwardMs = nowMs
  }

  /** Something of the agent was read, and nothing of it went to the server. */
  dropped(nowMs: number, server: Outbox): void {
    if (this.#intervalMs === 0 || nowMs - this.#lastForwardMs < this.#intervalMs / 2) return
    this.#lastForwardMs = nowMs
    this.#unanswered++
    server.send(PINGREQ)
  }

  /** true: this PINGRESP is Postern's. Which one is whose makes no difference, only their number does. */
  takeAnswer(): boolean {
    if (this.#unanswered === 0) return false
    this.#unanswered--
    return true
  }
}
