// Sends messages to a syslog collector: by UDP (RFC 5426), or with octet counting by TCP (RFC 6587 §3.4.1) and TLS (RFC
// 5425). Knows nothing of what they say. No library for it on npm is kept.

import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { connect, isIPv6, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { PosternError } from '../errors.ts'

export interface SyslogSender {
  /** The protocol has no answer: resolves when the network took them. Rejects when it did not. */
  send(messages: readonly Buffer[]): Promise<void>
  close(): void
}

const PORTS = new Map([
  ['udp:', 514],
  ['tcp:', 601],
  ['tls:', 6514],
])
const TIMEOUT_MS = 10_000
/** What fits into a datagram (RFC 5426 §3.2), less some for the headers; the rest of a longer one is cut off. */
const MAX_DATAGRAM = 65_000

interface Target {
  host: string
  port: number
}

/**
 * @param url `udp://host:514`, `tcp://host:601` or `tls://host:6514`; these ports are the presets
 * @param ca PEM, trusted in place of what the system trusts
 */
export function syslogSender(url: string, ca?: string): SyslogSender {
  const { protocol, hostname, port } = new URL(url)
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const target = { host, port: port === '' ? PORTS.get(protocol)! : Number(port) }
  if (protocol === 'udp:') return new Datagrams(target)
  if (protocol === 'tcp:') return new Stream(() => connect(target), 'connect')
  return new Stream(() => connectTls({ ...target, ...(ca === undefined ? {} : { ca }) }), 'secureConnect')
}

class Datagrams implements SyslogSender {
  readonly #target: Target
  #socket: UdpSocket | undefined

  constructor(target: Target) {
    this.#target = target
  }

  async send(messages: readonly Buffer[]): Promise<void> {
    const { host, port } = this.#target
    this.#socket ??= createSocket(isIPv6(host) ? 'udp6' : 'udp4').on('error', () => {})
    const socket = this.#socket
    for (const message of messages) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      socket.send(message.subarray(0, MAX_DATAGRAM), port, host, (error) =>
        error ? reject(error) : resolve(),
      )
      await promise
    }
  }

  close(): void {
    this.#socket?.close()
  }
}

class Stream implements SyslogSender {
  readonly #connect: () => Socket
  readonly #ready: string
  #socket: Socket | undefined

  /** @param ready event of the socket that tells that it is connected */
  constructor(connect: () => Socket, ready: string) {
    this.#connect = connect
    this.#ready = ready
  }

  async send(messages: readonly Buffer[]): Promise<void> {
    const frames = messages.flatMap((message) => [Buffer.from(`${message.length} `), message])
    if (this.#socket?.writable !== true) this.#socket = this.#open()
    const socket = this.#socket
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const lost = (): void =>
      reject(new PosternError('ERR_AUDIT_EXPORT', 'internal', 'the connection to the collector was lost'))
    socket.once('error', reject).once('close', lost)
    socket.write(Buffer.concat(frames), (error) => (error ? reject(error) : resolve()))
    await promise.finally(() => socket.off('error', reject).off('close', lost))
  }

  close(): void {
    this.#socket?.end()
  }

  #open(): Socket {
    const socket = this.#connect().setTimeout(TIMEOUT_MS).resume()
    // Once it is there, silence is usual.
    socket.once(this.#ready, () => socket.setTimeout(0))
    socket.on('timeout', () => socket.destroy())
    socket.on('error', () => {})
    socket.on('end', () => socket.destroy())
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined
    })
    return socket
  }
}
