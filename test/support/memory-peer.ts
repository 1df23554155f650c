// One side of a session without a socket: keeps what is written, and can stop reading. Corks, counts its backlog and
// reports a drain as a Socket of Node does, for the session's back-pressure depends on when exactly that is.
import type { Peer, PeerEvents } from '../../src/session/ports.ts'

/** As for a Socket: a drain is only reported after a write that filled the buffer up to here. */
const HIGH_WATER_BYTES = 64 * 1024

export class MemoryPeer implements Peer {
  readonly name: string
  readonly host = 'memory'
  /** What the other end has read, in order. */
  readonly writes: Buffer[] = []
  paused = false
  ended = false
  destroyed = false
  /** Largest backlog that there ever was. */
  highestBacklog = 0
  readonly #events: () => Pick<PeerEvents, 'onDrain'>
  #reading = true
  #corks = 0
  #unread: Buffer[] = []
  #backlog = 0
  #needsDrain = false

  constructor(name: string, events: () => Pick<PeerEvents, 'onDrain'>) {
    this.name = name
    this.#events = events
  }

  get backlog(): number {
    return this.#backlog
  }

  /** Everything that the other end has read. */
  get bytes(): Buffer {
    return Buffer.concat(this.writes)
  }

  write(bytes: Buffer): void {
    if (this.ended || this.destroyed) return
    this.#unread.push(bytes)
    this.#backlog += bytes.length
    if (this.#backlog >= HIGH_WATER_BYTES) this.#needsDrain = true
    this.#flush()
    this.highestBacklog = Math.max(this.highestBacklog, this.#backlog)
  }

  cork(): void {
    this.#corks++
  }

  uncork(): void {
    if (this.#corks > 0) this.#corks--
    this.#flush()
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  finish(): void {
    this.end()
  }

  end(): void {
    this.ended = true
    this.#corks = 0
    this.#flush()
  }

  destroy(): void {
    this.destroyed = true
    this.#unread = []
  }

  /** The other end stops taking bytes. */
  stopReading(): void {
    this.#reading = false
  }

  startReading(): void {
    this.#reading = true
    this.#flush()
  }

  #flush(): void {
    if (this.#corks > 0 || !this.#reading) return
    this.writes.push(...this.#unread.splice(0))
    this.#backlog = 0
    if (!this.#needsDrain) return
    this.#needsDrain = false
    queueMicrotask(() => this.#events().onDrain())
  }
}
