// Builds the SUBSCRIBE that the server sees when some of its filters are refused. MQTT 5.0 §3.8.

import { PacketType, REQUIRED_FLAGS } from './control-packet.ts'
import { packet, uint16 } from './field-writer.ts'
import type { FilterList } from './heads.ts'

/**
 * The same SUBSCRIBE (Packet Identifier, properties) with the filters for which `keep` is true, in their
 * order, each with the Subscription Options at its own index in `options`.
 *
 * @param source what the offsets of `filters` point into
 * @param keep one entry for each filter, at least one of them true
 * @param options one byte for each filter, kept or not
 * @returns a whole packet in an own Buffer
 */
export function narrowSubscribe(
  source: Buffer,
  filters: FilterList,
  keep: readonly boolean[],
  options: readonly number[],
): Buffer {
  const parts = [
    uint16(filters.packetId),
    source.subarray(filters.propertyLengthStart, filters.propertiesEnd),
  ]
  for (let i = 0; i < filters.count; i++) {
    if (!keep[i]) continue
    parts.push(source.subarray(filters.filterStart[i]! - 2, filters.filterEnd[i]), Buffer.of(options[i]!))
  }
  return packet((PacketType.SUBSCRIBE << 4) | REQUIRED_FLAGS[PacketType.SUBSCRIBE], parts)
}
