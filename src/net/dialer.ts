// Opens connections to the broker.

import { connect, type Socket } from 'node:net'
import type { Address } from '../config/config.ts'
import { PosternError } from '../errors.ts'
import type { Peer, PeerEvents } from '../session/ports.ts'
import { Reading, SocketPeer } from './socket-peer.ts'

/** Where an address leads, in the form of node:net. */
export function endpointOf(address: Address): { path: string } | { host: string; port: number } {
  return address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port }
}

/**
 * Connects to the broker.
 *
 * @param timeoutMs from the call to an established connection
 * @throws PosternError ERR_UPSTREAM_TIMEOUT, ERR_UPSTREAM_REFUSED
 */
export function dial(address: Address, timeoutMs: number, events: PeerEvents): Promise<Peer> {
  return new Promise((resolve, reject) => {
    const reading = new Reading()
    const options = { ...endpointOf(address), noDelay: true, keepAlive: true, onread: reading.options }
    const socket: Socket = connect(options)
    socket.setTimeout(timeoutMs)
    socket.once('timeout', () => {
      socket.destroy()
      reject(
        new PosternError(
          'ERR_UPSTREAM_TIMEOUT',
          'server',
          `the broker did not accept within ${timeoutMs} ms`,
        ),
      )
    })
    const failed = (cause: Error): void => {
      reject(
        new PosternError('ERR_UPSTREAM_REFUSED', 'server', `cannot reach the broker: ${cause.message}`, {
          cause,
        }),
      )
    }
    socket.once('error', failed)
    socket.once('connect', () => {
      socket.setTimeout(0)
      socket.removeAllListeners('timeout')
      socket.removeListener('error', failed)
      const peer = new SocketPeer(socket, reading)
      peer.attach(events)
      resolve(peer)
    })
  })
}
