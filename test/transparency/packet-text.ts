// MQTT 5.0 packets as one line of text each, for comparison: every field, every property in its order, and the form
// in which it was written (an acknowledgement of two bytes is not one of three). Written from the specification,
// without src/wire, so that proxy and comparison cannot be wrong in the same way. What is normalised is said at its line.
import { Cursor, content, hex, quote } from './packet-fields.ts'

const NAMES = [
  ...['RESERVED', 'CONNECT', 'CONNACK', 'PUBLISH', 'PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP', 'SUBSCRIBE'],
  ...['SUBACK', 'UNSUBSCRIBE', 'UNSUBACK', 'PINGREQ', 'PINGRESP', 'DISCONNECT', 'AUTH'],
] as const
export type PacketName = (typeof NAMES)[number]

export interface Packet {
  name: PacketName
  /** 0 where there is none. */
  packetId: number
  /** 0 where there is none, or where it is left out. */
  reasonCode: number
  qos: number
  /** Topic Name of a PUBLISH. */
  topic: string
  payload: Buffer
  /** User Properties of a CONNECT. */
  userProperties: readonly (readonly [key: string, value: string])[]
  /** Of a CONNACK. */
  assignedClientId: string | undefined
  text: string
}

/** Cuts a stream into frames. What is left over is half a packet. */
export class Splitter {
  #chunks: Buffer[] = []
  #length = 0
  #needed = 2

  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    const frames: Buffer[] = []
    while (this.#length >= this.#needed) {
      const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
      const end = frameEnd(all)
      const complete = end > 0 && end <= all.length
      if (complete) frames.push(all.subarray(0, end))
      const rest = complete ? all.subarray(end) : all
      this.#chunks = rest.length === 0 ? [] : [rest]
      this.#length = rest.length
      this.#needed = complete ? 2 : end > 0 ? end : all.length + 1
    }
    return frames
  }

  /** Bytes of a packet whose end has not come. */
  get left(): number {
    return this.#length
  }
}

/** End of the first frame, or 0 when its Remaining Length is not complete yet. */
function frameEnd(bytes: Buffer): number {
  let length = 0
  for (let i = 1; i < bytes.length && i < 5; i++) {
    length += (bytes[i]! & 0x7f) * 128 ** (i - 1)
    if (bytes[i]! < 0x80) return i + 1 + length
  }
  return 0
}

/** Reads one frame, of any type and direction. What is no MQTT 5.0 packet becomes a line with its bytes. */
export function readPacket(frame: Buffer): Packet {
  const cursor = new Cursor(frame)
  const first = cursor.byte()
  const packet: Packet = {
    name: NAMES[first >> 4]!,
    packetId: 0,
    reasonCode: 0,
    qos: 0,
    topic: '',
    payload: Buffer.alloc(0),
    userProperties: cursor.userProperties,
    assignedClientId: undefined,
    text: '',
  }
  try {
    cursor.varint()
    const body = readBody(packet, cursor, first & 15)
    if (cursor.more) throw new RangeError('bytes behind the last field')
    packet.text = `${packet.name}${body === '' ? '' : ` ${body}`}`
    packet.assignedClientId = cursor.assignedClientId
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    packet.text = `${packet.name} MALFORMED (${error.message}) ${frame.subarray(0, 64).toString('hex')}`
  }
  return packet
}

function readBody(packet: Packet, cursor: Cursor, flags: number): string {
  const required = ['PUBREL', 'SUBSCRIBE', 'UNSUBSCRIBE'].includes(packet.name) ? 2 : 0
  if (packet.name !== 'PUBLISH' && flags !== required) throw new RangeError('flags')
  switch (packet.name) {
    case 'CONNECT':
      return connectText(cursor)
    case 'CONNACK': {
      const acknowledge = cursor.byte()
      packet.reasonCode = cursor.byte()
      if (!cursor.more) return `MQTT-3 ${hex(packet.reasonCode)}`
      // Normalised: the order of properties, which a rewritten CONNACK may change.
      return `flags ${acknowledge} ${hex(packet.reasonCode)} ${cursor.properties(true)}`
    }
    case 'PUBLISH':
      return publishText(packet, cursor, flags)
    case 'PUBACK':
    case 'PUBREC':
    case 'PUBREL':
    case 'PUBCOMP':
      packet.packetId = cursor.u16()
      return `id ${packet.packetId}${reasonText(packet, cursor)}`
    case 'DISCONNECT':
    case 'AUTH':
      return reasonText(packet, cursor).trimStart()
    case 'SUBSCRIBE':
    case 'UNSUBSCRIBE': {
      packet.packetId = cursor.u16()
      const parts = [`id ${packet.packetId}`, cursor.properties()]
      while (cursor.more) {
        const filter = quote(cursor.text())
        parts.push(packet.name === 'SUBSCRIBE' ? `${filter}:${hex(cursor.byte())}` : filter)
      }
      return parts.join(' ')
    }
    case 'SUBACK':
    case 'UNSUBACK': {
      packet.packetId = cursor.u16()
      const properties = cursor.properties()
      const codes = [...cursor.rest()]
      packet.reasonCode = codes[0] ?? 0
      return `id ${packet.packetId} ${properties} ${codes.map(hex).join(' ')}`
    }
    default:
      return ''
  }
}

/**
 * Left out, alone, or with properties: three forms of the same. Normalised: a DISCONNECT with empty properties is as one
 * without, for Postern's own has the longer form.
 */
function reasonText(packet: Packet, cursor: Cursor): string {
  if (!cursor.more) return ''
  packet.reasonCode = cursor.byte()
  const properties = cursor.more ? ` ${cursor.properties()}` : ''
  return ` ${hex(packet.reasonCode)}${packet.name === 'DISCONNECT' && properties === ' {}' ? '' : properties}`
}

function publishText(packet: Packet, cursor: Cursor, flags: number): string {
  packet.qos = (flags >> 1) & 3
  packet.topic = cursor.text()
  if (packet.qos > 0) packet.packetId = cursor.u16()
  const marks = `qos ${packet.qos}${flags & 8 ? ' dup' : ''}${flags & 1 ? ' retain' : ''}`
  const id = packet.qos > 0 ? ` id ${packet.packetId}` : ''
  const properties = cursor.properties()
  packet.payload = cursor.rest()
  return `${marks} ${quote(packet.topic)}${id} ${properties} ${content(packet.payload)}`
}

/**
 * What the broker got. Normalised: User Name and Password, which Postern takes for itself; the order of properties,
 * which a rewritten CONNECT may change; the Client Identifier where the client left it to the server.
 */
function connectText(cursor: Cursor): string {
  const protocol = `${quote(cursor.text())} ${cursor.byte()}`
  const flags = cursor.byte()
  const keepAlive = cursor.u16()
  const properties = cursor.properties(true)
  const clientId = cursor.text()
  const assigned = cursor.userProperties.some(([key]) => key === ASSIGNED_LINK)
  const parts = [
    `${protocol} flags ${hex(flags & 0x3f)} keep-alive ${keepAlive} ${properties}`,
    assigned ? 'ASSIGNED' : quote(clientId),
  ]
  if (flags & 4) parts.push(`will ${cursor.properties()} ${quote(cursor.text())} ${content(cursor.bin())}`)
  cursor.rest()
  return parts.join(' ')
}

/** User Property by which a connection to the broker is recognised; its value is the connection's name. */
export const LINK = 'link'
/** The same for a CONNECT with an empty Client Identifier. */
export const ASSIGNED_LINK = 'link-assigned'
