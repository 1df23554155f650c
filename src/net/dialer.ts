// Opens connections to the broker.

import { connect, type Socket } from 'node:net'
import type { Clock, Timer } from '../clock.ts'
import type { Address } from '../config/config.ts'
import { PosternError } from '../errors.ts'
import type { Peer, PeerEvents } from '../session/ports.ts'
import { proxyHeader } from './proxy-protocol.ts'
import { Reading, SocketPeer } from './socket-peer.ts'
import type { UpstreamTls } from './upstream-tls.ts'

/** Where an address leads, in the form of node:net. */
export function endpointOf(address: Address): { path: string } | { host: string; port: number } {
  return address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port }
}

export interface DialOptions {
  address: Address
  clock: Clock
  /** From the call to an established connection, with TLS. */
  timeoutMs: number
  tls?: UpstreamTls | undefined
  /** Name of the agent, to tell the broker; undefined: not told. */
  proxyFor?: string | undefined
}

/**
 * Connects to the broker.
 *
 * @throws PosternError ERR_UPSTREAM_TIMEOUT, ERR_UPSTREAM_REFUSED
 */
export function dial(options: DialOptions, events: PeerEvents): Promise<Peer> {
  return new Promise((resolve, reject) => new Dialing(options, events, resolve, reject))
}

const DIALING = Symbol('dialing')

/**
 * A socket that is being connected. Its listeners stay, and do nothing later: to take one away would turn the socket's
 * table of listeners into a hash table of a kilobyte.
 */
interface DialingSocket extends Socket {
  [DIALING]: Dialing | undefined
}

function onConnect(this: DialingSocket): void {
  this[DIALING]?.connected()
}
function onSecureConnect(this: DialingSocket): void {
  this[DIALING]?.established(this)
}
function onError(this: DialingSocket, cause: Error): void {
  this[DIALING]?.failed(cause)
}

class Dialing {
  readonly #options: DialOptions
  readonly #events: PeerEvents
  readonly #resolve: (peer: Peer) => void
  readonly #reject: (error: PosternError) => void
  /** TLS reads its socket itself. */
  readonly #reading: Reading | undefined
  readonly #socket: DialingSocket
  readonly #timer: Timer

  constructor(
    options: DialOptions,
    events: PeerEvents,
    resolve: (peer: Peer) => void,
    reject: (error: PosternError) => void,
  ) {
    const { address, clock, timeoutMs, tls } = options
    this.#options = options
    this.#events = events
    this.#resolve = resolve
    this.#reject = reject
    this.#reading = tls === undefined ? new Reading() : undefined
    const socket = connect({
      ...endpointOf(address),
      ...{ noDelay: true, keepAlive: true },
      ...(this.#reading && { onread: this.#reading.options }),
    })
    this.#socket = this.#watch(socket)
    socket.on('connect', onConnect)
    this.#timer = clock.after(timeoutMs, () => {
      const message = `the broker did not accept within ${timeoutMs} ms`
      this.#fail(new PosternError('ERR_UPSTREAM_TIMEOUT', 'server', message))
    })
  }

  #watch(socket: Socket): DialingSocket {
    const watched = socket as DialingSocket
    watched[DIALING] = this
    watched.on('error', onError)
    return watched
  }

  connected(): void {
    const { tls, proxyFor } = this.#options
    const socket = this.#socket
    if (proxyFor !== undefined) {
      const target = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }
      socket.write(proxyHeader(proxyFor, target))
    }
    if (tls === undefined) return this.established(socket)
    const secured = this.#watch(tls.over(socket))
    // Below TLS an error is an error of TLS, and one that nobody listens for ends the process.
    socket.on('error', () => secured.destroy())
    secured.on('secureConnect', onSecureConnect)
  }

  established(carrier: DialingSocket): void {
    this.#timer.cancel()
    this.#socket[DIALING] = undefined
    carrier[DIALING] = undefined
    const { address } = this.#options
    // To ask the socket costs a system call.
    const source = address.kind === 'unix' ? undefined : address
    const peer = new SocketPeer(carrier, { reading: this.#reading, source })
    peer.attach(this.#events)
    this.#resolve(peer)
  }

  failed(cause: Error): void {
    const message = `cannot reach the broker: ${cause.message}`
    this.#fail(new PosternError('ERR_UPSTREAM_REFUSED', 'server', message, { cause }))
  }

  #fail(error: PosternError): void {
    this.#timer.cancel()
    this.#socket.destroy()
    this.#reject(error)
  }
}
