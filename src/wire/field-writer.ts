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
  const length = lengthOf(parts)
  const bytes = Buffer.allocUnsafe(1 + varintLength(length) + length)
  bytes[0] = first
  writeVarint(bytes, length, 1)
  return withParts(bytes, parts)
}

/** Property Length and the properties. §2.2.2 */
export function propertyBlock(properties: readonly Buffer[]): Buffer {
  const length = lengthOf(properties)
  const bytes = Buffer.allocUnsafe(varintLength(length) + length)
  writeVarint(bytes, length, 0)
  return withParts(bytes, properties)
}

function lengthOf(parts: readonly Buffer[]): number {
  let length = 0
  for (const part of parts) length += part.length
  return length
}

/** Fills the end of `bytes`, which is as long as it needs to be. */
function withParts(bytes: Buffer, parts: readonly Buffer[]): Buffer {
  let at = bytes.length - lengthOf(parts)
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** Two Byte Integer; throws RangeError above 65_535. */
export function uint16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2)
  bytes.writeUInt16BE(value)
  return bytes
}

/** UTF-8 Encoded String or Binary Data with its length; throws RangeError above 65_535 bytes. */
export function field(value: string | Buffer): Buffer {
  const length = Buffer.byteLength(value)
  const bytes = Buffer.allocUnsafe(2 + length)
  bytes.writeUInt16BE(length)
  if (typeof value === 'string') bytes.write(value, 2)
  else bytes.set(value, 2)
  return bytes
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
