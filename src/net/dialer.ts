// Opens connections to the broker.

import { connect, type Socket } from 'node:net'
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
  const { address, timeoutMs, tls, proxyFor } = options
  return new Promise((resolve, reject) => {
    // TLS reads its socket itself.
    const reading = tls === undefined ? new Reading() : undefined
    const socket: Socket = connect({
      ...endpointOf(address),
      ...{ noDelay: true, keepAlive: true },
      ...(reading && { onread: reading.options }),
    })
    const failed = (cause: Error): void => {
      socket.destroy()
      const message = `cannot reach the broker: ${cause.message}`
      reject(new PosternError('ERR_UPSTREAM_REFUSED', 'server', message, { cause }))
    }
    const established = (carrier: Socket): void => {
      socket.setTimeout(0)
      socket.removeAllListeners('timeout')
      socket.removeListener('error', failed)
      const peer = new SocketPeer(carrier, { reading })
      carrier.removeListener('error', failed)
      peer.attach(events)
      resolve(peer)
    }
    socket.setTimeout(timeoutMs)
    socket.once('timeout', () => {
      socket.destroy()
      const message = `the broker did not accept within ${timeoutMs} ms`
      reject(new PosternError('ERR_UPSTREAM_TIMEOUT', 'server', message))
    })
    socket.once('error', failed)
    socket.once('connect', () => {
      if (proxyFor !== undefined) {
        const target = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }
        socket.write(proxyHeader(proxyFor, target))
      }
      if (tls === undefined) return established(socket)
      const secured = tls.over(socket)
      // Below TLS an error is an error of TLS, and one that nobody listens for ends the process.
      socket.on('error', () => secured.destroy())
      secured.once('error', failed)
      secured.once('secureConnect', () => established(secured))
    })
  })
}
