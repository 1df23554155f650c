// The property table of MQTT 5.0 (§2.2.2.2, Table 2-4): which property, of which type, in which packet.

import { PacketType } from './control-packet.ts'

/** Property Identifiers. */
export const Property = {
  PAYLOAD_FORMAT_INDICATOR: 0x01,
  MESSAGE_EXPIRY_INTERVAL: 0x02,
  CONTENT_TYPE: 0x03,
  RESPONSE_TOPIC: 0x08,
  CORRELATION_DATA: 0x09,
  SUBSCRIPTION_IDENTIFIER: 0x0b,
  SESSION_EXPIRY_INTERVAL: 0x11,
  ASSIGNED_CLIENT_IDENTIFIER: 0x12,
  SERVER_KEEP_ALIVE: 0x13,
  AUTHENTICATION_METHOD: 0x15,
  AUTHENTICATION_DATA: 0x16,
  REQUEST_PROBLEM_INFORMATION: 0x17,
  WILL_DELAY_INTERVAL: 0x18,
  REQUEST_RESPONSE_INFORMATION: 0x19,
  RESPONSE_INFORMATION: 0x1a,
  SERVER_REFERENCE: 0x1c,
  REASON_STRING: 0x1f,
  RECEIVE_MAXIMUM: 0x21,
  TOPIC_ALIAS_MAXIMUM: 0x22,
  TOPIC_ALIAS: 0x23,
  MAXIMUM_QOS: 0x24,
  RETAIN_AVAILABLE: 0x25,
  USER_PROPERTY: 0x26,
  MAXIMUM_PACKET_SIZE: 0x27,
  WILDCARD_SUBSCRIPTION_AVAILABLE: 0x28,
  SUBSCRIPTION_IDENTIFIERS_AVAILABLE: 0x29,
  SHARED_SUBSCRIPTION_AVAILABLE: 0x2a,
} as const

/** One above the highest identifier. Each identifier is one byte, though §2.2.2.2 calls it a varint. */
export const PROPERTY_COUNT = 0x2b

/** Data types of properties, §1.5. FLAG is a byte that may only be 0 or 1: all byte properties are. */
export const DataType = {
  UNKNOWN: 0,
  FLAG: 1,
  UINT16: 2,
  UINT32: 3,
  VARINT: 4,
  STRING: 5,
  BINARY: 6,
  STRING_PAIR: 7,
} as const

/** Stands for Will Properties where a packet type is asked for; 0 is no packet type of its own. */
export const WILL = 0

/** `DataType` by Property Identifier. */
export const DATA_TYPES = new Uint8Array(PROPERTY_COUNT)

/** Bit set of packet types (and `WILL`) that may hold the property, by Property Identifier. */
export const LEGAL_PACKETS = new Uint16Array(PROPERTY_COUNT)

const { CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP } = PacketType
const { SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH } = PacketType
const ACKS = [PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK]

function row(property: number, type: number, packets: readonly number[]): void {
  DATA_TYPES[property] = type
  for (const packet of packets) LEGAL_PACKETS[property]! |= 1 << packet
}

row(Property.PAYLOAD_FORMAT_INDICATOR, DataType.FLAG, [PUBLISH, WILL])
row(Property.MESSAGE_EXPIRY_INTERVAL, DataType.UINT32, [PUBLISH, WILL])
row(Property.CONTENT_TYPE, DataType.STRING, [PUBLISH, WILL])
row(Property.RESPONSE_TOPIC, DataType.STRING, [PUBLISH, WILL])
row(Property.CORRELATION_DATA, DataType.BINARY, [PUBLISH, WILL])
row(Property.SUBSCRIPTION_IDENTIFIER, DataType.VARINT, [PUBLISH, SUBSCRIBE])
row(Property.SESSION_EXPIRY_INTERVAL, DataType.UINT32, [CONNECT, CONNACK, DISCONNECT])
row(Property.ASSIGNED_CLIENT_IDENTIFIER, DataType.STRING, [CONNACK])
row(Property.SERVER_KEEP_ALIVE, DataType.UINT16, [CONNACK])
row(Property.AUTHENTICATION_METHOD, DataType.STRING, [CONNECT, CONNACK, AUTH])
row(Property.AUTHENTICATION_DATA, DataType.BINARY, [CONNECT, CONNACK, AUTH])
row(Property.REQUEST_PROBLEM_INFORMATION, DataType.FLAG, [CONNECT])
row(Property.WILL_DELAY_INTERVAL, DataType.UINT32, [WILL])
row(Property.REQUEST_RESPONSE_INFORMATION, DataType.FLAG, [CONNECT])
row(Property.RESPONSE_INFORMATION, DataType.STRING, [CONNACK])
row(Property.SERVER_REFERENCE, DataType.STRING, [CONNACK, DISCONNECT])
row(Property.REASON_STRING, DataType.STRING, [CONNACK, ...ACKS, DISCONNECT, AUTH])
row(Property.RECEIVE_MAXIMUM, DataType.UINT16, [CONNECT, CONNACK])
row(Property.TOPIC_ALIAS_MAXIMUM, DataType.UINT16, [CONNECT, CONNACK])
row(Property.TOPIC_ALIAS, DataType.UINT16, [PUBLISH])
row(Property.MAXIMUM_QOS, DataType.FLAG, [CONNACK])
row(Property.RETAIN_AVAILABLE, DataType.FLAG, [CONNACK])
row(Property.USER_PROPERTY, DataType.STRING_PAIR, [
  ...[WILL, CONNECT, CONNACK, PUBLISH, ...ACKS],
  ...[SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH],
])
row(Property.MAXIMUM_PACKET_SIZE, DataType.UINT32, [CONNECT, CONNACK])
row(Property.WILDCARD_SUBSCRIPTION_AVAILABLE, DataType.FLAG, [CONNACK])
row(Property.SUBSCRIPTION_IDENTIFIERS_AVAILABLE, DataType.FLAG, [CONNACK])
row(Property.SHARED_SUBSCRIPTION_AVAILABLE, DataType.FLAG, [CONNACK])
