// Syntax of Topic Names, Topic Filters and Shared Subscriptions over bytes. MQTT 5.0 §4.7, §4.8.2.
// Says whether the bytes are well formed, never whether they are allowed. Hot path: no allocation.

import { Fault } from './fault.ts'
import { decodeSequence, identifierFault, isDisallowed, sequenceLength } from './utf8.ts'

/** Most levels of a topic or filter: bounds every matcher that walks them (J8). */
export const MAX_LEVELS = 200

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23
const SHARE = [0x24, 0x73, 0x68, 0x61, 0x72, 0x65] as const

/** 0 for the bytes that a Topic Name may hold as they are, 1 for those that need a second look. */
const LOOK_CLOSER = new Uint8Array(256).fill(1, 0x7f).fill(1, 0, 0x20)
LOOK_CLOSER[PLUS] = 1
LOOK_CLOSER[HASH] = 1

/**
 * Fault of a Topic Name. An empty one is well formed here: what it means depends on the packet.
 *
 * @param isLenient for what a server delivers: it has let control characters and deep topics pass, and refusing them
 *   here would end the connection of an agent that did nothing, again at every resumption
 */
export function topicNameFault(source: Uint8Array, start: number, end: number, isLenient: boolean): number {
  let at = start
  while (at < end) {
    const byte = source[at]!
    if (LOOK_CLOSER[byte] === 0) {
      at += 1
      continue
    }
    if (byte === PLUS || byte === HASH) return Fault.WILDCARD_IN_TOPIC_NAME
    if (byte === 0) return Fault.NULL_CHARACTER
    if (byte < 0x80) {
      if (!isLenient) return Fault.DISALLOWED_CHARACTER
      at += 1
      continue
    }
    const codePoint = decodeSequence(source, at, end)
    if (codePoint < 0) return Fault.ILL_FORMED_UTF8
    if (!isLenient && isDisallowed(codePoint)) return Fault.DISALLOWED_CHARACTER
    at += sequenceLength(codePoint)
  }
  return !isLenient && hasTooManyLevels(source, start, end) ? Fault.TOO_MANY_TOPIC_LEVELS : Fault.NONE
}

/** Fault of a Topic Filter as SUBSCRIBE and UNSUBSCRIBE carry it, `$share/{ShareName}/` included. */
export function topicFilterFault(source: Uint8Array, start: number, end: number): number {
  if (start === end) return Fault.EMPTY_TOPIC_FILTER
  const fault = identifierFault(source, start, end)
  if (fault !== Fault.NONE) return fault
  if (hasTooManyLevels(source, start, end)) return Fault.TOO_MANY_FILTER_LEVELS
  const from = isShared(source, start, end) ? sharedFilterStart(source, start, end) : start
  if (from < 0) return Fault.INVALID_SHARED_SUBSCRIPTION
  for (let at = from; at < end; at++) {
    const byte = source[at]!
    if (byte !== PLUS && byte !== HASH) continue
    const fillsLevel =
      (at === from || source[at - 1] === SLASH) && (at + 1 === end || source[at + 1] === SLASH)
    if (!fillsLevel || (byte === HASH && at + 1 !== end)) return Fault.INVALID_TOPIC_FILTER
  }
  return Fault.NONE
}

/** Whether the first level is `$share`, well formed or not. §4.8.2 */
export function isShared(source: Uint8Array, start: number, end: number): boolean {
  if (end - start < SHARE.length) return false
  for (let i = 0; i < SHARE.length; i++) if (source[start + i] !== SHARE[i]) return false
  return end - start === SHARE.length || source[start + SHARE.length] === SLASH
}

/**
 * Where the Topic Filter behind `$share/{ShareName}/` starts.
 *
 * @returns -1 when ShareName is empty or holds a wildcard, or when no filter follows.
 * @source MQTT 5.0 §4.8.2 [MQTT-4.8.2-1], [MQTT-4.8.2-2]
 */
function sharedFilterStart(source: Uint8Array, start: number, end: number): number {
  const nameStart = start + SHARE.length + 1
  for (let at = nameStart; at < end; at++) {
    const byte = source[at]
    if (byte === PLUS || byte === HASH) return -1
    if (byte === SLASH) return at > nameStart && at + 1 < end ? at + 1 : -1
  }
  return -1
}

function hasTooManyLevels(source: Uint8Array, start: number, end: number): boolean {
  if (end - start < MAX_LEVELS) return false
  let levels = 1
  for (let at = start; at < end; at++) if (source[at] === SLASH) levels += 1
  return levels > MAX_LEVELS
}
