// A TCP or Unix socket as the session's Peer. Hot path: runs per chunk; see read-buffer.ts for who owns the bytes.

import { type OnReadOpts, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { TlsEvidence } from '../identity/confirmation.ts'
import type { Peer, PeerEvents } from '../session/ports.ts'
import { ReadBuffer, recycle } from './read-buffer.ts'
import { evidenceOf } from './tls-evidence.ts'

/** Peers that have been written to, and whose kernel has not taken all: what that refers to must stay as it is. */
const unsent = new Set<SocketPeer>()
let hasFailed = false

/**
 * How a socket reads into buffers of ours (`onread` of node:net). It is made before the socket, and heard once the peer
 * is attached; until then nothing is kept.
 */
export class Reading {
  readonly options: OnReadOpts
  readonly #buffer = new ReadBuffer()
  #deliver: (chunk: Buffer) => void = () => {}

  constructor() {
    this.options = {
      buffer: () => this.#buffer.current,
      callback: (length) => {
        if (unsent.size > 0) unsent.clear()
        hasFailed = false
        this.#deliver(this.#buffer.take(length))
        const given = this.#buffer.giveBack(unsent.size > 0 || hasFailed)
        // With several, nobody knows who is the last.
        if (given !== undefined && unsent.size === 1 && !hasFailed)
          for (const peer of unsent) peer.keep(given)
        return true
      },
    }
  }

  attach(deliver: (chunk: Buffer) => void): void {
    this.#deliver = deliver
  }

  end(): void {
    this.#buffer.release()
  }
}

export interface Endpoint {
  host: string
  port: number
}

export class SocketPeer implements Peer {
  readonly name: string
  readonly host: string
  readonly tls: TlsEvidence | undefined
  readonly #socket: Socket
  readonly #reading: Reading | undefined
  #ended = false
  /** How often `cork` was called more than `uncork`. */
  #corks = 0
  #waiting: Buffer[] = []
  #waitingBytes = 0
  /** Buffers that unfinished writes refer to, and nothing else does. */
  #kept: Buffer[] = []

  /**
   * @param options.reading the one that `socket` was made with; without one, it is read as any stream
   * @param options.source where it comes from, when a load balancer stands between
   */
  constructor(
    socket: Socket,
    { reading, source }: { reading?: Reading | undefined; source?: Endpoint | undefined } = {},
  ) {
    this.#socket = socket
    this.#reading = reading
    this.tls = socket instanceof TLSSocket ? evidenceOf(socket) : undefined
    const host = source?.host ?? socket.remoteAddress
    this.host = host ?? 'unix'
    this.name = host === undefined ? 'unix' : addressText(host, source?.port ?? socket.remotePort ?? 0)
    // A reset is a close; what failed is in no way the peer's to learn. From the start: a connection that is turned
    // away is never attached, and an error that nobody listens for ends the process.
    socket.on('error', () => socket.destroy())
    socket.on('close', () => reading?.end())
  }

  /** A socket that a server accepted with `pauseOnConnect`; it is read by the new peer from now on. */
  static adopt(accepted: Socket): SocketPeer {
    const reading = new Reading()
    // node:net has `onread` for sockets that connect; for those that were accepted it takes the handle.
    const holder = accepted as unknown as { _handle: unknown }
    const options = {
      handle: holder._handle,
      allowHalfOpen: true,
      manualStart: true,
      onread: reading.options,
    }
    const socket = new Socket(options as object)
    holder._handle = null
    return new SocketPeer(socket, { reading })
  }

  /** Keeps a buffer until everything written so far has been taken. */
  keep(buffer: Buffer): void {
    this.#kept.push(buffer)
  }

  get backlog(): number {
    return this.#socket.writableLength + this.#waitingBytes
  }

  write(bytes: Buffer): void {
    if (this.#ended) return
    if (this.#corks === 0) return this.#send(bytes)
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
  }

  cork(): void {
    this.#corks += 1
  }

  uncork(): void {
    this.#corks -= 1
    if (this.#corks === 0) this.#flush()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  finish(): void {
    if (this.#ended) return
    this.#flush()
    this.#ended = true
    if (!this.#socket.destroyed) this.#socket.end()
  }

  end(): void {
    this.finish()
    if (this.#socket.destroyed) return
    // Unread input would turn the close into a reset, which can overtake the last packet.
    this.#socket.resume()
  }

  destroy(): void {
    this.#ended = true
    this.#waiting = []
    this.#waitingBytes = 0
    this.#socket.destroy()
  }

  /** Sends the socket's events to the session, and begins to read. */
  attach(events: PeerEvents): void {
    const socket = this.#socket
    const guard = (call: () => void): void => {
      try {
        call()
      } catch (error) {
        // Nobody knows what refers to the chunk now.
        hasFailed = true
        events.onPanic(error)
      }
    }
    const onBytes = (chunk: Buffer): void => guard(() => events.onBytes(chunk))
    if (this.#reading === undefined) socket.on('data', onBytes)
    else this.#reading.attach(onBytes)
    socket.on('drain', () => {
      this.#recycle()
      guard(() => events.onDrain())
    })
    socket.on('end', () => guard(() => events.onFin()))
    socket.on('close', () => guard(() => events.onClose()))
    socket.resume()
  }

  /** The kernel has taken everything. */
  #recycle(): void {
    if (this.#socket.writableLength === 0 && !this.#socket.destroyed) recycle(this.#kept)
  }

  #flush(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    if (this.#kept.length > 0) this.#recycle()
    this.#waiting = []
    this.#waitingBytes = 0
    if (waiting.length === 1) return this.#send(waiting[0]!)
    this.#socket.cork()
    for (const bytes of waiting) this.#socket.write(bytes)
    this.#socket.uncork()
    if (this.#socket.writableLength > 0) unsent.add(this)
  }

  #send(bytes: Buffer): void {
    if (this.#kept.length > 0) this.#recycle()
    this.#socket.write(bytes)
    if (this.#socket.writableLength > 0) unsent.add(this)
  }
}

export function addressText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
