// Everything that leaves towards one side. Forwarded frames may be open (payload still to come); packets of
// Postern's own wait for the frame boundary, so that nothing is ever written into the middle of a packet.

import type { Peer } from './ports.ts'

const NONE: Buffer[] = []
const NOTHING = (): void => {}

export class Outbox {
  /** Body bytes of the forwarded frame that are still to come. 0: at a frame boundary. */
  #open = 0
  #waiting = NONE
  #waitingBytes = 0
  /** Bytes of own packets written since the kernel had last taken everything. */
  #ownBytes = 0
  /** Bytes forwarded so far. */
  forwardedBytes = 0
  /** Of the receiver: nothing longer may be sent [MQTT-3.1.2-24]. Forwarded packets are held to it by who decides. */
  maximumPacketSize = Number.POSITIVE_INFINITY
  readonly peer: Peer
  readonly #onTooLarge: () => void

  /** @param onTooLarge a packet of Postern's own was longer than that, and was not sent */
  constructor(peer: Peer, onTooLarge = NOTHING) {
    this.peer = peer
    this.#onTooLarge = onTooLarge
  }

  /** At most this many unsent bytes are packets of Postern's own: a peer that never reads must not grow them. */
  get ownBacklog(): number {
    return this.#waitingBytes + Math.min(this.#ownBytes, this.peer.backlog)
  }

  /** Packets of Postern's own wait for the end of the forwarded frame. */
  get hasWaiting(): boolean {
    return this.#waiting.length > 0
  }

  get atBoundary(): boolean {
    return this.#open === 0
  }

  /** Writes forwarded bytes. `setOpen` must follow before anything else is sent. */
  forward(bytes: Buffer): void {
    this.forwardedBytes += bytes.length
    this.peer.write(bytes)
  }

  /** Says how much of the last forwarded frame is still to come; at 0, waiting packets leave. */
  setOpen(bodyBytes: number): void {
    this.#open = bodyBytes
    if (bodyBytes > 0 || this.#waiting.length === 0) return
    for (const packet of this.#waiting) this.#write(packet)
    this.#waiting = NONE
    this.#waitingBytes = 0
  }

  /**
   * Sends a whole packet of Postern's own at the next frame boundary.
   *
   * @returns false: it is longer than the receiver takes
   */
  send(packet: Buffer): boolean {
    if (packet.length > this.maximumPacketSize) {
      this.#onTooLarge()
      return false
    }
    if (this.#open === 0) this.#write(packet)
    else {
      if (this.#waiting === NONE) this.#waiting = [packet]
      else this.#waiting.push(packet)
      this.#waitingBytes += packet.length
    }
    return true
  }

  #write(packet: Buffer): void {
    if (this.peer.backlog === 0) this.#ownBytes = 0
    this.#ownBytes += packet.length
    this.peer.write(packet)
  }
}
