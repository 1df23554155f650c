// Packets that carry Reason Codes and little else: PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT, AUTH with
// one, SUBACK and UNSUBACK with a list. MQTT 5.0 §3.4 to §3.7, §3.9, §3.11, §3.14, §3.15.
// `at` is the first byte after the fixed header, `end` the end of the packet; each returns a `Fault`.

import { type Direction, PacketType } from './control-packet.ts'
import { Fault } from './fault.ts'
import type { AckHead, CodeList } from './heads.ts'
import { isLegalCode } from './legal-code.ts'
import { Property } from './property.ts'
import { type PropertyReader, readUint16 } from './property-reader.ts'

/** PUBACK, PUBREC, PUBREL, PUBCOMP: Reason Code and properties may be left out. §3.4.2 */
export function readAck(
  head: AckHead,
  properties: PropertyReader,
  source: Uint8Array,
  at: number,
  end: number,
  type: number,
  direction: Direction,
  userProperties: number,
): number {
  if (at + 2 > end) return Fault.FIELD_PAST_END
  clear(head)
  head.packetId = readUint16(source, at)
  if (head.packetId === 0) return Fault.ZERO_PACKET_IDENTIFIER
  if (at + 2 === end) return Fault.NONE
  head.reasonCode = source[at + 2]!
  if (!isLegalCode(type, direction, head.reasonCode)) return Fault.ILLEGAL_REASON_CODE
  if (at + 3 === end) return Fault.NONE
  properties.reset()
  const fault = properties.readBlock(source, at + 3, end, type, userProperties)
  if (fault !== Fault.NONE) return fault
  return properties.end === end ? Fault.NONE : Fault.TRAILING_BYTES
}

/** DISCONNECT: empty, a Reason Code alone, or both it and properties. §3.14.2 */
export function readDisconnect(
  head: AckHead,
  properties: PropertyReader,
  source: Uint8Array,
  at: number,
  end: number,
  direction: Direction,
  userProperties: number,
): number {
  clear(head)
  if (at === end) return Fault.NONE
  head.reasonCode = source[at]!
  if (!isLegalCode(PacketType.DISCONNECT, direction, head.reasonCode)) return Fault.ILLEGAL_REASON_CODE
  if (at + 1 === end) return Fault.NONE
  properties.reset()
  const fault = properties.readBlock(source, at + 1, end, PacketType.DISCONNECT, userProperties)
  if (fault !== Fault.NONE) return fault
  head.sessionExpiryInterval = properties.value(Property.SESSION_EXPIRY_INTERVAL, -1)
  return properties.end === end ? Fault.NONE : Fault.TRAILING_BYTES
}

/** AUTH: empty (which says 0x00), or Reason Code and properties with at least the method. §3.15.2 */
export function readAuth(
  head: AckHead,
  properties: PropertyReader,
  source: Uint8Array,
  at: number,
  end: number,
  direction: Direction,
  userProperties: number,
): number {
  clear(head)
  head.reasonCode = at === end ? 0x00 : source[at]!
  if (!isLegalCode(PacketType.AUTH, direction, head.reasonCode)) return Fault.ILLEGAL_REASON_CODE
  if (at === end) return Fault.NONE
  properties.reset()
  const fault = properties.readBlock(source, at + 1, end, PacketType.AUTH, userProperties)
  if (fault !== Fault.NONE) return fault
  if (properties.end !== end) return Fault.TRAILING_BYTES
  if (!properties.has(Property.AUTHENTICATION_METHOD)) return Fault.MISSING_AUTHENTICATION_METHOD
  head.authenticationMethodStart = properties.startOf(Property.AUTHENTICATION_METHOD)
  head.authenticationMethodEnd = properties.endOf(Property.AUTHENTICATION_METHOD)
  head.authenticationDataStart = properties.startOf(Property.AUTHENTICATION_DATA)
  head.authenticationDataEnd = properties.endOf(Property.AUTHENTICATION_DATA)
  return Fault.NONE
}

/** SUBACK and UNSUBACK: a Reason Code for each filter, at least one. §3.9.3, §3.11.3 */
export function readCodes(
  head: CodeList,
  properties: PropertyReader,
  source: Uint8Array,
  at: number,
  end: number,
  type: number,
  direction: Direction,
  userProperties: number,
): number {
  if (at + 2 > end) return Fault.FIELD_PAST_END
  head.packetId = readUint16(source, at)
  if (head.packetId === 0) return Fault.ZERO_PACKET_IDENTIFIER
  properties.reset()
  const fault = properties.readBlock(source, at + 2, end, type, userProperties)
  if (fault !== Fault.NONE) return fault
  head.propertyLengthStart = at + 2
  head.propertiesEnd = properties.end
  head.codesStart = properties.end
  head.codesEnd = end
  if (head.codesStart === end) return Fault.NO_REASON_CODE
  for (let i = head.codesStart; i < end; i++) {
    if (!isLegalCode(type, direction, source[i]!)) return Fault.ILLEGAL_REASON_CODE
  }
  return Fault.NONE
}

function clear(head: AckHead): void {
  head.packetId = 0
  head.reasonCode = 0
  head.sessionExpiryInterval = -1
  head.authenticationMethodStart = -1
  head.authenticationMethodEnd = -1
  head.authenticationDataStart = -1
  head.authenticationDataEnd = -1
}
