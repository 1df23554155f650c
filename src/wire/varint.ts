// Variable Byte Integers. MQTT 5.0 §1.5.5. Hot path: allocates nothing.

/** Largest value of four bytes. */
export const VARINT_MAX = 268_435_455

/** Results of `readVarint` that are no value. */
export const Varint = { CUT_SHORT: -1, TOO_LONG: -2, NOT_MINIMAL: -3 } as const

/**
 * Reads a Variable Byte Integer at `start`.
 *
 * @returns the value (0 to 268_435_455), whose size is `varintLength(value)`; or `CUT_SHORT` if `end`
 *   comes before its last byte, `TOO_LONG` if a fourth byte asks for a fifth, `NOT_MINIMAL` if a
 *   shorter form exists.
 * @source MQTT 5.0 §1.5.5 [MQTT-1.5.5-1]
 */
export function readVarint(source: Uint8Array, start: number, end: number): number {
  let value = 0
  for (let i = 0; i < 4; i++) {
    if (start + i >= end) return Varint.CUT_SHORT
    const byte = source[start + i]!
    value |= (byte & 0x7f) << (7 * i)
    if (byte < 0x80) return byte === 0 && i > 0 ? Varint.NOT_MINIMAL : value
  }
  return Varint.TOO_LONG
}

/** Bytes of the shortest form of `value`. */
export function varintLength(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  return value < 0x20_0000 ? 3 : 4
}

/**
 * Writes the shortest form of `value` (0 to 268_435_455) at `start`.
 *
 * @returns the offset after it.
 */
export function writeVarint(target: Uint8Array, value: number, start: number): number {
  let rest = value
  let at = start
  while (rest > 0x7f) {
    target[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[at++] = rest
  return at
}
