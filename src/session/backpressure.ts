// Who is read and who is not, by what the other side has not taken yet. Memory per connection stays bounded however
// slow one of the two is.

import type { Outbox } from './outbox.ts'

/** Unsent bytes towards one side above which the other side is not read any more. */
const HIGH_WATER_BYTES = 256 * 1024
/** Unsent bytes of Postern's own answers above which their receiver is not read any more; above what a socket calls full, so that its drain is announced. */
const OWN_HIGH_WATER_BYTES = 128 * 1024

export class Backpressure {
  /** The client starts unpaused, and is held from its CONNECT to its CONNACK. */
  #clientPaused = false
  #serverPaused = false

  holdClient(client: Outbox): void {
    this.#clientPaused = true
    client.peer.pause()
  }

  releaseClient(client: Outbox): void {
    this.#clientPaused = false
    client.peer.resume()
  }

  /**
   * @param held neither side is read: the audit log must catch up first
   * @param undecided the agent is not read: a packet of it waits to be decided
   */
  apply(client: Outbox, server: Outbox, held: boolean, undecided: boolean): void {
    // Deliveries that the agent does not read must not keep it from being read: it may write before it reads.
    const pauseClient =
      held || undecided || server.peer.backlog > HIGH_WATER_BYTES || client.ownBacklog > OWN_HIGH_WATER_BYTES
    if (pauseClient !== this.#clientPaused) {
      this.#clientPaused = pauseClient
      if (pauseClient) client.peer.pause()
      else client.peer.resume()
    }
    const pauseServer =
      held || client.peer.backlog > HIGH_WATER_BYTES || server.ownBacklog > OWN_HIGH_WATER_BYTES
    if (pauseServer !== this.#serverPaused) {
      this.#serverPaused = pauseServer
      if (pauseServer) server.peer.pause()
      else server.peer.resume()
    }
  }
}
