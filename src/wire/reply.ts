// Packets that Postern itself says. mqtt-packet builds the rare ones; acknowledgements, which can be as
// frequent as the PUBLISH packets that are denied, are made by hand. MQTT 5.0 §3.

import { generate, writeToStream } from 'mqtt-packet'
import { PacketType } from './control-packet.ts'

// Its cache of 65 536 small buffers would cost 18 MB and 20 ms at the first packet; we build few.
writeToStream.cacheNumbers = false

const V5 = { protocolVersion: 5 } as const

/** §3.12 */
export const PINGREQ: Buffer = Buffer.of(PacketType.PINGREQ << 4, 0)

/** CONNACK of MQTT 3.1.1 with return code 1, unacceptable protocol version: 3.1.1 clients read no other. */
export const CONNACK_V3_UNACCEPTABLE_VERSION: Buffer = Buffer.of(0x20, 2, 0, 1)

/** PUBACK, PUBREC, PUBREL or PUBCOMP without properties; leaves out Reason Code 0x00. §3.4.2.1 */
export function ack(type: number, packetId: number, reasonCode: number): Buffer {
  const first = (type << 4) | (type === PacketType.PUBREL ? 2 : 0)
  const high = packetId >> 8
  return reasonCode === 0x00
    ? Buffer.of(first, 2, high, packetId & 0xff)
    : Buffer.of(first, 3, high, packetId & 0xff, reasonCode)
}

export interface ConnackFields {
  reasonCode: number
  sessionPresent?: boolean
  /** Not to be given when the client asked for Request Problem Information 0. §3.1.2.11.7 */
  reasonString?: string
}

/** §3.2 */
export function connack(fields: ConnackFields): Buffer {
  const { reasonCode, sessionPresent = false, ...properties } = fields
  return generate({ cmd: 'connack', reasonCode, sessionPresent, properties }, V5)
}

/** `codes`: one Reason Code for each filter of the SUBSCRIBE, in order, at least one. §3.9 */
export function suback(packetId: number, codes: readonly number[]): Buffer {
  return generate({ cmd: 'suback', messageId: packetId, granted: [...codes] }, V5)
}

/** As `suback`. §3.11 */
export function unsuback(packetId: number, codes: readonly number[]): Buffer {
  return generate({ cmd: 'unsuback', messageId: packetId, granted: [...codes] }, V5)
}

/** §3.10; at least one filter. */
export function unsubscribe(packetId: number, filters: readonly string[]): Buffer {
  return generate({ cmd: 'unsubscribe', messageId: packetId, unsubscriptions: [...filters] }, V5)
}

export interface DisconnectFields {
  /** Not to be given when the client asked for Request Problem Information 0. */
  reasonString?: string
  /** Seconds; towards the server only. §3.14.2.2.2 */
  sessionExpiryInterval?: number
}

/** §3.14 */
export function disconnect(reasonCode: number, fields: DisconnectFields = {}): Buffer {
  return generate({ cmd: 'disconnect', reasonCode, properties: { ...fields } }, V5)
}

export interface AuthFields {
  authenticationMethod: string
  authenticationData?: Buffer
  /** Not to be given when the client asked for Request Problem Information 0. */
  reasonString?: string
}

/** §3.15 */
export function auth(reasonCode: number, fields: AuthFields): Buffer {
  return generate({ cmd: 'auth', reasonCode, properties: { ...fields } }, V5)
}
