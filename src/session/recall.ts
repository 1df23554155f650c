// What the broker says to a session. With several processes its first bytes are held back until what is remembered of the session has come from another process: at that
// moment the broker has ended the session's former connection, so nothing is added to it there any more.

import { PacketType } from '../wire/control-packet.ts'
import type { Peer, PeerEvents } from './ports.ts'
import type { Session } from './session.ts'

/** What the broker's side of a session tells it. */
export function serverEventsOf(session: Session): PeerEvents {
  const { memory } = session.context
  const events = new ServerEvents(session)
  if (memory.recall === undefined) return events
  return new Recall(
    events,
    () => session.towardsServer.peer,
    () => memory.recall!(session.clientId),
  )
}

class ServerEvents implements PeerEvents {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  onBytes(chunk: Buffer): void {
    this.#session.onServerBytes(chunk)
  }

  onDrain(): void {
    this.#session.onDrain()
  }

  onFin(): void {
    this.#session.onServerClose()
  }

  onClose(): void {
    this.#session.onServerGone()
  }

  onPanic(error: unknown): void {
    this.#session.onPanic(error)
  }
}

class Recall implements PeerEvents {
  readonly #events: PeerEvents
  readonly #peer: () => Peer
  readonly #recall: () => Promise<void>
  #held: Buffer[] = []
  #after: (() => void)[] = []
  #isDone = false

  /**
   * @param events of the broker's side, told late
   * @param peer the broker's side, once there are bytes
   */
  constructor(events: PeerEvents, peer: () => Peer, recall: () => Promise<void>) {
    this.#events = events
    this.#peer = peer
    this.#recall = recall
  }

  onBytes(chunk: Buffer): void {
    if (this.#isDone) return this.#events.onBytes(chunk)
    if (this.#held.length === 0 && isFresh(chunk)) {
      this.#isDone = true
      return this.#events.onBytes(chunk)
    }
    this.#held.push(Buffer.from(chunk))
    if (this.#held.length > 1) return
    this.#peer().pause()
    this.#recall().then(
      () => this.#done(),
      (error: unknown) => this.onPanic(error),
    )
  }

  onDrain(): void {
    this.#events.onDrain()
  }

  onFin(): void {
    this.#later(() => this.#events.onFin())
  }

  onClose(): void {
    this.#later(() => this.#events.onClose())
  }

  onPanic(error: unknown): void {
    this.#events.onPanic(error)
  }

  /** What comes behind bytes that are held. */
  #later(tell: () => void): void {
    if (this.#held.length === 0) tell()
    else this.#after.push(tell)
  }

  #done(): void {
    const [held, after] = [Buffer.concat(this.#held), this.#after]
    this.#held = []
    this.#after = []
    this.#isDone = true
    try {
      this.#peer().resume()
      this.#events.onBytes(held)
      for (const tell of after) tell()
    } catch (error) {
      this.onPanic(error)
    }
  }
}

/** The beginning of a CONNACK for a session that was not resumed: nothing remembered is needed. MQTT 5.0 §3.2.2.1.1 */
function isFresh(chunk: Buffer): boolean {
  if (chunk[0] !== PacketType.CONNACK << 4) return false
  const flags = chunk[1 + lengthBytes(chunk)]
  return flags === 0
}

/** Of the Remaining Length. */
function lengthBytes(chunk: Buffer): number {
  let bytes = 1
  while (bytes < 4 && (chunk[bytes] ?? 0) >= 0x80) bytes += 1
  return bytes
}
