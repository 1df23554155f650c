// What a scenario plays on: connections by name on one side of the comparison, and at the end the transcript of all
// that both ends saw.
import { type IClientOptions, MqttClient, UniqueMessageIdProvider } from 'mqtt'
import { type ConnectOptions, connect, disconnect, prop } from '../support/frames.ts'
import { Link } from './link.ts'
import { ASSIGNED_LINK, LINK, type Packet } from './packet-text.ts'
import type { Pair, Side } from './pair.ts'

export interface Scenario {
  /** What a client may rely on. */
  name: string
  /** Lines of mosquitto.conf; the scenario then gets a pair of brokers of its own. */
  conf?: readonly string[]
  /** Brokers of its own that keep their state over a restart. */
  persistent?: boolean
  /** Where the two sides are known to differ, and why that is right. */
  differs?: { at: readonly string[]; why: string }
  play(stage: Stage): Promise<void>
}

export interface OpenOptions extends ConnectOptions {
  /** Past Postern, straight to the broker: an independent witness. */
  atBroker?: boolean
}

/** What was seen, by place: `client a` what client a was sent, `broker a` what the broker was sent by a. */
export type Transcript = Map<string, readonly string[]>

export class Stage {
  readonly side: Side
  readonly #prefix: string
  /** Any client's password. */
  readonly token: string
  readonly #links: Link[] = []
  /** Links whose stream to the broker is recorded under their name. */
  readonly #marked = new Set<string>()

  /** @param prefix keeps scenarios apart that share a broker; equal on both sides */
  constructor(side: Side, pair: Pair, prefix: string) {
    this.side = side
    this.#prefix = prefix
    this.token = pair.token
  }

  topic(name: string): string {
    return `${this.#prefix}/${name}`
  }

  clientId(name: string): string {
    return `${this.#prefix}-${name}`
  }

  /** TCP only. `name` is unique in the scenario. */
  async dial(name: string, options: { atBroker?: boolean; foreign?: boolean } = {}): Promise<Link> {
    const { broker, entry } = this.side
    const link = await Link.dial(name, options.atBroker ? broker : entry, options)
    this.#links.push(link)
    return link
  }

  /**
   * A CONNECT with the client's credential, and with the mark by which the relay knows the connection.
   *
   * @param options.assigned the Client Identifier is one that the server made: not the same on both sides
   */
  connect(name: string, options: ConnectOptions & { assigned?: boolean } = {}): Buffer {
    const clientId = options.clientId ?? this.clientId(name)
    const assigned = options.assigned ?? clientId.length === 0
    const mark = prop.userProperty(assigned ? ASSIGNED_LINK : LINK, `${this.#prefix}/${name}`)
    this.#marked.add(name)
    return connect({
      userName: 'anyone',
      password: this.token,
      ...options,
      clientId,
      properties: [...(options.properties ?? []), mark],
    })
  }

  /** Connects and waits for the CONNACK, whatever it says. */
  async open(name: string, options: OpenOptions = {}): Promise<Link & { connack: Packet }> {
    const link = await this.dial(name, options)
    link.send(this.connect(name, options))
    if (options.atBroker) this.#marked.delete(name)
    return Object.assign(link, { connack: await link.take('CONNACK') })
  }

  /** The same with MQTT.js, whose Packet Identifiers are made to count from 1. */
  async openMqttJs(name: string, options: IClientOptions = {}): Promise<MqttClient> {
    const link = await this.dial(name, { foreign: true })
    this.#marked.add(name)
    const client = new MqttClient(() => link.socket, {
      protocolVersion: 5,
      clientId: this.clientId(name),
      username: 'anyone',
      password: this.token,
      reconnectPeriod: 0,
      messageIdProvider: new UniqueMessageIdProvider(),
      ...options,
      properties: {
        ...options.properties,
        userProperties: { [LINK]: `${this.#prefix}/${name}` },
      },
    })
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve())
      client.once('error', reject)
    })
    return client
  }

  /** Ends what is still open, in peace; resolves when both ends of every connection know. */
  async end(): Promise<void> {
    for (const link of this.#links) {
      if (!link.isClosed && !link.foreign && !link.socket.destroyed) {
        await link.fence()
        link.send(disconnect())
      }
      if (!link.socket.destroyed) await link.closed()
    }
    for (const name of this.#marked) await this.side.relay.tap(`${this.#prefix}/${name}`)?.ended
  }

  /** What everybody saw so far. */
  transcript(): Transcript {
    const transcript = new Map<string, readonly string[]>()
    for (const { name, lines } of this.#links) {
      transcript.set(`client ${name}`, lines)
      if (!this.#marked.has(name)) continue
      const tap = this.side.relay.tap(`${this.#prefix}/${name}`)
      transcript.set(`broker ${name}`, tap?.lines ?? ['never connected'])
    }
    return transcript
  }
}
