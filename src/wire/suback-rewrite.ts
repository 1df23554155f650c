// Builds the SUBACK that the client sees when Postern answers for some of its filters. MQTT 5.0 §3.9.

import { PacketType } from './control-packet.ts'
import { packet, uint16 } from './field-writer.ts'
import type { CodeList } from './heads.ts'

/**
 * The same SUBACK (Packet Identifier, properties) with other Reason Codes.
 *
 * @param source what the offsets of `head` point into
 * @param codes one for each filter of the client's SUBSCRIBE, in order
 * @returns a whole packet in an own Buffer
 */
export function withCodes(source: Buffer, head: CodeList, codes: readonly number[]): Buffer {
  const properties = source.subarray(head.propertyLengthStart, head.propertiesEnd)
  return packet(PacketType.SUBACK << 4, [uint16(head.packetId), properties, Buffer.from(codes)])
}
