// A subscriber at the broker itself, past Postern: it sees every message that reached the broker.
import type { Socket } from 'node:net'
import mqtt, { type IPublishPacket, type MqttClient } from 'mqtt'

/** `#` leaves out what begins with `$`; these are the names that matter here. */
const FILTERS = ['#', '$CONTROL/#', '$SYS/x/#', '$delayed/#', '$MQTT/#', '$a2a/#']
const BARRIER = 'observer/barrier'

export interface Seen {
  topic: string
  payload: string
  qos: number
  retain: boolean
}

export class Observer {
  readonly client: MqttClient
  readonly #seen: Seen[] = []
  readonly #packets: IPublishPacket[] = []
  #barriers = 0
  #onBarrier: ((payload: string) => void) | undefined

  private constructor(client: MqttClient) {
    this.client = client
    client.on('message', (topic, payload, packet) => {
      if (topic === BARRIER) return this.#onBarrier?.(payload.toString())
      this.#packets.push(packet)
      this.#seen.push({ topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain })
    })
  }

  /** @param login when the broker wants one */
  static async open(
    broker: { host: string; port: number },
    login: { username?: string; password?: string } = {},
  ): Promise<Observer> {
    const client = await mqtt.connectAsync({
      host: broker.host,
      port: broker.port,
      protocolVersion: 5,
      clientId: 'observer',
      reconnectPeriod: 0,
      ...login,
    })
    ;(client.stream as Socket).setNoDelay(true)
    const observer = new Observer(client)
    await client.subscribeAsync(FILTERS, { qos: 2, rap: true, rh: 2 })
    return observer
  }

  /** The messages that reached the broker since the last call; what it handled before this call is all there. */
  async seen(): Promise<Seen[]> {
    await this.#barrier()
    this.#packets.length = 0
    return this.#seen.splice(0)
  }

  /** `topic payload` of each message of `seen`. */
  async messages(): Promise<string[]> {
    return (await this.seen()).map(({ topic, payload }) => `${topic} ${payload}`)
  }

  /** As `seen`, with all that the packets hold. */
  async packets(): Promise<IPublishPacket[]> {
    await this.#barrier()
    this.#seen.length = 0
    return this.#packets.splice(0)
  }

  /** Publishes at the broker directly. */
  async publish(
    topic: string,
    payload: string | Buffer,
    options: mqtt.IClientPublishOptions = {},
  ): Promise<void> {
    await this.client.publishAsync(topic, payload, { qos: 1, ...options })
  }

  async #barrier(): Promise<void> {
    const mark = String(++this.#barriers)
    const passed = new Promise<void>((resolve) => {
      this.#onBarrier = (payload) => {
        if (payload === mark) resolve()
      }
    })
    // At QoS 2, or it would overtake messages whose PUBREL is still to come.
    await this.client.publishAsync(BARRIER, mark, { qos: 2 })
    await passed
  }

  async close(): Promise<void> {
    await this.client.endAsync(true)
  }
}
