// UTF-8 Encoded Strings, judged over byte ranges. MQTT 5.0 §1.5.4, RFC 3629.
// Hot path: runs per frame; integers in, a `Fault` out, nothing allocated.

import { Fault } from './fault.ts'

/**
 * Decodes the multi-byte sequence at `at`, whose first byte is 0x80 or above.
 *
 * @returns the code point, whose size is `sequenceLength(codePoint)`; -1 for anything that is no
 *   shortest-form encoding of a Unicode scalar value, or that `end` cuts short.
 */
export function decodeSequence(source: Uint8Array, at: number, end: number): number {
  const first = source[at]!
  if (first < 0xc2 || first > 0xf4) return -1
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  if (at + length > end) return -1
  let codePoint = first & (0x7f >> length)
  for (let i = 1; i < length; i++) {
    const byte = source[at + i]!
    if ((byte & 0xc0) !== 0x80) return -1
    codePoint = (codePoint << 6) | (byte & 0x3f)
  }
  if (length === 3 && (codePoint < 0x800 || (codePoint >= 0xd800 && codePoint <= 0xdfff))) return -1
  if (length === 4 && (codePoint < 0x1_0000 || codePoint > 0x10_ffff)) return -1
  return codePoint
}

/** Bytes of a code point from U+0080 up. */
export function sequenceLength(codePoint: number): number {
  if (codePoint < 0x800) return 2
  return codePoint < 0x1_0000 ? 3 : 4
}

/**
 * Whether a string that names something (topic, filter, Client Identifier) must not hold this code point:
 * control characters and non-characters, which MQTT 5.0 §1.5.4 lets a receiver refuse. U+0000 has its
 * own rule.
 */
export function isDisallowed(codePoint: number): boolean {
  return (
    codePoint < 0x20 ||
    (codePoint >= 0x7f && codePoint <= 0x9f) ||
    (codePoint >= 0xfdd0 && codePoint <= 0xfdef) ||
    (codePoint & 0xfffe) === 0xfffe
  )
}

/** Fault of any UTF-8 Encoded String: `ILL_FORMED_UTF8`, `NULL_CHARACTER` or `NONE`. */
export function stringFault(source: Uint8Array, start: number, end: number): number {
  let at = start
  // Eight bytes at a time while all are 0x01 to 0x7f: a token is long, and nothing else.
  for (; at + 8 <= end; at += 8) {
    const a = source[at]!
    const b = source[at + 1]!
    const c = source[at + 2]!
    const d = source[at + 3]!
    const e = source[at + 4]!
    const f = source[at + 5]!
    const g = source[at + 6]!
    const h = source[at + 7]!
    const less = (a - 1) | (b - 1) | (c - 1) | (d - 1) | (e - 1) | (f - 1) | (g - 1) | (h - 1)
    if (((less | a | b | c | d | e | f | g | h) & ~0x7f) !== 0) break
  }
  while (at < end) {
    const byte = source[at]!
    if (byte < 0x80) {
      if (byte === 0) return Fault.NULL_CHARACTER
      at += 1
    } else {
      const codePoint = decodeSequence(source, at, end)
      if (codePoint < 0) return Fault.ILL_FORMED_UTF8
      at += sequenceLength(codePoint)
    }
  }
  return Fault.NONE
}

/** Fault of a string that names something: as `stringFault`, or `DISALLOWED_CHARACTER`. */
export function identifierFault(source: Uint8Array, start: number, end: number): number {
  let at = start
  while (at < end) {
    const byte = source[at]!
    if (byte >= 0x20 && byte < 0x7f) {
      at += 1
    } else {
      if (byte === 0) return Fault.NULL_CHARACTER
      if (byte < 0x80) return Fault.DISALLOWED_CHARACTER
      const codePoint = decodeSequence(source, at, end)
      if (codePoint < 0) return Fault.ILL_FORMED_UTF8
      if (isDisallowed(codePoint)) return Fault.DISALLOWED_CHARACTER
      at += sequenceLength(codePoint)
    }
  }
  return Fault.NONE
}
