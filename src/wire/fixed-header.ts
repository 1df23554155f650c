// The first byte of a packet, and where its Remaining Length ends. MQTT 5.0 §2.1.

import { Direction, LEGAL_DIRECTIONS, PacketType, REQUIRED_FLAGS } from './control-packet.ts'
import { Fault } from './fault.ts'

/** First byte after the fixed header of a frame whose Remaining Length has been checked. */
export function variableHeaderStart(source: Uint8Array, start: number): number {
  let at = start + 1
  while (source[at]! >= 0x80) at += 1
  return at + 1
}

/** Packet type, direction, flags. §2.1.2, §2.1.3, §3.3.1 */
function firstByteFault(first: number, direction: Direction): number {
  const type = first >> 4
  const flags = first & 0x0f
  if (type === 0) return Fault.RESERVED_PACKET_TYPE
  if ((LEGAL_DIRECTIONS[type]! & (1 << direction)) === 0) return Fault.PACKET_TYPE_NOT_ALLOWED
  if (type !== PacketType.PUBLISH) return flags === REQUIRED_FLAGS[type] ? Fault.NONE : Fault.RESERVED_FLAGS
  if ((flags & 6) === 6) return Fault.INVALID_QOS
  return (flags & 8) !== 0 && (flags & 6) === 0 ? Fault.DUP_AT_QOS_0 : Fault.NONE
}

/** `Fault` of a packet by its `Direction` and its first byte. */
export const FIRST_BYTE_FAULTS = [
  Uint8Array.from({ length: 256 }, (_, first) => firstByteFault(first, Direction.CLIENT_TO_SERVER)),
  Uint8Array.from({ length: 256 }, (_, first) => firstByteFault(first, Direction.SERVER_TO_CLIENT)),
] as const
