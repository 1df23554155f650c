// Fields and properties of MQTT 5.0 packets as text. Belongs to packet-text.ts; throws RangeError on what is malformed.
import { createHash } from 'node:crypto'

/** Property Identifier -> data type and name. MQTT 5.0 Table 2-4. */
const PROPERTIES: ReadonlyMap<
  number,
  readonly [type: 'byte' | 'u16' | 'u32' | 'var' | 'text' | 'bin', string]
> = new Map([
  [0x01, ['byte', 'payload-format']],
  [0x02, ['u32', 'message-expiry']],
  [0x03, ['text', 'content-type']],
  [0x08, ['text', 'response-topic']],
  [0x09, ['bin', 'correlation-data']],
  [0x0b, ['var', 'subscription-id']],
  [0x11, ['u32', 'session-expiry']],
  [0x12, ['text', 'assigned-client-id']],
  [0x13, ['u16', 'server-keep-alive']],
  [0x15, ['text', 'auth-method']],
  [0x16, ['bin', 'auth-data']],
  [0x17, ['byte', 'request-problem-info']],
  [0x18, ['u32', 'will-delay']],
  [0x19, ['byte', 'request-response-info']],
  [0x1a, ['text', 'response-info']],
  [0x1c, ['text', 'server-reference']],
  [0x1f, ['text', 'reason-string']],
  [0x21, ['u16', 'receive-maximum']],
  [0x22, ['u16', 'topic-alias-maximum']],
  [0x23, ['u16', 'topic-alias']],
  [0x24, ['byte', 'maximum-qos']],
  [0x25, ['byte', 'retain-available']],
  [0x27, ['u32', 'maximum-packet-size']],
  [0x28, ['byte', 'wildcard-available']],
  [0x29, ['byte', 'subscription-ids-available']],
  [0x2a, ['byte', 'shared-available']],
])

const USER_PROPERTY = 0x26

/** Message Expiry Intervals of the scenarios are multiples of this, so that seconds gone by can be rounded away. */
export const EXPIRY_STEP_S = 10

export class Cursor {
  readonly bytes: Buffer
  at = 0
  userProperties: [string, string][] = []
  assignedClientId: string | undefined

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get more(): boolean {
    return this.at < this.bytes.length
  }

  byte(): number {
    return this.bytes.readUInt8(this.at++)
  }

  u16(): number {
    this.at += 2
    return this.bytes.readUInt16BE(this.at - 2)
  }

  u32(): number {
    this.at += 4
    return this.bytes.readUInt32BE(this.at - 4)
  }

  /** Refuses a form that is longer than needed, so that it does not read like the short one. */
  varint(): number {
    let value = 0
    for (let i = 0; i < 4; i++) {
      const byte = this.byte()
      value += (byte & 0x7f) * 128 ** i
      if (byte >= 0x80) continue
      if (byte === 0 && i > 0) throw new RangeError('Variable Byte Integer is longer than needed')
      return value
    }
    throw new RangeError('Variable Byte Integer is too long')
  }

  bin(): Buffer {
    const length = this.u16()
    if (this.at + length > this.bytes.length) throw new RangeError('field past the end')
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  text(): string {
    return this.bin().toString()
  }

  rest(): Buffer {
    const rest = this.bytes.subarray(this.at)
    this.at = this.bytes.length
    return rest
  }

  /** @param sorted by Property Identifier: the order means nothing but among User Properties */
  properties(sorted = false): string {
    const end = this.varint() + this.at
    const found: [id: number, text: string][] = []
    while (this.at < end) {
      const id = this.byte()
      found.push([id, this.#property(id)])
    }
    if (this.at !== end) throw new RangeError('property past the end')
    if (sorted) found.sort(([a], [b]) => a - b)
    return `{${found.map(([, text]) => text).join(', ')}}`
  }

  #property(id: number): string {
    if (id === USER_PROPERTY) {
      const pair: [string, string] = [this.text(), this.text()]
      this.userProperties.push(pair)
      return `user ${quote(pair[0])}=${quote(pair[1])}`
    }
    const row = PROPERTIES.get(id)
    if (row === undefined) throw new RangeError(`unknown property ${id}`)
    const [type, name] = row
    switch (type) {
      case 'byte':
        return `${name} ${this.byte()}`
      case 'u16':
        return `${name} ${this.u16()}`
      case 'u32': {
        const value = this.u32()
        // Normalised: the broker counts seconds that the message waited.
        if (name === 'message-expiry') {
          return `${name} ${Math.ceil(value / EXPIRY_STEP_S) * EXPIRY_STEP_S}`
        }
        return `${name} ${value}`
      }
      case 'var':
        return `${name} ${this.varint()}`
      case 'bin':
        return `${name} ${content(this.bin())}`
      case 'text': {
        const value = this.text()
        if (name !== 'assigned-client-id') return `${name} ${quote(value)}`
        // Normalised: random by design.
        this.assignedClientId = value
        return `${name} ${value === '' ? 'EMPTY' : 'ASSIGNED'}`
      }
    }
  }
}

export function quote(text: string): string {
  return text.length > 60
    ? `${JSON.stringify(text.slice(0, 20))}…${content(Buffer.from(text))}`
    : JSON.stringify(text)
}

export function content(bytes: Buffer): string {
  if (bytes.length === 0) return 'empty'
  const text = bytes.toString()
  if (bytes.length <= 48 && /^[\x20-\x7e]*$/.test(text)) return JSON.stringify(text)
  return `${bytes.length} bytes #${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`
}

export function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`
}
