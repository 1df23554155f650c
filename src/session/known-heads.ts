// Heads of PUBLISH packets that were allowed, by their bytes: the same head under the same rights has the same answer,
// so it is neither read nor judged again. Bounded, per session and direction, dropped with every new set of rights.
//
// Hot path: runs per frame. Only heads that went on unchanged are here, and only such as depend on nothing but their
// bytes and the rights: no Topic Alias, no QoS 2, at most 127 bytes of properties.
//
//   | first byte | Remaining Length | topic length, topic | Packet Identifier | property length, properties | payload
//   |    key     |                  |         key         |                   |             key             |

import type { PreparedRecord } from '../audit/event.ts'
import type { PacketReader } from '../wire/packet-reader.ts'

/** Slots at first, and at most; a session that says the same thing again and again needs few. */
const FIRST_SLOTS = 16
const MOST_SLOTS = 4096
/** Slots that a head may stand in: what a peer can make us compare is bounded by this. */
const WAYS = 4
/** When half of the most slots are taken, one new head of so many is remembered: else each would only displace another. */
const NEWCOMERS = 16
/** Longest key. */
const MOST_BYTES = 512

export class KnownHead {
  /** Topic length and topic, then property length and properties. */
  readonly bytes: Buffer
  readonly firstByte: number
  readonly topicLength: number
  /** Payload length that the decision was made for; -1: it holds for every length. */
  readonly payloadLength: number
  /** What its audit record says whatever the payload; undefined: there is none. */
  readonly record: PreparedRecord | undefined

  constructor(
    bytes: Buffer,
    firstByte: number,
    topicLength: number,
    payloadLength: number,
    record: PreparedRecord | undefined,
  ) {
    this.bytes = bytes
    this.firstByte = firstByte
    this.topicLength = topicLength
    this.payloadLength = payloadLength
    this.record = record
  }
}

export class KnownHeads {
  /** After a `find`: of the frame found. `packetId` is 0 at QoS 0. */
  frameEnd = 0
  payloadStart = 0
  packetId = 0
  #rights = 0
  #slots: (KnownHead | undefined)[] = []
  #count = 0
  #last: KnownHead | undefined
  #turnedAway = 0

