// User Properties of certain names: where they stand in a PUBLISH, and the block without them. Works on blocks that the
// reader has accepted. MQTT 5.0 §3.3.2.3.7. Hot path: `find` runs per head that is read, and allocates nothing.

import { DATA_TYPES, DataType, Property } from './property.ts'
import { readUint16, valueLength } from './property-reader.ts'

export class NamedProperties {
  /** Exact bytes; a name is found by its place here. */
  readonly names: readonly Buffer[]
  /** After a `find`: how many of all names there are. */
  count = 0
  readonly #counts: Int32Array
  readonly #starts: Int32Array
  readonly #ends: Int32Array

  constructor(names: readonly string[]) {
    this.names = names.map((name) => Buffer.from(name))
    this.#counts = new Int32Array(names.length)
    this.#starts = new Int32Array(names.length)
    this.#ends = new Int32Array(names.length)
  }

  /** Looks through `source[start, end)`. */
  find(source: Buffer, start: number, end: number): void {
    this.count = 0
    this.#counts.fill(0)
    for (let at = start; at < end; ) {
      const next = propertyEnd(source, at, end)
      const name = source[at] === Property.USER_PROPERTY ? this.#nameAt(source, at) : -1
      if (name >= 0) {
        this.count++
        this.#counts[name]!++
        this.#starts[name] = at + 5 + this.names[name]!.length
        this.#ends[name] = next
      }
      at = next
    }
  }

  /** After a `find`: how many bear the name. */
  countOf(name: number): number {
    return this.#counts[name]!
  }

  /** After a `find`: the value of the last that bears the name. */
  startOf(name: number): number {
    return this.#starts[name]!
  }

  endOf(name: number): number {
    return this.#ends[name]!
  }

  /** The other properties of `source[start, end)`, as views in their order. */
  others(source: Buffer, start: number, end: number): Buffer[] {
    const kept: Buffer[] = []
    let from = start
    for (let at = start; at < end; ) {
      const next = propertyEnd(source, at, end)
      if (source[at] === Property.USER_PROPERTY && this.#nameAt(source, at) >= 0) {
        if (at > from) kept.push(source.subarray(from, at))
        from = next
      }
      at = next
    }
    if (end > from) kept.push(source.subarray(from, end))
    return kept
  }

  /** Place of the name of the User Property at `at`; -1: another name. */
  #nameAt(source: Buffer, at: number): number {
    const { names } = this
    const start = at + 3
    const length = readUint16(source, at + 1)
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!
      if (name.length === length && name.compare(source, start, start + length) === 0) return i
    }
    return -1
  }
}

function propertyEnd(source: Buffer, at: number, end: number): number {
  const type = DATA_TYPES[source[at]!]!
  if (type !== DataType.STRING_PAIR) return at + 1 + valueLength(source, at + 1, end, type)
  const valueAt = at + 3 + readUint16(source, at + 1)
  return valueAt + 2 + readUint16(source, valueAt)
}
