// CONNECT, read whole, but its protocol version as soon as those bytes are there. MQTT 5.0 §3.1.

import { PacketType } from './control-packet.ts'
import { Fault } from './fault.ts'
import type { ConnectHead } from './heads.ts'
import { Property, WILL } from './property.ts'
import { type PropertyReader, readUint16 } from './property-reader.ts'
import { topicNameFault } from './topic-syntax.ts'
import { identifierFault, stringFault } from './utf8.ts'

const MQTT = [0x4d, 0x51, 0x54, 0x54] as const
const MQISDP = [0x4d, 0x51, 0x49, 0x73, 0x64, 0x70] as const

/** Connect Flags, §3.1.2.3. */
export const ConnectFlag = {
  RESERVED: 0x01,
  CLEAN_START: 0x02,
  WILL: 0x04,
  WILL_QOS: 0x18,
  WILL_RETAIN: 0x20,
  PASSWORD: 0x40,
  USER_NAME: 0x80,
} as const

/**
 * Judges Protocol Name and Protocol Version as far as the bytes before `end` tell.
 *
 * @param at first byte after the fixed header
 * @param packetEnd end of the packet by its Remaining Length
 * @returns 0 when the version is 5; how many bytes from `at` are needed to know; a negated `Fault`.
 * @source MQTT 5.0 §3.1.2.1, §3.1.2.2
 */
export function measureVersion(source: Uint8Array, at: number, end: number, packetEnd: number): number {
  if (at + 2 > packetEnd) return -Fault.FIELD_PAST_END
  if (at + 2 > end) return 2
  const nameLength = readUint16(source, at)
  if (nameLength !== MQTT.length && nameLength !== MQISDP.length) return -Fault.UNSUPPORTED_PROTOCOL_NAME
  const levelAt = at + 2 + nameLength
  if (levelAt + 1 > packetEnd) return -Fault.FIELD_PAST_END
  if (levelAt + 1 > end) return levelAt + 1 - at
  const level = source[levelAt]!
  if (hasBytes(source, at + 2, levelAt, MQISDP)) {
    return -(level === 3 ? Fault.PROTOCOL_VERSION_3 : Fault.UNSUPPORTED_PROTOCOL_VERSION)
  }
  if (!hasBytes(source, at + 2, levelAt, MQTT)) return -Fault.UNSUPPORTED_PROTOCOL_NAME
  if (level === 5) return 0
  return -(level === 4 ? Fault.PROTOCOL_VERSION_3 : Fault.UNSUPPORTED_PROTOCOL_VERSION)
}

/**
 * Reads a complete CONNECT whose version is known to be 5.
 *
 * @param at first byte after the fixed header
 * @param end end of the packet
 * @returns a `Fault`
 */
export function readConnect(
  head: ConnectHead,
  properties: PropertyReader,
  source: Uint8Array,
  at: number,
  end: number,
  userProperties: number,
): number {
  const flagsAt = at + 2 + MQTT.length + 1
  if (flagsAt + 3 > end) return Fault.FIELD_PAST_END
  const flags = source[flagsAt]!
  if ((flags & ConnectFlag.RESERVED) !== 0) return Fault.RESERVED_CONNECT_FLAG
  head.cleanStart = (flags & ConnectFlag.CLEAN_START) !== 0
  head.hasWill = (flags & ConnectFlag.WILL) !== 0
  head.willQos = (flags & ConnectFlag.WILL_QOS) >> 3
  head.willRetain = (flags & ConnectFlag.WILL_RETAIN) !== 0
  if (head.willQos === 3) return Fault.INVALID_WILL_QOS
  if (!head.hasWill && (head.willQos !== 0 || head.willRetain)) return Fault.WILL_FLAGS_WITHOUT_WILL
  head.keepAlive = readUint16(source, flagsAt + 1)

  properties.reset()
  let fault = readConnectProperties(head, properties, source, flagsAt + 3, end, userProperties)
  if (fault !== Fault.NONE) return fault

  head.clientIdStart = head.propertiesEnd + 2
  head.clientIdEnd = fieldEnd(source, head.propertiesEnd, end)
  if (head.clientIdEnd < 0) return Fault.FIELD_PAST_END
  fault = identifierFault(source, head.clientIdStart, head.clientIdEnd)
  if (fault !== Fault.NONE) return fault

  fault = readWill(head, properties, source, head.clientIdEnd, end, userProperties)
  if (fault !== Fault.NONE) return fault
  let next = head.hasWill ? head.willPayloadEnd : head.clientIdEnd

  head.userNameStart = -1
  head.userNameEnd = -1
  if ((flags & ConnectFlag.USER_NAME) !== 0) {
    head.userNameStart = next + 2
    head.userNameEnd = fieldEnd(source, next, end)
    if (head.userNameEnd < 0) return Fault.FIELD_PAST_END
    fault = stringFault(source, head.userNameStart, head.userNameEnd)
    if (fault !== Fault.NONE) return fault
    next = head.userNameEnd
  }

  head.passwordStart = -1
  head.passwordEnd = -1
  if ((flags & ConnectFlag.PASSWORD) !== 0) {
    head.passwordStart = next + 2
    head.passwordEnd = fieldEnd(source, next, end)
    if (head.passwordEnd < 0) return Fault.FIELD_PAST_END
    next = head.passwordEnd
  }
  return next === end ? Fault.NONE : Fault.TRAILING_BYTES
}

