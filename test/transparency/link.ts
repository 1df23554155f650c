// One client connection that writes down all it sees: every packet, and how it ended. Exact bytes go out; nothing is
// answered by itself.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import {
  ack,
  disconnect,
  PINGREQ,
  type PublishOptions,
  publish,
  type SubscribeOptions,
  subscribe,
} from '../support/frames.ts'
import { type Packet, type PacketName, readPacket, Splitter } from './packet-text.ts'

/** Longest wait for a packet or a close. Reached only when something is wrong. */
const PATIENCE_MS = 30_000

export class Link {
  readonly name: string
  readonly socket: Socket
  /** Packets as text, in order; at last how the connection ended. */
  readonly lines: string[] = []
  /** Another piece of code speaks the protocol here, such as MQTT.js. */
  readonly foreign: boolean
  isClosed = false
  #unread: Packet[] = []
  #waiting: (() => void)[] = []
  #nextId = 1
  /** The connection ends in this way by the client's own doing: what comes of it is no finding. */
  #aborted = false

  private constructor(name: string, socket: Socket, foreign: boolean) {
    this.name = name
    this.socket = socket
    this.foreign = foreign
    const splitter = new Splitter()
    const close = (how: string): void => {
      if (this.isClosed) return
      this.isClosed = true
      if (splitter.left > 0) this.lines.push('half a packet')
      if (!this.#aborted) this.lines.push(how)
      this.#wake()
    }
    socket.on('data', (chunk) => {
      for (const frame of splitter.push(chunk)) {
        const packet = readPacket(frame)
        this.lines.push(packet.text)
        this.#unread.push(packet)
      }
      this.#wake()
    })
    socket.once('end', () => {
      close('closed with FIN')
      socket.end()
    })
    socket.once('error', () => close('closed with RST'))
    socket.once('close', () => close('closed'))
  }

  static async dial(
    name: string,
    target: { host: string; port: number },
    options: { foreign?: boolean } = {},
  ): Promise<Link> {
    const foreign = options.foreign ?? false
    const socket = connect({ ...target, noDelay: true, allowHalfOpen: !foreign })
    await once(socket, 'connect')
    return new Link(name, socket, foreign)
  }

  /** A Packet Identifier that this link has not had from here. */
  nextId(): number {
    return this.#nextId++
  }

  send(...packets: Buffer[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(packets))
  }

  /** One byte per write, each handed to the kernel before the next. */
  async sendSlowly(bytes: Buffer): Promise<void> {
    for (const byte of bytes) {
      await new Promise<void>((resolve) => this.socket.write(Buffer.of(byte), () => resolve()))
    }
  }

  /** The next packet of this name that nobody has taken. */
  async take(name: PacketName): Promise<Packet> {
    for (;;) {
      const at = this.#unread.findIndex((packet) => packet.name === name)
      if (at >= 0) return this.#unread.splice(at, 1)[0]!
      if (this.isClosed) throw new Error(`${this.name}: closed while waiting for ${name}`)
      await this.#change(name)
    }
  }

  async takeMany(name: PacketName, count: number): Promise<Packet[]> {
    const packets: Packet[] = []
    while (packets.length < count) packets.push(await this.take(name))
    return packets
  }

  /** PUBLISH and the whole exchange that its QoS asks for. */
  async publish(options: PublishOptions): Promise<void> {
    const qos = options.qos ?? 0
    const packetId = options.packetId ?? (qos > 0 ? this.nextId() : 0)
    this.send(publish({ ...options, packetId }))
    if (qos === 1) await this.take('PUBACK')
    if (qos !== 2) return
    const received = await this.take('PUBREC')
    if (received.reasonCode >= 0x80) return
    this.send(ack('pubrel', packetId))
    await this.take('PUBCOMP')
  }

  async subscribe(filters: SubscribeOptions['filters'], options: SubscribeOptions = {}): Promise<void> {
    this.send(subscribe({ packetId: this.nextId(), ...options, ...(filters ? { filters } : {}) }))
    await this.take('SUBACK')
  }

  /** Takes `count` messages and acknowledges each as its QoS asks for. */
  async receive(count = 1): Promise<Packet[]> {
    const messages: Packet[] = []
    while (messages.length < count) {
      const message = await this.take('PUBLISH')
      messages.push(message)
      if (message.qos === 1) this.send(ack('puback', message.packetId))
      if (message.qos !== 2) continue
      this.send(ack('pubrec', message.packetId))
      await this.take('PUBREL')
      this.send(ack('pubcomp', message.packetId))
    }
    return messages
  }

  /** Everything that the broker had for this client has arrived when this resolves. */
  async fence(): Promise<void> {
    this.send(PINGREQ)
    await this.take('PINGRESP')
  }

  /** The other end closed. */
  async closed(): Promise<void> {
    while (!this.isClosed) await this.#change('the end')
  }

  /** DISCONNECT, and the close that answers it. */
  async leave(packet: Buffer = disconnect()): Promise<void> {
    this.send(packet)
    await this.closed()
  }

  /** FIN without a word. */
  hangUp(): void {
    this.socket.end()
  }

  /** RST without a word. */
  abort(): void {
    this.#aborted = true
    this.socket.resetAndDestroy()
  }

  async #change(what: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const patience = setTimeout(
      () => reject(new Error(`${this.name}: waited in vain for ${what}`)),
      PATIENCE_MS,
    )
    this.#waiting.push(resolve)
    await promise.finally(() => clearTimeout(patience))
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
