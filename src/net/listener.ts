// Accepts agents' connections and hands each to a new session.

import { hash, hkdfSync, randomFillSync } from 'node:crypto'
import { type AddressInfo, createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import {
  createServer as createTlsServer,
  type SecureContextOptions,
  type Server as TlsServer,
} from 'node:tls'
import type { Clock } from '../clock.ts'
import type { ListenerConfig, TlsConfig } from '../config/config.ts'
import { PosternError } from '../errors.ts'
import type { SessionRegistry } from '../session/registry.ts'
import { removeAbandonedSocket } from '../socket-file.ts'
import { endpointOf } from './dialer.ts'
import { networkTest } from './networks.ts'
import { readProxyHeader } from './proxy-protocol.ts'
import { type AcceptedHandle, addressText, SocketPeer, UNIX } from './socket-peer.ts'

const OPTIONS = { noDelay: true, keepAlive: true, allowHalfOpen: true } as const
/** For the TLS handshake, which is ahead of every other limit. */
const TLS_HANDSHAKE_MS = 5_000
const TICKET_KEY_BYTES = 48

export interface ListenerPorts {
  clock: Clock
  /** How long a load balancer may take for its PROXY protocol header, milliseconds. */
  headerTimeoutMs: number
  /** Reads certificates and keys. */
  readFile(path: string): Promise<Buffer>
  /** A connection could not be accepted, for want of file descriptors and the like. */
  onError(error: Error): void
  /** Takes connections before a byte of them was read, in place of sessions in this process. */
  handOver?: ((socket: Socket) => void) | undefined
  /** Secret of TLS session tickets, for several processes with one listener; 48 bytes. */
  ticketKeys?: Buffer | undefined
}

/** A listening socket below node:net. */
interface ServerHandle {
  onconnection?(this: ServerHandle, error: number, accepted: AcceptedHandle | undefined): void
}

/** Names a TCP connection among those that are open. */
function flowOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}

export class Listener {
  readonly name: string
  readonly #config: ListenerConfig
  readonly #registry: SessionRegistry
  #server: Server
  /** Of a port that others accept on. */
  #chosen: string | undefined
  /** Has that port until they do. */
  readonly #holder = createServer((socket) => socket.destroy())
  #tls: TlsServer | undefined
  /** Gives back the place of a connection whose TLS handshake is under way; by both addresses. */
  readonly #handshakes = new Map<string, () => void>()
  readonly #fromLoadBalancer: ((address: string) => boolean) | undefined
  readonly #ports: ListenerPorts

