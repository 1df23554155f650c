// A PUBLISH head with something changed: the Topic Name that a Topic Alias stood for, for a receiver that was never
// told what the alias means (MQTT 5.0 §3.3.2.3.4), a shorter Message Expiry Interval (§3.3.2.3.3), or other User
// Properties (§3.3.2.3.7).

import { propertiesWithout, property, propertyBlock } from './field-writer.ts'
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
  /** User Properties that are left out. */
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
  const topic = changes.topic ?? source.subarray(publish.topicStart, publish.topicEnd)
  const rest = restOf(source, frame, publish, changes)
  const body = frame.frameStart + frame.frameLength - frame.headEnd
  const remaining = 2 + topic.length + rest.length + body
  const head = Buffer.allocUnsafe(1 + varintLength(remaining) + 2 + topic.length + rest.length)
  head[0] = source[frame.frameStart]!
  let at = writeVarint(head, remaining, 1)
  at = head.writeUInt16BE(topic.length, at)
  head.set(topic, at)
  head.set(rest, at + topic.length)
  return head
}

/** What follows the Topic Name: Packet Identifier, if any, and properties. */
function restOf(
  source: Buffer,
  frame: FramePosition,
  publish: PublishHead,
  { messageExpiryInterval: expiry, without, added }: PublishChanges,
): Buffer {
  if (expiry === undefined && without === undefined && added === undefined) {
    return source.subarray(publish.topicEnd, frame.headEnd)
  }
  const { propertiesStart: start, propertiesEnd: end } = publish
  let kept = without === undefined ? [source.subarray(start, end)] : without.others(source, start, end)
  if (expiry !== undefined) {
    kept = kept.flatMap((part) => propertiesWithout(part, 0, part.length, MESSAGE_EXPIRY))
    kept.push(property(Property.MESSAGE_EXPIRY_INTERVAL, expiry))
  }
  if (added !== undefined) kept.push(added)
  return Buffer.concat([
    source.subarray(publish.topicEnd, publish.topicEnd + (publish.qos > 0 ? 2 : 0)),
    propertyBlock(kept),
  ])
}
