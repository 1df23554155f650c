// A PUBLISH head with something changed: the Topic Name that a Topic Alias stood for, for a receiver that was never
// told what the alias means (MQTT 5.0 §3.3.2.3.4), a shorter Message Expiry Interval (§3.3.2.3.3), or other User
// Properties (§3.3.2.3.7).

import { propertiesWithout, property } from './field-writer.ts'
import type { PublishHead } from './heads.ts'
import { Property } from './property.ts'
import type { NamedProperties } from './user-properties.ts'
import { varintLength, writeVarint } from './varint.ts'

/** Where the frame lies; a `PacketReader` has these fields. */
export interface FramePosition {
  readonly frameStart: number
  readonly headEnd: number
  readonly frameLength: number
}

export interface PublishChanges {
  /** Bytes of a Topic Name, up to 65_535, in place of the one in the head. */
  readonly topic?: Uint8Array | undefined
  /** Seconds, in place of the one in the head or as a new last property. */
  readonly messageExpiryInterval?: number | undefined
  /** User Properties that are left out, after a `find` in the properties of this head. */
  readonly without?: NamedProperties | undefined
  /** Whole properties that follow all others. */
  readonly added?: Buffer | undefined
}

const MESSAGE_EXPIRY: ReadonlySet<number> = new Set([Property.MESSAGE_EXPIRY_INTERVAL])

/**
 * The head of the same PUBLISH with `changes`; the body follows it unchanged, and so do all other properties.
 *
 * @param source what the offsets of `frame` and `publish` point into
 * @returns an own Buffer. The frame it starts may be longer than a Maximum Packet Size: its length is
 *   `frame.frameLength` plus what the head has grown by.
 */
export function rewritePublish(
  source: Buffer,
  frame: FramePosition,
  publish: PublishHead,
  changes: PublishChanges,
): Buffer {
  const { topic, messageExpiryInterval, without, added } = changes
  const { topicStart, topicEnd, propertiesStart, propertiesEnd } = publish
  const others = expiring(source, publish, without, messageExpiryInterval)
  const kept = others?.length ?? without?.othersLength ?? propertiesEnd - propertiesStart
  const properties = kept + (added?.length ?? 0)
  const topicLength = topic?.length ?? topicEnd - topicStart
  const idLength = publish.qos > 0 ? 2 : 0
  const rest = 2 + topicLength + idLength + varintLength(properties) + properties
  const remaining = rest + frame.frameStart + frame.frameLength - frame.headEnd
  const head = Buffer.allocUnsafe(1 + varintLength(remaining) + rest)
  head[0] = source[frame.frameStart]!
  let at = writeVarint(head, remaining, 1)
  head[at++] = topicLength >> 8
  head[at++] = topicLength & 0xff
  if (topic === undefined) at += source.copy(head, at, topicStart, topicEnd)
  else {
    head.set(topic, at)
    at += topicLength
  }
  for (let i = 0; i < idLength; i++) head[at++] = source[topicEnd + i]!
  at = writeVarint(head, properties, at)
  if (others !== undefined) at += others.copy(head, at)
  else if (without !== undefined) at = without.copyOthers(source, head, at)
  else at += source.copy(head, at, propertiesStart, propertiesEnd)
  added?.copy(head, at)
  return head
}

/** The properties that stay, with another Message Expiry Interval; undefined: with the one that they have. */
function expiring(
  source: Buffer,
  { propertiesStart, propertiesEnd }: PublishHead,
  without: NamedProperties | undefined,
  interval: number | undefined,
): Buffer | undefined {
  if (interval === undefined) return undefined
  let others = source.subarray(propertiesStart, propertiesEnd)
  if (without !== undefined) {
    others = Buffer.allocUnsafe(without.othersLength)
    without.copyOthers(source, others, 0)
  }
  return Buffer.concat([
    ...propertiesWithout(others, 0, others.length, MESSAGE_EXPIRY),
    property(Property.MESSAGE_EXPIRY_INTERVAL, interval),
  ])
}