/** §3.1.2.11 */
function readConnectProperties(
  head: ConnectHead,
  properties: PropertyReader,
  source: Uint8Array,
  at: number,
  end: number,
  userProperties: number,
): number {
  const fault = properties.readBlock(source, at, end, PacketType.CONNECT, userProperties)
  if (fault !== Fault.NONE) return fault
  head.propertyLengthStart = at
  head.propertiesStart = properties.start
  head.propertiesEnd = properties.end
  head.sessionExpiryInterval = properties.value(Property.SESSION_EXPIRY_INTERVAL, 0)
  head.receiveMaximum = properties.value(Property.RECEIVE_MAXIMUM, 65_535)
  head.maximumPacketSize = properties.value(Property.MAXIMUM_PACKET_SIZE, 0)
  head.topicAliasMaximum = properties.value(Property.TOPIC_ALIAS_MAXIMUM, 0)
  head.requestProblemInformation = properties.value(Property.REQUEST_PROBLEM_INFORMATION, 1) === 1
  head.authenticationMethodStart = properties.startOf(Property.AUTHENTICATION_METHOD)
  head.authenticationMethodEnd = properties.endOf(Property.AUTHENTICATION_METHOD)
  head.authenticationDataStart = properties.startOf(Property.AUTHENTICATION_DATA)
  head.authenticationDataEnd = properties.endOf(Property.AUTHENTICATION_DATA)
  const dataAlone = head.authenticationDataStart >= 0 && head.authenticationMethodStart < 0
  return dataAlone ? Fault.AUTHENTICATION_DATA_WITHOUT_METHOD : Fault.NONE
}

/** Will Properties, Will Topic, Will Payload at `at`, if the flag says so. §3.1.3.2 to §3.1.3.4 */
function readWill(
  head: ConnectHead,
  properties: PropertyReader,
  source: Uint8Array,
  at: number,
  end: number,
  userProperties: number,
): number {
  head.willPropertiesStart = -1
  head.willPropertiesEnd = -1
  head.willMessageExpiryInterval = -1
  head.willDelayInterval = 0
  head.willResponseTopicStart = -1
  head.willResponseTopicEnd = -1
  head.willTopicStart = -1
  head.willTopicEnd = -1
  head.willPayloadStart = -1
  head.willPayloadEnd = -1
  if (!head.hasWill) return Fault.NONE

  const fault = properties.readBlock(source, at, end, WILL, userProperties)
  if (fault !== Fault.NONE) return fault
  head.willPropertiesStart = properties.start
  head.willPropertiesEnd = properties.end
  head.willMessageExpiryInterval = properties.value(Property.MESSAGE_EXPIRY_INTERVAL, -1)
  head.willDelayInterval = properties.value(Property.WILL_DELAY_INTERVAL, 0)
  head.willResponseTopicStart = properties.startOf(Property.RESPONSE_TOPIC)
  head.willResponseTopicEnd = properties.endOf(Property.RESPONSE_TOPIC)

  head.willTopicStart = properties.end + 2
  head.willTopicEnd = fieldEnd(source, properties.end, end)
  if (head.willTopicEnd < 0) return Fault.FIELD_PAST_END
  if (head.willTopicStart === head.willTopicEnd) return Fault.EMPTY_WILL_TOPIC
  const topicFault = topicNameFault(source, head.willTopicStart, head.willTopicEnd, false)
  if (topicFault !== Fault.NONE) return topicFault

  head.willPayloadStart = head.willTopicEnd + 2
  head.willPayloadEnd = fieldEnd(source, head.willTopicEnd, end)
  return head.willPayloadEnd < 0 ? Fault.FIELD_PAST_END : Fault.NONE
}

/** End of the length-prefixed field at `at`, -1 if it runs past `end`. */
function fieldEnd(source: Uint8Array, at: number, end: number): number {
  if (at + 2 > end) return -1
  const stop = at + 2 + readUint16(source, at)
  return stop > end ? -1 : stop
}

function hasBytes(source: Uint8Array, start: number, end: number, expected: readonly number[]): boolean {
  if (end - start !== expected.length) return false
  for (let i = 0; i < expected.length; i++) if (source[start + i] !== expected[i]) return false
  return true
}
