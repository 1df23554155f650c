// A TCP or Unix socket as the session's Peer.

import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { TlsEvidence } from '../identity/confirmation.ts'
import type { Peer, PeerEvents } from '../session/ports.ts'
import { evidenceOf } from './tls-evidence.ts'

export class SocketPeer implements Peer {
  readonly name: string
  readonly host: string
  readonly tls: TlsEvidence | undefined
  readonly #socket: Socket
  #ended = false

  /** @param source where it comes from, when a load balancer stands between */
  constructor(socket: Socket, source?: { host: string; port: number }) {
    this.#socket = socket
    this.tls = socket instanceof TLSSocket ? evidenceOf(socket) : undefined
    const host = source?.host ?? socket.remoteAddress
    this.host = host ?? 'unix'
    this.name = host === undefined ? 'unix' : addressText(host, source?.port ?? socket.remotePort ?? 0)
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

  /** Sends the socket's events to the session. */
  attach(events: PeerEvents): void {
    const socket = this.#socket
    socket.on('data', (chunk) => guard(events, () => events.onBytes(chunk)))
    socket.on('drain', () => guard(events, () => events.onDrain()))
    socket.on('end', () => guard(events, () => events.onFin()))
    socket.on('close', () => guard(events, () => events.onClose()))
  }
}

function guard(events: PeerEvents, call: () => void): void {
  try {
    call()
  } catch (error) {
    events.onPanic(error)
  }
}

export function addressText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
