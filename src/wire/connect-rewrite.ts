// Builds the CONNECT that the server sees out of the one that the client sent. What the client said about
// its session and its will is copied byte for byte; its credential is not. MQTT 5.0 §3.1.

import { ConnectFlag } from './connect-reader.ts'
import { PacketType } from './control-packet.ts'
import { field, packet, propertiesWithout, property, propertyBlock, uint16 } from './field-writer.ts'
import type { ConnectHead } from './heads.ts'
import { Property } from './property.ts'
import type { NamedProperties } from './user-properties.ts'

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
  /** Seconds, of the Will if there is one. */
  willMessageExpiryInterval?: number | undefined
  willDelayInterval?: number | undefined
  /** User Properties that the Will loses, after a `find` in its properties. */
  willWithout?: NamedProperties | undefined
  /** Whole properties that it gets. */
  willAdded?: Buffer | undefined
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
  if (connect.hasWill) {
    parts.push(willProperties(source, connect, changes))
    parts.push(source.subarray(connect.willPropertiesEnd, connect.willPayloadEnd))
  }
  if (changes.userName !== undefined) parts.push(field(changes.userName))
  if (changes.password !== undefined) parts.push(field(changes.password))
  return packet(PacketType.CONNECT << 4, parts)
}

function properties(source: Buffer, connect: ConnectHead, changes: ConnectChanges): Buffer {
  const { propertiesStart, propertiesEnd } = connect
  const omitted = new Set<number>([Property.AUTHENTICATION_METHOD, Property.AUTHENTICATION_DATA])
  return replaced(source, propertiesStart, propertiesEnd, omitted, [
    [Property.SESSION_EXPIRY_INTERVAL, changes.sessionExpiryInterval],
    [Property.TOPIC_ALIAS_MAXIMUM, changes.topicAliasMaximum],
    [Property.MAXIMUM_PACKET_SIZE, changes.maximumPacketSize],
  ])
}

function willProperties(source: Buffer, connect: ConnectHead, changes: ConnectChanges): Buffer {
  const { willPropertiesStart: start, willPropertiesEnd: end } = connect
  const { willWithout, willAdded } = changes
  let all = source.subarray(start, end)
  if (willWithout !== undefined) {
    all = Buffer.alloc(willWithout.othersLength)
    willWithout.copyOthers(source, all, 0)
  }
  if (willAdded !== undefined) all = Buffer.concat([all, willAdded])
  return replaced(all, 0, all.length, new Set(), [
    [Property.MESSAGE_EXPIRY_INTERVAL, changes.willMessageExpiryInterval],
    [Property.WILL_DELAY_INTERVAL, changes.willDelayInterval],
  ])
}

/** The properties without those in `omitted`, and with these values; 0 takes one out, undefined leaves it. */
function replaced(
  source: Buffer,
  start: number,
  end: number,
  omitted: Set<number>,
  values: readonly (readonly [number, number | undefined])[],
): Buffer {
  const added: Buffer[] = []
  for (const [id, value] of values) {
    if (value === undefined) continue
    omitted.add(id)
    if (value !== 0) added.push(property(id, value))
  }
  return propertyBlock([...propertiesWithout(source, start, end, omitted), ...added])
}
