// A SUBACK with other Reason Codes and the same Packet Identifier and properties. MQTT 5.0 §3.9.

import { PacketType } from './control-packet.ts'
import type { CodeList } from './heads.ts'

/** @param codes one per filter of the client's SUBSCRIBE, in order */
export function withCodes(source: Buffer, head: CodeList, codes: readonly number[]): Buffer {
  const properties = source.subarray(head.propertyLengthStart, head.propertiesEnd)
  const remainingLength = 2 + properties.length + codes.length
  const length: number[] = []
  let left = remainingLength
  do {
    const digit = left % 128
    left = Math.floor(left / 128)
    length.push(left > 0 ? digit | 0x80 : digit)
  } while (left > 0)
  return Buffer.concat([
    Buffer.from([PacketType.SUBACK << 4, ...length, head.packetId >> 8, head.packetId & 0xff]),
    properties,
    Buffer.from(codes),
  ])
}
