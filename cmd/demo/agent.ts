// One agent of the demo: a real MQTT.js client whose answers are taken from the packets that arrive, not from what the
// library makes of them.

import mqtt, { type IClientOptions, type IConnackPacket, type MqttClient, type Packet } from 'mqtt'
import { answerChallenge, type ProverOptions } from '../../src/agent/proof.ts'

/** In place of a Reason Code: the connection ended without an answer. */
export const NO_ANSWER = -1

export interface ConnectOptions {
  host: string
  port: number
  clientId: string
  username?: string
  password?: string
  /** In place of name and password: the token, and the key that it is bound to. */
  prover?: ProverOptions
  will?: { topic: string; payload: string }
}

export interface Message {
  topic: string
  payload: string
  /** Names and values of User Properties. */
  names: Readonly<Record<string, unknown>>
}

export class Agent {
  /** Reason Code of the CONNACK. */
  readonly connack: number
  /** What was delivered so far; grows. */
  readonly received: Message[] = []
  readonly #client: MqttClient
  /** Reason Code of the server's DISCONNECT, or NO_ANSWER once the connection closed without one. */
  readonly #disconnected: Promise<number>
  #waiting: { topic: string; resolve: () => void }[] = []

  private constructor(client: MqttClient, connack: number, disconnected: Promise<number>) {
    this.#client = client
    this.connack = connack
    this.#disconnected = disconnected
    client.on('message', (topic, payload, { properties }) => {
      this.received.push({ topic, payload: payload.toString(), names: { ...properties?.userProperties } })
      for (const wait of this.#waiting) if (wait.topic === topic) wait.resolve()
    })
  }

  /** Resolves with the answer, good or bad. */
  static async connect(options: ConnectOptions): Promise<Agent> {
    const { will, prover, ...rest } = options
    const client = mqtt.connect({
      ...rest,
      protocolVersion: 5,
      clean: true,
      reconnectPeriod: 0,
      ...(prover === undefined
        ? {}
        : {
            properties: {
              authenticationMethod: 'POSTERN-DPOP',
              authenticationData: Buffer.from(prover.token),
            },
          }),
      ...(will === undefined
        ? {}
        : { will: { ...will, payload: Buffer.from(will.payload), qos: 1, retain: true } }),
    } satisfies IClientOptions)
    if (prover !== undefined) client.handleAuth = answerChallenge(prover, () => client.stream) as never
    // A refusal is an answer here, not an error.
    client.on('error', () => {})
    const disconnected = answerOf(client, 'disconnect')
    const connack = await answerOf(client, 'connack')
    return new Agent(client, connack, disconnected)
  }

  /** @returns Reason Code of the PUBACK */
  publish(
    topic: string,
    payload: string,
    options: { retain?: boolean; responseTopic?: string; userProperties?: Record<string, string> } = {},
  ): Promise<number> {
    const { retain = false, ...properties } = options
    const answer = answerOf(this.#client, 'puback')
    this.#client.publish(topic, payload, { qos: 1, retain, properties }, () => {})
    return answer
  }

  /** One SUBSCRIBE with all filters, QoS 1. @returns Reason Codes of the SUBACK, in order */
  subscribe(filters: readonly string[]): Promise<number[]> {
    const answer = new Promise<number[]>((resolve) => {
      this.#client.on('packetreceive', (packet) => {
        if (packet.cmd === 'suback') resolve(packet.granted as number[])
      })
      this.#client.once('close', () => resolve([NO_ANSWER]))
    })
    this.#client.subscribe([...filters], { qos: 1 }, () => {})
    return answer
  }

  /** Resolves when something was delivered on `topic`, now or before. */
  seen(topic: string): Promise<void> {
    if (this.received.some((message) => message.topic === topic)) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ topic, resolve }))
  }

  get connected(): boolean {
    return this.#client.connected
  }

  disconnected(): Promise<number> {
    return this.#disconnected
  }

  async end(): Promise<void> {
    await this.#client.endAsync()
  }
}

/** Reason Code of the next packet of this type. */
function answerOf(client: MqttClient, type: 'connack' | 'puback' | 'disconnect'): Promise<number> {
  return new Promise((resolve) => {
    const onPacket = (packet: Packet): void => {
      if (packet.cmd !== type) return
      client.off('packetreceive', onPacket)
      resolve((packet as IConnackPacket).reasonCode ?? 0)
    }
    client.on('packetreceive', onPacket)
    client.once('close', () => resolve(NO_ANSWER))
  })
}
