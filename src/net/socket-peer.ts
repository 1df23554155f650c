// A TCP or Unix socket as the session's Peer.

import type { Socket } from 'node:net'
import type { Peer, PeerEvents } from '../session/ports.ts'

export class SocketPeer implements Peer {
  readonly name: string
  readonly host: string
  readonly #socket: Socket
  #ended = false

  constructor(socket: Socket) {
    this.#socket = socket
    this.host = socket.remoteAddress ?? 'unix'
    this.name =
      socket.remoteAddress === undefined ? 'unix' : addressText(socket.remoteAddress, socket.remotePort ?? 0)
    // A reset is a close; what failed is in no way the peer's to learn. From the start: a connection that is turned
    // away is never attached, and an error that nobody listens for ends the process.
    socket.on('error', () => socket.destroy())
  }

  get backlog(): number {
    return this.#socket.writableLength
  }

  write(bytes: Buffer): void {
    if (!this.#ended) this.#socket.write(bytes)
  }

  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  finish(): void {
    if (this.#ended) return
    this.#ended = true
    this.#socket.end()
  }

  end(): void {
    this.finish()
    // Unread input would turn the close into a reset, which can overtake the last packet.
    this.#socket.resume()
  }

  destroy(): void {
    this.#ended = true
    this.#socket.destroy()
  }

  /**
   * Sends the socket's events to the session. An exception in there is a mistake of ours: `onPanic` is told, and
   * only this connection ends.
   */
  attach(events: PeerEvents, onPanic: (error: unknown) => void): void {
    const socket = this.#socket
    socket.on('data', (chunk) => guard(() => events.onBytes(chunk), onPanic))
    socket.on('drain', () => guard(() => events.onDrain(), onPanic))
    socket.on('end', () => guard(() => events.onFin(), onPanic))
    socket.on('close', () => guard(() => events.onClose(), onPanic))
  }
}

function guard(call: () => void, onPanic: (error: unknown) => void): void {
  try {
    call()
  } catch (error) {
    onPanic(error)
  }
}

export function addressText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