  /** Drops everything unless it was added under these rights. */
  use(rights: number): void {
    if (rights === this.#rights) return
    this.#rights = rights
    this.#slots = []
    this.#count = 0
    this.#last = undefined
  }

  get isEmpty(): boolean {
    return this.#count === 0
  }

  /** The known head of the frame whose head lies whole in `source[start, end)`, or undefined. Its body may be cut short. */
  find(source: Buffer, start: number, end: number): KnownHead | undefined {
    const first = source[start]!
    const qos = (first >> 1) & 3
    if (first >> 4 !== 3 || qos > 1 || end - start < 7) return undefined
    let remaining = source[start + 1]!
    let at = start + 2
    if (remaining >= 0x80) {
      let byte = source[at++]!
      remaining = (remaining & 0x7f) | ((byte & 0x7f) << 7)
      if (byte >= 0x80) {
        byte = source[at++]!
        remaining |= (byte & 0x7f) << 14
      }
      // Not minimal, or as long as only the reader need know.
      if (byte === 0 || byte >= 0x80) return undefined
    }
    const frameEnd = at + remaining
    if (at + 2 > end) return undefined
    const topicLength = (source[at]! << 8) | source[at + 1]!
    const topicEnd = at + 2 + topicLength
    const propertiesAt = qos === 0 ? topicEnd : topicEnd + 2
    if (propertiesAt >= frameEnd || propertiesAt >= end) return undefined
    const payloadStart = propertiesAt + 1 + source[propertiesAt]!
    if (payloadStart > frameEnd || payloadStart > end) return undefined

    let known = this.#last
    if (known === undefined || !isSame(known, source, first, at, topicEnd, propertiesAt, payloadStart)) {
      known = this.#search(source, first, at, topicEnd, propertiesAt, payloadStart)
      if (known === undefined) return undefined
      this.#last = known
    }
    if (known.payloadLength >= 0 && known.payloadLength !== frameEnd - payloadStart) return undefined
    this.packetId = qos === 0 ? 0 : (source[topicEnd]! << 8) | source[topicEnd + 1]!
    if (qos === 1 && this.packetId === 0) return undefined
    this.frameEnd = frameEnd
    this.payloadStart = payloadStart
    return known
  }

  /** Whether the head that `reader` has just read can be known by its bytes, and should be, and is not. */
  admits(reader: PacketReader): boolean {
    const { publish, source, headEnd, frameStart } = reader
    if (
      publish.qos === 2 ||
      publish.topicAlias > 0 ||
      publish.propertiesEnd - publish.propertiesStart >= 0x80 ||
      headEnd - frameStart >= MOST_BYTES
    ) {
      return false
    }
    const { topicStart, topicEnd, propertiesStart } = publish
    const first = source[frameStart]!
    const known = this.#search(source, first, topicStart - 2, topicEnd, propertiesStart - 1, headEnd)
    // Another length may have had another answer.
    if (known !== undefined && (known.payloadLength < 0 || known.payloadLength === publish.payloadLength)) {
      return false
    }
    return this.#count * 2 < MOST_SLOTS || ++this.#turnedAway % NEWCOMERS === 0
  }

  /**
   * Remembers the head that `reader` has just read, which it admits, as allowed and forwarded unchanged.
   *
   * @param anyLength the decision does not depend on the length of the payload
   */
  add(reader: PacketReader, anyLength: boolean, record: PreparedRecord | undefined): void {
    const { publish, source, headEnd, frameStart } = reader
    const bytes = Buffer.concat([
      source.subarray(publish.topicStart - 2, publish.topicEnd),
      source.subarray(publish.propertiesStart - 1, headEnd),
    ])
    const topicLength = publish.topicEnd - publish.topicStart
    const payloadLength = anyLength ? -1 : publish.payloadLength
    this.#insert(new KnownHead(bytes, source[frameStart]!, topicLength, payloadLength, record))
  }

  #insert(head: KnownHead): void {
    const size = this.#slots.length
    if (this.#count * 2 >= size && size < MOST_SLOTS) {
      const old = this.#slots
      this.#slots = new Array(size === 0 ? FIRST_SLOTS : size * 4).fill(undefined)
      this.#count = 0
      for (const each of old) if (each !== undefined) this.#insert(each)
    }
    const mask = this.#slots.length - 1
    const home = hashOf(head.bytes, 0, head.topicLength + 2)
    // In a full neighbourhood the newcomer takes the place of one: what is used often comes back soon.
    let slot = home & mask
    for (let i = 0; i < WAYS; i++) {
      const candidate = (home + i) & mask
      const there = this.#slots[candidate]
      if (there === undefined || sameKey(there, head)) {
        slot = candidate
        break
      }
    }
    if (this.#slots[slot] === undefined) this.#count += 1
    this.#slots[slot] = head
  }

  #search(
    source: Buffer,
    first: number,
    topicAt: number,
    topicEnd: number,
    propertiesAt: number,
    payloadStart: number,
  ): KnownHead | undefined {
    if (this.#count === 0) return undefined
    const mask = this.#slots.length - 1
    const home = hashOf(source, topicAt, topicEnd)
    for (let i = 0; i < WAYS; i++) {
      const known = this.#slots[(home + i) & mask]
      if (known === undefined) return undefined
      if (isSame(known, source, first, topicAt, topicEnd, propertiesAt, payloadStart)) return known
    }
    return undefined
  }
}

function isSame(
  known: KnownHead,
  source: Buffer,
  first: number,
  topicAt: number,
  topicEnd: number,
  propertiesAt: number,
  payloadStart: number,
): boolean {
  const { bytes } = known
  const topicBytes = topicEnd - topicAt
  if (known.firstByte !== first || known.topicLength + 2 !== topicBytes) return false
  if (bytes.length - topicBytes !== payloadStart - propertiesAt) return false
  // From the back: topics of one session begin alike.
  for (let i = topicBytes - 1, j = topicEnd - 1; i >= 0; i--, j--) if (bytes[i] !== source[j]) return false
  for (let i = topicBytes, j = propertiesAt; j < payloadStart; i++, j++)
    if (bytes[i] !== source[j]) return false
  return true
}

function sameKey(a: KnownHead, b: KnownHead): boolean {
  return a.firstByte === b.firstByte && a.topicLength === b.topicLength && a.bytes.equals(b.bytes)
}

function hashOf(source: Buffer, start: number, end: number): number {
  let hash = end - start
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + source[i]!) | 0
  return (hash ^ (hash >>> 15)) & 0x7fffffff
}
