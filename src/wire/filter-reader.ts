// SUBSCRIBE and UNSUBSCRIBE, read whole: filters, Subscription Options. MQTT 5.0 §3.8, §3.10.

import { PacketType } from './control-packet.ts'
import { Fault } from './fault.ts'
import type { FilterList } from './heads.ts'
import { Property } from './property.ts'
import { type PropertyReader, readUint16 } from './property-reader.ts'
import { isShared, topicFilterFault } from './topic-syntax.ts'

const NO_LOCAL = 0x04
const RETAIN_HANDLING = 0x30
const RESERVED_OPTIONS = 0xc0

/**
 * @param at first byte after the fixed header
 * @param end end of the packet
 * @param type SUBSCRIBE or UNSUBSCRIBE
 * @param most filters that one packet may hold
 * @returns a `Fault`
 */
export function readFilters(
  list: FilterList,
  properties: PropertyReader,
  source: Uint8Array,
  at: number,
  end: number,
  type: number,
  most: number,
  userProperties: number,
): number {
  list.count = 0
  if (at + 2 > end) return Fault.FIELD_PAST_END
  list.packetId = readUint16(source, at)
  if (list.packetId === 0) return Fault.ZERO_PACKET_IDENTIFIER
  properties.reset()
  const fault = properties.readBlock(source, at + 2, end, type, userProperties)
  if (fault !== Fault.NONE) return fault
  list.propertyLengthStart = at + 2
  list.propertiesEnd = properties.end
  list.subscriptionIdentifier = properties.value(Property.SUBSCRIPTION_IDENTIFIER, 0)
  if (properties.end === end) return Fault.NO_TOPIC_FILTER

  const optionsLength = type === PacketType.SUBSCRIBE ? 1 : 0
  let next = properties.end
  while (next < end) {
    if (list.count === most) return Fault.TOO_MANY_FILTERS
    if (next + 2 > end) return Fault.FIELD_PAST_END
    const start = next + 2
    const stop = start + readUint16(source, next)
    next = stop + optionsLength
    if (next > end) return Fault.FIELD_PAST_END
    const filterFault = topicFilterFault(source, start, stop)
    if (filterFault !== Fault.NONE) return filterFault
    const options = optionsLength === 0 ? 0 : source[stop]!
    const optionsFault = subscriptionOptionsFault(options, isShared(source, start, stop))
    if (optionsFault !== Fault.NONE) return optionsFault
    list.filterStart[list.count] = start
    list.filterEnd[list.count] = stop
    list.options[list.count] = options
    list.count += 1
  }
  return Fault.NONE
}

/** §3.8.3.1 */
function subscriptionOptionsFault(options: number, shared: boolean): number {
  if ((options & RESERVED_OPTIONS) !== 0) return Fault.RESERVED_SUBSCRIPTION_OPTIONS
  if ((options & 3) === 3) return Fault.INVALID_SUBSCRIPTION_QOS
  if ((options & RETAIN_HANDLING) === RETAIN_HANDLING) return Fault.INVALID_RETAIN_HANDLING
  if (shared && (options & NO_LOCAL) !== 0) return Fault.NO_LOCAL_ON_SHARED_SUBSCRIPTION
  return Fault.NONE
}
