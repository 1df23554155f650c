// Postern's own connection to the broker, for what it publishes itself: checkpoints and copies of records, at QoS 1.
// Connects when there is something to publish; a publish that fails rejects, and whoever called tries again.

import { connect, type Socket } from 'node:net'
import { generate, type Packet, parser } from 'mqtt-packet'
import type { Clock, Timer } from '../clock.ts'
import type { UpstreamConfig } from '../config/config.ts'
import { PosternError } from '../errors.ts'
import { endpointOf } from './dialer.ts'
import { proxyHeader } from './proxy-protocol.ts'
import type { UpstreamTls } from './upstream-tls.ts'

export interface PublisherOptions {
  upstream: UpstreamConfig
  /** For `upstream.tls`. */
  tls?: UpstreamTls | undefined
  clientId: string
  clock: Clock
}

interface Message {
  topic: string
  payload: Buffer
  retain: boolean
  resolve(): void
  reject(error: Error): void
}

const VERSION = { protocolVersion: 5 }
/** Messages without their PUBACK at a time; the broker may ask for fewer. */
const WINDOW = 16
const FIRST_REASON_OF_FAILURE = 0x80

export class BrokerPublisher {
  readonly #options: PublisherOptions
  readonly #waiting: Message[] = []
  readonly #unacknowledged = new Map<number, Message>()
  #socket: Socket | undefined
  #window = 0
  #nextId = 1
  #timer: Timer | undefined

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  /** Resolves when the broker has taken the message. @throws PosternError `ERR_AUDIT_EXPORT` */
  publish(topic: string, payload: Buffer, retain = false): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ topic, payload, retain, resolve, reject })
      if (this.#socket === undefined) this.#connect()
      this.#sendNext()
    })
  }

  close(): void {
    const socket = this.#socket
    if (socket === undefined) return
    socket.write(generate({ cmd: 'disconnect', reasonCode: 0 } as Packet, VERSION))
    socket.end()
    this.#fail('Postern is shutting down')
  }

  #connect(): void {
    const { upstream, tls, clientId } = this.#options
    const carrier = connect({ ...endpointOf(upstream.address), noDelay: true, keepAlive: true })
    // For ourselves, not for an agent: LOCAL.
    if (upstream.proxyProtocol === 'v2') carrier.write(proxyHeader('', { host: '', port: 0 }))
    const socket = tls === undefined ? carrier : tls.over(carrier)
    if (socket !== carrier) carrier.on('error', () => socket.destroy())
    this.#socket = socket
    const incoming = parser(VERSION)
    const failed = (why: string): void => {
      if (this.#socket === socket) this.#fail(why)
    }
    incoming.on('packet', (packet) => {
      if (this.#socket === socket) this.#onPacket(packet)
    })
    incoming.on('error', () => failed('the broker broke the protocol'))
    socket.on('data', (chunk) => incoming.parse(chunk))
    socket.on('error', (error) => failed(error.message))
    socket.on('close', () => failed('the broker closed the connection'))
    const { username, password } = upstream
    socket.write(
      generate(
        {
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 5,
          clean: true,
          clientId,
          keepalive: 0,
          // The placeholders stand for agents; this is none of them.
          ...(username === undefined ? {} : { username: username.replace(/\{\w+\}/g, 'postern') }),
          ...(password === undefined ? {} : { password: Buffer.from(password) }),
        },
        VERSION,
      ),
    )
    this.#watch()
  }

  #onPacket(packet: Packet): void {
    if (packet.cmd === 'connack') {
      if (packet.reasonCode !== 0)
        return this.#fail(`the broker refused the connection: ${packet.reasonCode}`)
      this.#window = Math.min(WINDOW, packet.properties?.receiveMaximum ?? WINDOW)
    } else if (packet.cmd === 'puback') {
      const message = this.#unacknowledged.get(packet.messageId ?? 0)
      this.#unacknowledged.delete(packet.messageId ?? 0)
      const refused = (packet.reasonCode ?? 0) >= FIRST_REASON_OF_FAILURE
      if (refused) message?.reject(exportError(`the broker refused the message: ${packet.reasonCode}`))
      else message?.resolve()
    } else if (packet.cmd === 'disconnect') return this.#fail('the broker ended the connection')
    this.#watch()
    this.#sendNext()
  }

  #sendNext(): void {
    while (this.#unacknowledged.size < this.#window && this.#waiting.length > 0) {
      const message = this.#waiting.shift()!
      const messageId = this.#nextId
      this.#nextId = (this.#nextId % 65_535) + 1
      this.#unacknowledged.set(messageId, message)
      const { topic, payload, retain } = message
      this.#socket!.write(
        generate({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain, messageId }, VERSION),
      )
    }
  }

  /** Something must come back within the time that a connection may take, as long as something is expected. */
  #watch(): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(this.#options.upstream.connectTimeout, () => {
      if (this.#unacknowledged.size + this.#waiting.length > 0) this.#fail('the broker does not answer')
    })
  }

  #fail(why: string): void {
    this.#timer?.cancel()
    const socket = this.#socket
    this.#socket = undefined
    this.#window = 0
    if (socket?.writableEnded === false) socket.destroy()
    const messages = [...this.#unacknowledged.values(), ...this.#waiting.splice(0)]
    this.#unacknowledged.clear()
    for (const message of messages) message.reject(exportError(why))
  }
}

function exportError(why: string): PosternError {
  return new PosternError('ERR_AUDIT_EXPORT', 'server', `nothing can be published to the broker: ${why}`)
}
