// Builds the CONNECT that the server sees out of the one that the client sent. What the client said about
// its session and its will is copied byte for byte; its credential is not. MQTT 5.0 §3.1.

import { ConnectFlag } from './connect-reader.ts'
import { PacketType } from './control-packet.ts'
import { field, packet, propertiesWithout, property, propertyBlock, uint16 } from './field-writer.ts'
import type { ConnectHead } from './heads.ts'
import { Property } from './property.ts'

/** What differs from the client's CONNECT; what is left out stays as the client said. */
export interface ConnectChanges {
  clientId: string
  /** Never the client's own: absent means that none is sent. */
  userName?: string | undefined
  password?: Buffer | undefined
  cleanStart?: boolean | undefined
  /** Seconds. 0 takes the property out, which means the same, as for the next one. */
  sessionExpiryInterval?: number | undefined
  topicAliasMaximum?: number | undefined
  /** Bytes, 1 or more. */
  maximumPacketSize?: number | undefined
  /** All Will Properties, where there is a Will. */
  willProperties?: readonly Buffer[] | undefined
}

const PROTOCOL = Buffer.of(0, 4, 0x4d, 0x51, 0x54, 0x54, 5)

/**
 * @param source what the offsets of `connect` point into
 * @returns a whole packet in an own Buffer
 */
export function rewriteConnect(source: Buffer, connect: ConnectHead, changes: ConnectChanges): Buffer {
  let flags = (changes.cleanStart ?? connect.cleanStart) ? ConnectFlag.CLEAN_START : 0
  if (connect.hasWill) flags |= ConnectFlag.WILL | (connect.willQos << 3)
  if (connect.willRetain) flags |= ConnectFlag.WILL_RETAIN
  if (changes.userName !== undefined) flags |= ConnectFlag.USER_NAME
  if (changes.password !== undefined) flags |= ConnectFlag.PASSWORD

  const parts = [
    PROTOCOL,
    Buffer.of(flags),
    uint16(connect.keepAlive),
    properties(source, connect, changes),
    field(changes.clientId),
  ]
  if (connect.hasWill && changes.willProperties !== undefined) {
    parts.push(propertyBlock(changes.willProperties))
    parts.push(source.subarray(connect.willPropertiesEnd, connect.willPayloadEnd))
  } else if (connect.hasWill) {
    parts.push(source.subarray(connect.willPropertyLengthStart, connect.willPayloadEnd))
  }
  if (changes.userName !== undefined) parts.push(field(changes.userName))
  if (changes.password !== undefined) parts.push(field(changes.password))
  return packet(PacketType.CONNECT << 4, parts)
}

function properties(source: Buffer, connect: ConnectHead, changes: ConnectChanges): Buffer {
  const omitted = new Set<number>([Property.AUTHENTICATION_METHOD, Property.AUTHENTICATION_DATA])
  const added: Buffer[] = []
  const replace = (id: number, value: number | undefined): void => {
    if (value === undefined) return
    omitted.add(id)
    if (value !== 0) added.push(property(id, value))
  }
  replace(Property.SESSION_EXPIRY_INTERVAL, changes.sessionExpiryInterval)
  replace(Property.TOPIC_ALIAS_MAXIMUM, changes.topicAliasMaximum)
  replace(Property.MAXIMUM_PACKET_SIZE, changes.maximumPacketSize)
  const kept = propertiesWithout(source, connect.propertiesStart, connect.propertiesEnd, omitted)
  return propertyBlock([...kept, ...added])
}
