// Accepts agents' connections and hands each to a new session.

import { randomBytes } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import type { ListenerConfig } from '../config/config.ts'
import { PosternError } from '../errors.ts'
import type { SessionRegistry } from '../session/registry.ts'
import { removeAbandonedSocket } from '../socket-file.ts'
import { endpointOf } from './dialer.ts'
import { addressText, SocketPeer } from './socket-peer.ts'

export class Listener {
  readonly name: string
  readonly #config: ListenerConfig
  readonly #registry: SessionRegistry
  readonly #server: Server
  readonly #onError: (error: Error) => void

  /** @param onError a connection could not be accepted, for want of file descriptors and the like */
  constructor(config: ListenerConfig, registry: SessionRegistry, onError: (error: Error) => void) {
    this.name = config.name
    this.#config = config
    this.#registry = registry
    this.#onError = onError
    const options = { noDelay: true, keepAlive: true, allowHalfOpen: true, pauseOnConnect: true }
    this.#server = createServer(options, (socket) => this.#accept(socket))
  }

  /** Where it listens, such as `127.0.0.1:1884`; known after `listen`. */
  get address(): string {
    const bound = this.#server.address()
    if (bound === null) return ''
    return typeof bound === 'string' ? `unix:${bound}` : addressText(bound.address, bound.port)
  }

  /** @throws PosternError ERR_LISTEN */
  async listen(): Promise<void> {
    const { address } = this.#config
    if (address.kind === 'unix') await removeAbandonedSocket(address.path)
    return new Promise((resolve, reject) => {
      const failed = (cause: Error): void => {
        const message = `listener ${this.name} cannot bind: ${cause.message}`
        reject(new PosternError('ERR_LISTEN', 'internal', message, { cause }))
      }
      this.#server.once('error', failed)
      this.#server.listen(endpointOf(address), () => {
        this.#server.removeListener('error', failed)
        // Accepting goes on when there is room again.
        this.#server.on('error', this.#onError)
        resolve()
      })
    })
  }

  /** Accepts no more; connections that exist go on. */
  close(): void {
    this.#server.close()
  }

  #accept(socket: Socket): void {
    const peer = SocketPeer.adopt(socket)
    const session = this.#registry.open(peer, { id: randomBytes(8).toString('hex'), listener: this.name })
    if (session !== undefined) peer.attach(session)
  }
}
