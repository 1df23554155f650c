// Control Packet types, their fixed flags and legal directions. MQTT 5.0 §2.1.2, §2.1.3.

/** MQTT Control Packet types, MQTT 5.0 Table 2-1. */
export const PacketType = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const

/** Which way the bytes of a reader flow. */
export const Direction = { CLIENT_TO_SERVER: 0, SERVER_TO_CLIENT: 1 } as const
export type Direction = (typeof Direction)[keyof typeof Direction]

/** Names for logs and records, indexed by type. */
export const PACKET_NAMES = [
  'RESERVED',
  'CONNECT',
  'CONNACK',
  'PUBLISH',
  'PUBACK',
  'PUBREC',
  'PUBREL',
  'PUBCOMP',
  'SUBSCRIBE',
  'SUBACK',
  'UNSUBSCRIBE',
  'UNSUBACK',
  'PINGREQ',
  'PINGRESP',
  'DISCONNECT',
  'AUTH',
] as const

/** Required low nibble of the first byte, by type; -1 where the flags carry meaning (PUBLISH). Table 2-2. */
export const REQUIRED_FLAGS = [-2, 0, 0, -1, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0] as const

/** Whether a type may travel in a direction: bit 0 client to server, bit 1 server to client. Table 2-1. */
export const LEGAL_DIRECTIONS = [0, 1, 2, 3, 3, 3, 3, 3, 1, 2, 1, 2, 1, 2, 3, 3] as const
