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
 * How a socket reads into buffers of ours (`onread` of node:net). It is made before the socket, and heard once its peer
 * is attached; until then nothing is kept.
 */
export class Reading {
  readonly options: OnReadOpts
  readonly #buffer = new ReadBuffer()
  #peer: SocketPeer | undefined

  constructor() {
    this.options = {
      buffer: () => this.#buffer.current,
      callback: (length) => {
        if (unsent.size > 0) unsent.clear()
        hasFailed = false
        this.#peer?.received(this.#buffer.take(length))
        const given = this.#buffer.giveBack(unsent.size > 0 || hasFailed)
        // With several, nobody knows who is the last.
        if (given !== undefined && unsent.size === 1 && !hasFailed)
          for (const peer of unsent) peer.keep(given)
        return true
      },
    }
  }

  attach(peer: SocketPeer): void {
    this.#peer = peer
  }

  end(): void {
    this.#buffer.release()
  }
}

const PEER = Symbol('peer')

/** A socket and the peer that it is of: its listeners are the same for all, since many connections are idle. */
interface PeerSocket extends Socket {
  [PEER]: SocketPeer
}

function onError(this: Socket): void {
  // A reset is a close; what failed is in no way the peer's to learn.
  this.destroy()
}
function onData(this: PeerSocket, chunk: Buffer): void {
  this[PEER].received(chunk)
}
function onDrain(this: PeerSocket): void {
  this[PEER].drained()
}
function onEnd(this: PeerSocket): void {
  this[PEER].ended()
}
function onClose(this: PeerSocket): void {
  this[PEER].closed()
}

/** In place of the address of what has none. */
export const UNIX = 'unix'

const NONE: Buffer[] = []

export interface Endpoint {
  host: string
  port: number
}

/** An accepted connection below node:net; a Unix socket has neither of these. */
export interface AcceptedHandle {
  setNoDelay?(on: boolean): void
  setKeepAlive?(on: boolean, delayS: number): void
}

export class SocketPeer implements Peer {
  readonly name: string
  readonly host: string
  readonly tls: TlsEvidence | undefined
  readonly #socket: Socket
  readonly #reading: Reading | undefined
  #events: PeerEvents | undefined
  #ended = false
  /** How often `cork` was called more than `uncork`. */
  #corks = 0
  /** What was written since; mostly it is one. */
  #first: Buffer | undefined
  #others = NONE
  #waitingBytes = 0
  /** Buffers that unfinished writes refer to, and nothing else does. */
  #kept = NONE

  /**
   * @param options.reading the one that `socket` was made with; without one, it is read as any stream
   * @param options.source where it comes from, when that is known; else the socket is asked
   */
  constructor(
    socket: Socket,
    { reading, source }: { reading?: Reading | undefined; source?: Endpoint | undefined } = {},
  ) {
    this.#socket = socket
    this.#reading = reading
    this.tls = socket instanceof TLSSocket ? evidenceOf(socket) : undefined
    const host = source?.host ?? socket.remoteAddress
    this.host = host ?? UNIX
    this.name = host === undefined ? UNIX : addressText(host, source?.port ?? socket.remotePort ?? 0)
    ;(socket as PeerSocket)[PEER] = this
    // From the start: a connection that is turned away is never attached, and an error that nobody listens for ends the
    // process.
    socket.on('error', onError)
    socket.on('close', onClose)
  }

  /** A socket that a server accepted with `pauseOnConnect`; it is read by the new peer from now on. */
  static adopt(accepted: Socket): SocketPeer {
    const holder = accepted as unknown as { _handle: AcceptedHandle | null }
    const peer = SocketPeer.over(holder._handle!)
    holder._handle = null
    return peer
  }

  /** The same of what a server makes a socket of: node:net has `onread` for sockets that connect, or take a handle. */
  static over(handle: AcceptedHandle): SocketPeer {
    const reading = new Reading()
    const options = { handle, allowHalfOpen: true, manualStart: true, onread: reading.options }
    return new SocketPeer(new Socket(options as object), { reading })
  }

  /** Keeps a buffer until everything written so far has been taken. */
  keep(buffer: Buffer): void {
    if (this.#kept === NONE) this.#kept = [buffer]
    else this.#kept.push(buffer)
  }

  get backlog(): number {
    return this.#socket.writableLength + this.#waitingBytes
  }

  write(bytes: Buffer): void {
    if (this.#ended) return
    if (this.#corks === 0) return this.#send(bytes)
    this.#waitingBytes += bytes.length
    if (this.#first === undefined) this.#first = bytes
    else if (this.#others === NONE) this.#others = [bytes]
    else this.#others.push(bytes)
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
    this.#takeWaiting()
    this.#socket.destroy()
  }

  /** Sends the socket's events to the session, and begins to read. */
  attach(events: PeerEvents): void {
    const socket = this.#socket as PeerSocket
    this.#events = events
    if (this.#reading === undefined) socket.on('data', onData)
    else this.#reading.attach(this)
    socket.on('drain', onDrain)
    socket.on('end', onEnd)
    socket.resume()
  }

  /** Of the socket, as the next three. */
  received(chunk: Buffer): void {
    try {
      this.#events!.onBytes(chunk)
    } catch (error) {
      this.#failed(error)
    }
  }

  drained(): void {
    this.#recycle()
    try {
      this.#events!.onDrain()
    } catch (error) {
      this.#failed(error)
    }
  }

  ended(): void {
    try {
      this.#events!.onFin()
    } catch (error) {
      this.#failed(error)
    }
  }

  closed(): void {
    this.#reading?.end()
    try {
      this.#events?.onClose()
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    // Nobody knows what refers to the chunk now.
    hasFailed = true
    this.#events!.onPanic(error)
  }

  /** The kernel has taken everything. */
  #recycle(): void {
    if (this.#kept === NONE || this.#socket.writableLength > 0 || this.#socket.destroyed) return
    recycle(this.#kept)
    this.#kept = NONE
  }

  #takeWaiting(): Buffer[] {
    const others = this.#others
    this.#first = undefined
    this.#others = NONE
    this.#waitingBytes = 0
    return others
  }

  #flush(): void {
    const first = this.#first
    if (first === undefined) return
    const others = this.#takeWaiting()
    if (others === NONE) return this.#send(first)
    this.#recycle()
    this.#socket.cork()
    this.#socket.write(first)
    for (const bytes of others) this.#socket.write(bytes)
    this.#socket.uncork()
    if (this.#socket.writableLength > 0) unsent.add(this)
  }

  #send(bytes: Buffer): void {
    this.#recycle()
    this.#socket.write(bytes)
    if (this.#socket.writableLength > 0) unsent.add(this)
  }
}

export function addressText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
