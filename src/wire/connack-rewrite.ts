// Builds the CONNACK that the client sees out of the one that the server sent. MQTT 5.0 §3.2.

import { PacketType } from './control-packet.ts'
import { packet, propertiesWithout, property, propertyBlock } from './field-writer.ts'
import type { ConnackHead } from './heads.ts'
import { Property } from './property.ts'

/** What differs from the server's CONNACK; what is left out stays as the server said. */
export interface ConnackChanges {
  assignedClientId?: string | undefined
  /** Takes an Assigned Client Identifier out: one that the client did not ask for. */
  dropAssignedClientId?: boolean | undefined
  /** Seconds; 0 is said, since an absent one would stand for what the client asked for. */
  sessionExpiryInterval?: number | undefined
  /** 0 takes the property out, which means the same. */
  topicAliasMaximum?: number | undefined
  /** Bytes, 1 or more. */
  maximumPacketSize?: number | undefined
  authenticationMethod?: string | undefined
  /** Takes Reason String and User Properties out. */
  brief?: boolean | undefined
}

/**
 * @param source what the offsets of `connack` point into
 * @returns a whole packet in an own Buffer
 */
export function rewriteConnack(source: Buffer, connack: ConnackHead, changes: ConnackChanges): Buffer {
  const omitted = new Set<number>(changes.brief ? [Property.REASON_STRING, Property.USER_PROPERTY] : [])
  const added: Buffer[] = []
  const replace = (id: number, value: number | string | undefined): void => {
    if (value === undefined) return
    omitted.add(id)
    added.push(property(id, value))
  }
  replace(Property.ASSIGNED_CLIENT_IDENTIFIER, changes.assignedClientId)
  replace(Property.SESSION_EXPIRY_INTERVAL, changes.sessionExpiryInterval)
  replace(Property.TOPIC_ALIAS_MAXIMUM, changes.topicAliasMaximum || undefined)
  replace(Property.MAXIMUM_PACKET_SIZE, changes.maximumPacketSize)
  replace(Property.AUTHENTICATION_METHOD, changes.authenticationMethod)
  if (changes.dropAssignedClientId) omitted.add(Property.ASSIGNED_CLIENT_IDENTIFIER)
  if (changes.topicAliasMaximum === 0) omitted.add(Property.TOPIC_ALIAS_MAXIMUM)

  const kept = propertiesWithout(source, connack.propertiesStart, connack.propertiesEnd, omitted)
  return packet(PacketType.CONNACK << 4, [
    Buffer.of(connack.sessionPresent ? 1 : 0, connack.reasonCode),
    propertyBlock([...kept, ...added]),
  ])
}

/** The same in at most `bytes`: without what may be left out, if need be, or undefined. [MQTT-3.2.2-19] */
export function connackWithin(
  bytes: number,
  source: Buffer,
  connack: ConnackHead,
  changes: ConnackChanges,
): Buffer | undefined {
  const whole = rewriteConnack(source, connack, changes)
  if (whole.length <= bytes) return whole
  const brief = rewriteConnack(source, connack, { ...changes, brief: true })
  return brief.length <= bytes ? brief : undefined
}
