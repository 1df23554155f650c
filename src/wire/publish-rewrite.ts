// Puts a Topic Name into a PUBLISH that came with a Topic Alias alone, for a receiver that was never told
// what the alias means. MQTT 5.0 §3.3.2.3.4.

import type { PublishHead } from './heads.ts'
import { varintLength, writeVarint } from './varint.ts'

/** Where the frame lies; a `PacketReader` has these fields. */
export interface FramePosition {
  readonly frameStart: number
  readonly headEnd: number
  readonly frameLength: number
}

/**
 * The head of the same PUBLISH with `topic` as its Topic Name; the body follows it unchanged. Topic Alias
 * and all other properties stay as they are.
 *
 * @param source what the offsets of `frame` and `publish` point into
 * @param topic bytes of a Topic Name, up to 65_535
 * @returns an own Buffer. The frame it starts may be longer than a Maximum Packet Size: its length is
 *   `frame.frameLength` plus what the head has grown by.
 */
export function withTopic(
  source: Buffer,
  frame: FramePosition,
  publish: PublishHead,
  topic: Uint8Array,
): Buffer {
  const fixedHeaderLength = publish.topicStart - 2 - frame.frameStart
  const replaced = publish.topicEnd - publish.topicStart
  const remaining = frame.frameLength - fixedHeaderLength - replaced + topic.length
  const rest = frame.headEnd - publish.topicEnd
  const head = Buffer.allocUnsafe(1 + varintLength(remaining) + 2 + topic.length + rest)
  head[0] = source[frame.frameStart]!
  let at = writeVarint(head, remaining, 1)
  at = head.writeUInt16BE(topic.length, at)
  head.set(topic, at)
  source.copy(head, at + topic.length, publish.topicEnd, frame.headEnd)
  return head
}
