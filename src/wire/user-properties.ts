// User Properties of certain names: where they stand in a PUBLISH, and the block without them. Works on blocks that the
// reader has accepted. MQTT 5.0 §3.3.2.3.7. Hot path: `find` runs per head that is read, and allocates nothing.

import { DATA_TYPES, DataType, Property } from './property.ts'
import { readUint16, valueLength } from './property-reader.ts'

export class NamedProperties {
  /** Exact bytes; a name is found by its place here. */
  readonly names: readonly Buffer[]
  /** After a `find`: how many of all names there are. */
  count = 0
  #blockStart = 0
  #blockEnd = 0
  /** After a `find`: start and end of each property that bears a name, in their order. */
  readonly #places: number[] = []
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
    this.#blockStart = start
    this.#blockEnd = end
    this.#counts.fill(0)
    for (let at = start; at < end; ) {
      const next = propertyEnd(source, at, end)
      const name = source[at] === Property.USER_PROPERTY ? this.#nameAt(source, at) : -1
      if (name >= 0) {
        this.#places[2 * this.count] = at
        this.#places[2 * this.count + 1] = next
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

  /** After a `find`: bytes of the block without what bears a name. */
  get othersLength(): number {
    let length = this.#blockEnd - this.#blockStart
    for (let i = 0; i < this.count; i++) length -= this.#places[2 * i + 1]! - this.#places[2 * i]!
    return length
  }

  /**
   * After a `find`: copies the block without what bears a name, in its order.
   *
   * @returns where it ends in `target`
   */
  copyOthers(source: Buffer, target: Buffer, start: number): number {
    let at = start
    let from = this.#blockStart
    for (let i = 0; i < this.count; i++) {
      at += source.copy(target, at, from, this.#places[2 * i])
      from = this.#places[2 * i + 1]!
    }
    return at + source.copy(target, at, from, this.#blockEnd)
  }

  /** Place of the name of the User Property at `at`; -1: another name. */
  #nameAt(source: Buffer, at: number): number {
    const { names } = this
    const start = at + 3
    const length = readUint16(source, at + 1)
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!
      if (name.length === length && isAt(source, start, name)) return i
    }
    return -1
  }
}

/** From the back: names of one maker begin alike. */
function isAt(source: Buffer, start: number, name: Buffer): boolean {
  for (let i = name.length - 1; i >= 0; i--) if (source[start + i] !== name[i]) return false
  return true
}

function propertyEnd(source: Buffer, at: number, end: number): number {
  const type = DATA_TYPES[source[at]!]!
  if (type !== DataType.STRING_PAIR) return at + 1 + valueLength(source, at + 1, end, type)
  const valueAt = at + 3 + readUint16(source, at + 1)
  return valueAt + 2 + readUint16(source, valueAt)
}
