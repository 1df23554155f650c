// The fields that a packet of ours is made of, as bytes. MQTT 5.0 §1.5. Used a few times per connection;
// nothing here runs per PUBLISH.

import { DATA_TYPES, DataType } from './property.ts'
import { valueLength } from './property-reader.ts'
import { varintLength, writeVarint } from './varint.ts'

/**
 * A whole packet: `first` byte, Remaining Length, then `parts`.
 *
 * @param first type and flags
 */
export function packet(first: number, parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.of(first), varint(body.length), body])
}

/** Property Length and the properties. §2.2.2 */
export function propertyBlock(properties: readonly Buffer[]): Buffer {
  const body = Buffer.concat(properties)
  return Buffer.concat([varint(body.length), body])
}

/** Variable Byte Integer, 0 to 268_435_455. */
export function varint(value: number): Buffer {
  const bytes = Buffer.alloc(varintLength(value))
  writeVarint(bytes, value, 0)
  return bytes
}

/** Two Byte Integer; throws RangeError above 65_535. */
export function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

/** UTF-8 Encoded String or Binary Data with its length; throws RangeError above 65_535 bytes. */
export function field(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  return Buffer.concat([uint16(bytes.length), bytes])
}

/** One property with an integer value or a string, in the type that the table gives it. */
export function property(id: number, value: number | string): Buffer {
  if (typeof value === 'string') return Buffer.concat([Buffer.of(id), field(value)])
  if (DATA_TYPES[id] === DataType.UINT16) return Buffer.concat([Buffer.of(id), uint16(value)])
  const bytes = Buffer.alloc(5, id)
  bytes.writeUInt32BE(value, 1)
  return bytes
}

/**
 * The properties in `source[start, end)`, a block that the reader has accepted, as views in their order
 * and without those in `omitted`.
 */
export function propertiesWithout(
  source: Buffer,
  start: number,
  end: number,
  omitted: ReadonlySet<number>,
): Buffer[] {
  const kept: Buffer[] = []
  for (let at = start; at < end; ) {
    const id = source[at]!
    const next = at + 1 + valueLength(source, at + 1, end, DATA_TYPES[id]!)
    if (!omitted.has(id)) kept.push(source.subarray(at, next))
    at = next
  }
  return kept
}
