// Which Reason Code may stand in which packet, by direction. MQTT 5.0 §2.4 Table 2-6 and the table of each packet.

import { Direction, PacketType } from './control-packet.ts'

/** Bit set over packet type (bits 0 to 15 client to server, 16 to 31 server to client), by Reason Code. */
const LEGAL = new Uint32Array(256)

const TO_SERVER = 1 << Direction.CLIENT_TO_SERVER
const TO_CLIENT = 1 << Direction.SERVER_TO_CLIENT
const BOTH = TO_SERVER | TO_CLIENT

function legal(type: number, directions: number, codes: readonly number[]): void {
  for (const code of codes) {
    if (directions & TO_SERVER) LEGAL[code]! |= 1 << type
    if (directions & TO_CLIENT) LEGAL[code]! |= 1 << (type + 16)
  }
}

const { CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH } = PacketType

legal(CONNACK, TO_CLIENT, [0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a])
legal(CONNACK, TO_CLIENT, [0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f])
legal(PUBACK, BOTH, [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
legal(PUBREC, BOTH, [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
legal(PUBREL, BOTH, [0x00, 0x92])
legal(PUBCOMP, BOTH, [0x00, 0x92])
legal(SUBACK, TO_CLIENT, [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2])
legal(UNSUBACK, TO_CLIENT, [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91])
// §3.14.2.1 gives 0x00 to the client alone. From a server it is tolerated: the connection ends either
// way, and a fault would only hide that the server ended it in peace.
legal(DISCONNECT, BOTH, [0x00, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99])
legal(DISCONNECT, TO_SERVER, [0x04])
legal(DISCONNECT, TO_CLIENT, [0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f])
legal(DISCONNECT, TO_CLIENT, [0xa0, 0xa1, 0xa2])
legal(AUTH, BOTH, [0x18])
legal(AUTH, TO_SERVER, [0x19])
legal(AUTH, TO_CLIENT, [0x00])

/** Whether `reasonCode` (0 to 255) may stand in a packet of `type` that travels in `direction`. */
export function isLegalCode(type: number, direction: Direction, reasonCode: number): boolean {
  return ((LEGAL[reasonCode]! >>> (type + 16 * direction)) & 1) !== 0
}
