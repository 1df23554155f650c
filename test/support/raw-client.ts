// An MQTT client that sends exactly the bytes it is given, for what MQTT.js would never send.
import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import type { Packet, PacketCmd } from 'mqtt-packet'
import { PINGREQ } from './frames.ts'
import { PacketInbox, type PacketOf } from './packet-inbox.ts'

export interface RawClientOptions {
  host?: string
  port: number
  /** For error messages. */
  name?: string
  protocolVersion?: 4 | 5
}

export class RawClient {
  readonly inbox: PacketInbox
  readonly #socket: Socket

  private constructor(socket: Socket, options: RawClientOptions) {
    this.#socket = socket
    this.inbox = new PacketInbox(options.name ?? 'client', options.protocolVersion)
    socket.on('data', (chunk) => this.inbox.take(chunk))
    socket.on('close', () => this.inbox.end())
    socket.on('end', () => this.inbox.end())
    socket.on('error', () => this.inbox.end())
  }

  static async open(options: RawClientOptions): Promise<RawClient> {
    const socket = connectSocket({ host: options.host ?? '127.0.0.1', port: options.port, noDelay: true })
    await once(socket, 'connect')
    return new RawClient(socket, options)
  }

  /** Writes all parts at once. */
  send(...parts: Buffer[]): void {
    this.#socket.write(parts.length === 1 ? parts[0]! : Buffer.concat(parts))
  }

  /** Writes with a system call of its own: without Nagle's algorithm, mostly a segment of its own too. */
  async sendAlone(bytes: Buffer): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.write(bytes, () => resolve()))
  }

  next<C extends PacketCmd>(cmd: C): Promise<PacketOf<C>> {
    return this.inbox.next(cmd)
  }

  nextAny(): Promise<Packet> {
    return this.inbox.nextAny()
  }

  /** Waits for the close; returns what came before it and was not taken. */
  closed(): Promise<Packet[]> {
    return this.inbox.closed()
  }

  /** Returns when the broker has dealt with everything sent so far; nothing else may be on its way back. */
  async ping(): Promise<void> {
    this.send(PINGREQ)
    await this.next('pingresp')
  }

  /** Stops reading: what comes fills the buffers of the kernel, then those of the sender. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Bytes that the other end has not taken. */
  get backlog(): number {
    return this.#socket.writableLength
  }

  /** FIN, without DISCONNECT. */
  end(): void {
    this.#socket.end()
  }

  /** RST. */
  reset(): void {
    this.#socket.resetAndDestroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
