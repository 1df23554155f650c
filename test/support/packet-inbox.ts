// MQTT packets as a test waits for them: in order, one at a time, with a clear error in place of a hang. Reads with
// mqtt-packet, so that what Postern writes is judged by another hand than src/wire.
import { type Packet, type PacketCmd, parser } from 'mqtt-packet'

/** How long a test waits for the next packet before it fails, milliseconds. */
const PATIENCE_MS = 30_000

export type PacketOf<C extends PacketCmd> = Extract<Packet, { cmd: C }>

export class PacketInbox {
  /** Everything that came, byte for byte. */
  readonly chunks: Buffer[] = []
  readonly #name: string
  readonly #parser
  readonly #packets: Packet[] = []
  #ended = false
  #error: Error | undefined
  #wake: (() => void) | undefined

  /** @param name whose inbox it is, for error messages */
  constructor(name: string, protocolVersion: 4 | 5 = 5) {
    this.#name = name
    this.#parser = parser({ protocolVersion })
    this.#parser.on('packet', (packet) => this.#packets.push(packet))
    this.#parser.on('error', (error: Error) => {
      this.#error ??= error
    })
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }

  take(chunk: Buffer): void {
    this.chunks.push(chunk)
    // Afterwards the parser would lose its place; what came before stays readable.
    if (this.#error === undefined) this.#parser.parse(chunk)
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  /** The next packet, which must be of this type. */
  async next<C extends PacketCmd>(cmd: C): Promise<PacketOf<C>> {
    await this.#until(() => this.#packets.length > 0, `a ${cmd}`)
    const packet = this.#packets.shift()!
    if (packet.cmd === cmd) return packet as PacketOf<C>
    throw new Error(`${this.#name} expected ${cmd} and got ${describe(packet)}`)
  }

  /** The next packet, whatever it is. */
  async nextAny(): Promise<Packet> {
    await this.#until(() => this.#packets.length > 0, 'a packet')
    return this.#packets.shift()!
  }

  /** Waits for the end of the stream; returns the packets that nobody has taken. */
  async closed(): Promise<Packet[]> {
    await this.#until(() => this.#ended, 'the end of the connection', true)
    return this.#packets.splice(0)
  }

  /** Waits until `count` bytes have come in all. */
  async received(count: number): Promise<void> {
    let total = 0
    let seen = 0
    const enough = (): boolean => {
      for (; seen < this.chunks.length; seen++) total += this.chunks[seen]!.length
      return total >= count
    }
    await this.#until(enough, `${count} bytes`)
  }

  /** Packets that have come and that nobody has taken. */
  get waiting(): readonly Packet[] {
    return this.#packets
  }

  async #until(ready: () => boolean, what: string, evenEnded = false): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    while (!ready()) {
      if (this.#error !== undefined)
        throw new Error(`${this.#name} got bytes that are no packet`, { cause: this.#error })
      if (this.#ended && !evenEnded)
        throw new Error(`${this.#name} waited for ${what}; the connection is closed`)
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`${this.#name} waited ${PATIENCE_MS} ms for ${what}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}

function describe(packet: Packet): string {
  const reasonCode = 'reasonCode' in packet ? packet.reasonCode : undefined
  const code = reasonCode === undefined ? '' : ` 0x${reasonCode.toString(16).padStart(2, '0')}`
  const topic = packet.cmd === 'publish' ? ` ${packet.topic}` : ''
  return `${packet.cmd}${code}${topic}`
}

/** The packets in these bytes, which must hold nothing but whole ones. */
export function packetsIn(bytes: Buffer): Packet[] {
  const packets: Packet[] = []
  const reader = parser({ protocolVersion: 5 })
  reader.on('packet', (packet) => packets.push(packet))
  reader.on('error', (error) => {
    throw error
  })
  // Until nothing is left of it; what remains is the length of a cut packet.
  if (bytes.length > 0 && reader.parse(bytes) > 0) throw new Error('the bytes end in the middle of a packet')
  return packets
}
