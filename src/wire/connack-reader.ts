// CONNACK, read whole. MQTT 5.0 §3.2.

import { Direction, PacketType } from './control-packet.ts'
import { Fault } from './fault.ts'
import type { ConnackHead } from './heads.ts'
import { isLegalCode } from './legal-code.ts'
import { Property } from './property.ts'
import type { PropertyReader } from './property-reader.ts'

/**
 * @param at first byte after the fixed header
 * @param end end of the packet
 * @returns a `Fault`
 */
export function readConnack(
  head: ConnackHead,
  properties: PropertyReader,
  source: Uint8Array,
  at: number,
  end: number,
  userProperties: number,
): number {
  if (at + 2 > end) return Fault.FIELD_PAST_END
  const flags = source[at]!
  if (flags > 1) return Fault.RESERVED_CONNACK_FLAGS
  head.sessionPresent = flags === 1
  head.reasonCode = source[at + 1]!
  if (!isLegalCode(PacketType.CONNACK, Direction.SERVER_TO_CLIENT, head.reasonCode)) {
    return Fault.ILLEGAL_REASON_CODE
  }
  if (head.sessionPresent && head.reasonCode !== 0) return Fault.SESSION_PRESENT_ON_ERROR

  properties.reset()
  const fault = properties.readBlock(source, at + 2, end, PacketType.CONNACK, userProperties)
  if (fault !== Fault.NONE) return fault
  if (properties.end !== end) return Fault.TRAILING_BYTES
  head.propertiesStart = properties.start
  head.propertiesEnd = properties.end
  head.sessionExpiryInterval = properties.value(Property.SESSION_EXPIRY_INTERVAL, -1)
  head.receiveMaximum = properties.value(Property.RECEIVE_MAXIMUM, 65_535)
  head.maximumQos = properties.value(Property.MAXIMUM_QOS, 2)
  head.retainAvailable = properties.value(Property.RETAIN_AVAILABLE, 1) === 1
  head.maximumPacketSize = properties.value(Property.MAXIMUM_PACKET_SIZE, 0)
  head.topicAliasMaximum = properties.value(Property.TOPIC_ALIAS_MAXIMUM, 0)
  head.serverKeepAlive = properties.value(Property.SERVER_KEEP_ALIVE, -1)
  head.assignedClientIdStart = properties.startOf(Property.ASSIGNED_CLIENT_IDENTIFIER)
  head.assignedClientIdEnd = properties.endOf(Property.ASSIGNED_CLIENT_IDENTIFIER)
  const dataAlone =
    properties.has(Property.AUTHENTICATION_DATA) && !properties.has(Property.AUTHENTICATION_METHOD)
  return dataAlone ? Fault.AUTHENTICATION_DATA_WITHOUT_METHOD : Fault.NONE
}
