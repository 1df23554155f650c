// A TCP relay right in front of the broker that writes down what the broker is sent: the last hop is the same on both
// sides of the comparison. It changes nothing and passes FIN on as FIN, RST as RST.
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { ASSIGNED_LINK, LINK, readPacket, Splitter } from './packet-text.ts'

/** First byte of that packet. */
const DISCONNECT = 0xe0

/** One connection to the broker. */
export interface Tap {
  /** What its CONNECT is marked with, such as `t07/a`. */
  label: string
  /** Packets to the broker, then how the connection ended. */
  lines: string[]
  ended: Promise<void>
}

export class Relay {
  readonly #server: Server
  readonly #taps: Tap[] = []
  readonly #sockets = new Set<Socket>()

  private constructor(target: { host: string; port: number }) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#relay(socket, target),
    )
  }

  static async listen(target: { host: string; port: number }): Promise<Relay> {
    const relay = new Relay(target)
    relay.#server.listen(0, '127.0.0.1')
    await once(relay.#server, 'listening')
    return relay
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port
  }

  /** The connection with this mark, once its CONNECT came by. */
  tap(label: string): Tap | undefined {
    return this.#taps.find((tap) => tap.label === label)
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #relay(client: Socket, target: { host: string; port: number }): void {
    const broker = connect({ ...target, allowHalfOpen: true, noDelay: true })
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    const tap: Tap = { label: '', lines: [], ended }
    const splitter = new Splitter()
    let open = true
    let farewell = false
    const end = (line: string): void => {
      if (!open) return
      open = false
      if (splitter.left > 0) tap.lines.push('half a packet')
      // After a DISCONNECT of either side both close: who is first is chance.
      if (!farewell) tap.lines.push(line)
      resolve()
    }
    const answers = new Splitter()
    broker.on('data', (chunk) => {
      for (const frame of answers.push(chunk)) farewell ||= frame[0] === DISCONNECT
    })
    client.on('data', (chunk) => {
      for (const frame of splitter.push(chunk)) {
        const packet = readPacket(frame)
        if (packet.name === 'CONNECT' && tap.label === '') {
          const mark = packet.userProperties.find(([key]) => key === LINK || key === ASSIGNED_LINK)
          if (mark !== undefined) {
            tap.label = mark[1]
            this.#taps.push(tap)
          }
        }
        farewell ||= packet.name === 'DISCONNECT'
        if (open) tap.lines.push(packet.text)
      }
    })
    client.once('end', () => end('closed by the client with FIN'))
    broker.once('end', () => end('closed by the broker'))
    this.#pass(client, broker, () => end('closed by the client with RST'))
    this.#pass(broker, client, () => end('closed by the broker'))
  }

  #pass(from: Socket, to: Socket, onReset: () => void): void {
    this.#sockets.add(from)
    from.pipe(to)
    from.once('error', () => {
      onReset()
      to.resetAndDestroy()
    })
    from.once('close', () => {
      this.#sockets.delete(from)
      onReset()
      // A destroyed source does not end its pipe.
      to.end()
    })
  }
}
