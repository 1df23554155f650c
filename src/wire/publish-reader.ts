// PUBLISH: measures its head (fixed header to end of properties) before it is complete, then reads it.
// The payload is never looked at. MQTT 5.0 §3.3. Hot path: runs per frame, allocates nothing.

import { PacketType } from './control-packet.ts'
import { Fault } from './fault.ts'
import type { PublishHead } from './heads.ts'
import { Property } from './property.ts'
import { type PropertyReader, propertyLengthFault, readUint16 } from './property-reader.ts'
import { topicNameFault } from './topic-syntax.ts'
import { readVarint, Varint, varintLength } from './varint.ts'

/**
 * Lays out the head of the frame at `start` as far as the bytes before `end` tell.
 *
 * @param at first byte after the fixed header
 * @param frameEnd where the frame ends by its Remaining Length
 * @param limit most bytes of a head
 * @returns length of the head when that is at most `end - start`, else how many bytes of it are needed
 *   to know more; a negated `Fault` for lengths that contradict each other or exceed the limit.
 */
export function measurePublish(
  head: PublishHead,
  source: Uint8Array,
  start: number,
  at: number,
  end: number,
  frameEnd: number,
  limit: number,
): number {
  if (at + 2 > frameEnd) return -Fault.FIELD_PAST_END
  if (at + 2 > end) return at + 2 - start
  const qos = (source[start]! >> 1) & 3
  const topicStart = at + 2
  const topicEnd = topicStart + readUint16(source, at)
  const lengthAt = qos === 0 ? topicEnd : topicEnd + 2
  if (lengthAt + 1 > frameEnd) return -Fault.FIELD_PAST_END
  if (lengthAt + 1 - start > limit) return -Fault.PUBLISH_HEAD_TOO_LARGE
  if (lengthAt + 1 > end) return lengthAt + 1 - start

  let length = source[lengthAt]!
  let propertiesStart = lengthAt + 1
  if (length >= 0x80) {
    const known = Math.min(end, frameEnd)
    length = readVarint(source, lengthAt, known)
    if (length === Varint.CUT_SHORT && known < frameEnd) return known + 1 - start
    if (length < 0) return -propertyLengthFault(length)
    propertiesStart = lengthAt + varintLength(length)
  }
  const propertiesEnd = propertiesStart + length
  if (propertiesEnd > frameEnd) return -Fault.PROPERTY_LENGTH_PAST_END
  if (propertiesEnd - start > limit) return -Fault.PUBLISH_HEAD_TOO_LARGE

  head.qos = qos
  head.topicStart = topicStart
  head.topicEnd = topicEnd
  head.propertiesStart = propertiesStart
  head.propertiesEnd = propertiesEnd
  head.payloadLength = frameEnd - propertiesEnd
  return propertiesEnd - start
}

/**
 * Reads a complete head that `measurePublish` has laid out.
 *
 * @param userProperties most User Properties
 * @param isDelivery from the server: what topics may hold is then not judged as strictly
 * @returns a `Fault`
 */
export function readPublish(
  head: PublishHead,
  properties: PropertyReader,
  source: Uint8Array,
  flags: number,
  userProperties: number,
  isDelivery: boolean,
): number {
  head.dup = (flags & 8) !== 0
  head.retain = (flags & 1) !== 0
  let fault = topicNameFault(source, head.topicStart, head.topicEnd, isDelivery)
  if (fault !== Fault.NONE) return fault
  head.packetId = 0
  if (head.qos !== 0) {
    head.packetId = readUint16(source, head.topicEnd)
    if (head.packetId === 0) return Fault.ZERO_PACKET_IDENTIFIER
  }
  properties.reset()
  if (head.propertiesStart !== head.propertiesEnd) {
    fault = properties.read(
      source,
      head.propertiesStart,
      head.propertiesEnd,
      PacketType.PUBLISH,
      userProperties,
    )
    if (fault !== Fault.NONE) return fault
  }
  head.topicAlias = properties.value(Property.TOPIC_ALIAS, 0)
  head.messageExpiryInterval = properties.value(Property.MESSAGE_EXPIRY_INTERVAL, -1)
  head.responseTopicStart = properties.startOf(Property.RESPONSE_TOPIC)
  head.responseTopicEnd = properties.endOf(Property.RESPONSE_TOPIC)
  head.correlationDataStart = properties.startOf(Property.CORRELATION_DATA)
  head.correlationDataEnd = properties.endOf(Property.CORRELATION_DATA)
  head.traceparentStart = properties.traceparentStart
  head.traceparentEnd = properties.traceparentEnd
  if (head.topicStart === head.topicEnd && head.topicAlias === 0) return Fault.MISSING_TOPIC_NAME
  return Fault.NONE
}
