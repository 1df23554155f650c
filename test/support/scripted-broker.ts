// A stub in place of a broker, on a real socket: it says what the test tells it to, also what no broker should.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { PacketCmd } from 'mqtt-packet'
import { type ConnackOptions, connack } from './frames.ts'
import { PacketInbox, type PacketOf } from './packet-inbox.ts'

/** A connection of Postern, from the broker's side. */
export class BrokerSide {
  readonly inbox = new PacketInbox('the stub broker')
  readonly socket: Socket

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => this.inbox.take(chunk))
    socket.on('close', () => this.inbox.end())
    socket.on('end', () => this.inbox.end())
    socket.on('error', () => this.inbox.end())
  }

  next<C extends PacketCmd>(cmd: C): Promise<PacketOf<C>> {
    return this.inbox.next(cmd)
  }

  send(...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts))
  }

  /** Takes the CONNECT and accepts it. */
  async accept(options: ConnackOptions = {}): Promise<PacketOf<'connect'>> {
    const packet = await this.next('connect')
    this.send(connack(options))
    return packet
  }
}

export class ScriptedBroker {
  readonly host = '127.0.0.1'
  /** Connections that sent nothing yet are in here too. */
  readonly sides: BrokerSide[] = []
  readonly #server: Server
  #onSpeaking: (() => void) | undefined
  #taken = new Set<BrokerSide>()

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(): Promise<ScriptedBroker> {
    const server = createServer({ noDelay: true, allowHalfOpen: false })
    const broker = new ScriptedBroker(server)
    server.on('connection', (socket) => {
      const side = new BrokerSide(socket)
      broker.sides.push(side)
      socket.once('data', () => broker.#onSpeaking?.())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return broker
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** The next connection on which Postern has said something: its probes say nothing. */
  async connection(): Promise<BrokerSide> {
    for (;;) {
      const side = this.sides.find((one) => one.inbox.chunks.length > 0 && !this.#taken.has(one))
      if (side !== undefined) {
        this.#taken.add(side)
        return side
      }
      await new Promise<void>((resolve) => {
        this.#onSpeaking = resolve
      })
    }
  }

  async stop(): Promise<void> {
    for (const side of this.sides) side.socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
