// A loopback TCP relay that stands between Postern and the broker and keeps every byte of both directions.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Packet } from 'mqtt-packet'
import { PacketInbox } from './packet-inbox.ts'

/** One connection of Postern to the broker. */
export class Wiretap {
  readonly toBroker = new PacketInbox('the broker')
  readonly toPostern = new PacketInbox('postern')
  readonly #sockets: readonly Socket[]

  constructor(sockets: readonly [postern: Socket, broker: Socket]) {
    this.#sockets = sockets
    const [postern, broker] = sockets
    join(postern, broker, this.toBroker)
    join(broker, postern, this.toPostern)
  }

  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

export class RecordingRelay {
  readonly host = '127.0.0.1'
  /** In order of connecting. */
  readonly connections: Wiretap[] = []
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(broker: { host: string; port: number }): Promise<RecordingRelay> {
    const server = createServer({ noDelay: true, allowHalfOpen: true })
    const relay = new RecordingRelay(server)
    server.on('connection', (postern) => {
      const socket = connect({ host: broker.host, port: broker.port, noDelay: true, allowHalfOpen: true })
      relay.connections.push(new Wiretap([postern, socket]))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return relay
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Every byte that went to the broker, over all connections. */
  get bytesToBroker(): Buffer {
    return Buffer.concat(this.connections.map((tap) => tap.toBroker.bytes))
  }

  /** Connections that sent something; Postern's probe of the broker sends nothing. */
  get sessions(): Wiretap[] {
    return this.connections.filter((tap) => tap.toBroker.chunks.length > 0)
  }

  /** Packets that the newest session sent to the broker. */
  get sent(): readonly Packet[] {
    return this.sessions.at(-1)?.toBroker.waiting ?? []
  }

  async stop(): Promise<void> {
    for (const tap of this.connections) tap.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

function join(from: Socket, to: Socket, inbox: PacketInbox): void {
  from.on('data', (chunk) => {
    inbox.take(chunk)
    if (!to.write(chunk)) from.pause()
  })
  to.on('drain', () => from.resume())
  from.on('end', () => {
    inbox.end()
    to.end()
  })
  from.on('error', () => to.destroy())
  from.on('close', () => {
    inbox.end()
    to.destroy()
  })
}