  constructor(config: ListenerConfig, registry: SessionRegistry, ports: ListenerPorts) {
    this.#ports = ports
    const networks = config.proxyProtocolFrom
    this.#fromLoadBalancer = networks.length === 0 ? undefined : networkTest(networks)
    this.name = config.name
    this.#config = config
    this.#registry = registry
    const pauseOnConnect = this.#fromLoadBalancer === undefined
    this.#server = createServer({ ...OPTIONS, pauseOnConnect }, (socket) => {
      if (pauseOnConnect) this.#accept(SocketPeer.adopt(socket))
      else this.#readHeader(socket)
    })
  }

  /** Where it listens, such as `127.0.0.1:1884`; known after `listen`. */
  get address(): string {
    if (this.#chosen !== undefined) return this.#chosen
    const bound = this.#server.address()
    if (bound === null) return ''
    return typeof bound === 'string' ? `unix:${bound}` : addressText(bound.address, bound.port)
  }

  /** Reads certificate and key; ready for `take` and `listen`. @throws PosternError ERR_TLS */
  async open(): Promise<void> {
    if (this.#config.tls !== undefined) await this.#openTls(this.#config.tls)
  }

  /** A connection that another process accepted, of which no byte was read. */
  take(socket: Socket): void {
    socket.allowHalfOpen = true
    this.#server.emit('connection', socket)
  }

  /** false: a Unix socket, of which there is one. */
  get hasPort(): boolean {
    return this.#config.address.kind === 'tcp'
  }

  /**
   * Chooses the port on which several processes are to `listen`, and finds out whether it is free: they would share it with
   * a stranger of the same user without an error. It is held until `letGo`.
   *
   * @throws PosternError ERR_LISTEN
   */
  async choosePort(): Promise<number> {
    const at = endpointOf(this.#config.address)
    if ('port' in at && at.port !== 0) {
      const alone = createServer()
      await this.#bind(alone, at)
      await new Promise((resolve) => alone.close(resolve))
    }
    await this.#bind(this.#holder, { ...at, reusePort: true })
    const { address, port } = this.#holder.address() as AddressInfo
    this.#chosen = addressText(address, port)
    return port
  }

  /** The processes listen on the port that was chosen. */
  letGo(): void {
    this.#holder.close()
  }

  /** After `open`. @param sharedPort one that was chosen. @throws PosternError ERR_LISTEN */
  async listen(sharedPort?: number): Promise<void> {
    const { address } = this.#config
    if (address.kind === 'unix') await removeAbandonedSocket(address.path)
    const { handOver } = this.#ports
    // TLS and PROXY protocol headers are for whom they are handed to.
    if (handOver !== undefined) this.#server = createServer({ ...OPTIONS, pauseOnConnect: true }, handOver)
    const shared = sharedPort === undefined ? {} : { port: sharedPort, reusePort: true }
    await this.#bind(this.#server, { ...endpointOf(address), ...shared })
    // Accepting goes on when there is room again.
    this.#server.on('error', this.#ports.onError)
    const isPlain = this.#tls === undefined && this.#fromLoadBalancer === undefined
    if (isPlain && handOver === undefined) this.#acceptHandles()
  }

  /**
   * node:net makes a socket of each connection, and `SocketPeer.adopt` another one of that: what the first costs, some 5 % of
   * a CONNECT, is saved. A server that has not this inside goes on as before.
   */
  #acceptHandles(): void {
    const handle = (this.#server as unknown as { _handle: ServerHandle | null })._handle
    const usual = handle?.onconnection
    if (handle === null || typeof usual !== 'function') return
    handle.onconnection = (error, accepted) => {
      if (error !== 0 || accepted === undefined) return usual.call(handle, error, accepted)
      accepted.setNoDelay?.(OPTIONS.noDelay)
      accepted.setKeepAlive?.(OPTIONS.keepAlive, 0)
      this.#accept(SocketPeer.over(accepted))
    }
  }

  #bind(server: Server, at: ListenOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const failed = (cause: Error): void => {
        const message = `listener ${this.name} cannot bind: ${cause.message}`
        reject(new PosternError('ERR_LISTEN', 'internal', message, { cause }))
      }
      server.once('error', failed)
      server.listen(at, () => {
        server.removeListener('error', failed)
        resolve()
      })
    })
  }

  /**
   * Reads certificate and key again, for connections from now on.
   *
   * @throws PosternError ERR_TLS; the former ones stay in use
   */
  async reloadTls(): Promise<void> {
    const { tls } = this.#config
    if (tls !== undefined && this.#tls !== undefined) {
      const context = await this.#contextOf(tls)
      this.#attempt(() => this.#tls!.setSecureContext(context))
    }
  }

  async #openTls(tls: TlsConfig): Promise<void> {
    const options = {
      ...OPTIONS,
      ...(await this.#contextOf(tls)),
      requestCert: tls.clientCertificates !== 'none',
      rejectUnauthorized: tls.clientCertificates === 'verify',
      handshakeTimeout: TLS_HANDSHAKE_MS,
    }
    const server = this.#attempt(() =>
      createTlsServer(options, (socket) => {
        this.#handshakes.get(flowOf(socket))?.()
        this.#accept(new SocketPeer(socket))
      }),
    )
    // Node leaves to this listener what becomes of a handshake that fails or takes too long.
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    this.#tls = server
    this.#server = createServer(OPTIONS, (socket) => this.#shakeHands(socket, server))
  }

  /** A handshake that does not end holds a place like a CONNECT that does not come. */
  #shakeHands(socket: Socket, server: TlsServer): void {
    const release = this.#registry.reserve()
    if (release === undefined) return void socket.destroy()
    const flow = flowOf(socket)
    const done = (): void => {
      release()
      if (this.#handshakes.get(flow) === done) this.#handshakes.delete(flow)
    }
    socket.once('close', done)
    // Those of a Unix socket cannot be told apart: whoever may open it is trusted to end what it begins.
    if (socket.remotePort === undefined) done()
    else this.#handshakes.set(flow, done)
    server.emit('connection', socket)
  }

  async #contextOf(tls: TlsConfig): Promise<SecureContextOptions & { ticketKeys?: Buffer }> {
    const read = (file: string): Promise<Buffer> =>
      this.#ports.readFile(file).catch((cause: Error) => {
        throw this.#tlsError(cause)
      })
    const { certFile, keyFile, clientCaFile, minVersion } = tls
    const [cert, key] = await Promise.all([read(certFile), read(keyFile)])
    const ca = clientCaFile === undefined ? undefined : await read(clientCaFile)
    const { ticketKeys } = this.#ports
    return {
      ...{ cert, key, minVersion },
      ...(ca === undefined ? {} : { ca }),
      ...(ticketKeys === undefined ? {} : { ticketKeys: keysFor(ticketKeys, [cert, key, ca]) }),
    }
  }

  #attempt<T>(use: () => T): T {
    try {
      return use()
    } catch (cause) {
      throw this.#tlsError(cause as Error)
    }
  }

  #tlsError(cause: Error): PosternError {
    const message = `listener ${this.name} cannot use its certificate or key: ${cause.message}`
    return new PosternError('ERR_TLS', 'internal', message, { cause })
  }

  /** Accepts no more; connections that exist go on. */
  close(): void {
    this.#holder.close()
    this.#server.close()
  }

  /** Only a load balancer may connect, and its header comes first: without it nobody knows who the agent is. */
  #readHeader(socket: Socket): void {
    socket.on('error', () => socket.destroy())
    if (!this.#fromLoadBalancer!(socket.remoteAddress ?? '')) return void socket.destroy()
    const release = this.#registry.reserve()
    if (release === undefined) return void socket.destroy()
    socket.once('close', release)
    const { clock, headerTimeoutMs } = this.#ports
    const timer = clock.after(headerTimeoutMs, () => socket.destroy())
    const onEnd = (): void => void socket.destroy()
    socket.once('close', () => timer.cancel())
    socket.on('end', onEnd)
    let bytes = Buffer.alloc(0)
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk])
      const header = readProxyHeader(bytes)
      if (header === 'incomplete') return
      timer.cancel()
      socket.off('data', onData)
      socket.off('end', onEnd)
      if (header === 'malformed') return void socket.destroy()
      socket.pause()
      if (bytes.length > header.length) socket.unshift(bytes.subarray(header.length))
      release()
      this.#accept(new SocketPeer(socket, { source: header.source }))
      socket.resume()
    }
    socket.on('data', onData)
  }

  #accept(peer: SocketPeer): void {
    // It was reset at once: nobody knows any more from where it came, and what it sent is not heard.
    if (this.hasPort && peer.host === UNIX) return peer.destroy()
    const session = this.#registry.open(peer, { id: newId(), listener: this.name })
    if (session !== undefined) peer.attach(session)
  }
}

const ID_BYTES = 8
/** Random bytes for many names: asking for a few costs as much as asking for these. */
const random = Buffer.alloc(64 * ID_BYTES)
let randomAt = random.length

/** Name of a connection, which no other has. */
function newId(): string {
  if (randomAt === random.length) {
    randomFillSync(random)
    randomAt = 0
  }
  randomAt += ID_BYTES
  return random.toString('hex', randomAt - ID_BYTES, randomAt)
}

/**
 * The secret of tickets that are good under these files only: who resumes a connection is not verified again, and one that
 * was verified by a former authority must not go on. The same in every process that reads the same files.
 */
function keysFor(secret: Buffer, files: readonly (Buffer | undefined)[]): Buffer {
  const digests = files.map((file) => hash('sha256', file ?? '', 'buffer'))
  return Buffer.from(hkdfSync('sha256', secret, Buffer.concat(digests), 'postern tickets', TICKET_KEY_BYTES))
}
