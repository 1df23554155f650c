// Heads of PUBLISH packets that were allowed, by their bytes: the same head under the same rights has the same answer,
// so it is neither read nor judged again. Bounded, per session and direction, dropped with every new set of rights.
//
// Hot path: runs per frame. Only such heads are here as depend on nothing but their bytes and the rights: no Topic
// Alias, no QoS 2. What goes out is the head as it came, or always the same other one.
//
//   | first byte | Remaining Length | topic length, topic | Packet Identifier | property length, properties | payload
//   |    key     |                  |         key         |                   |             key             |

import type { PreparedRecord } from '../audit/event.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { varintLength } from '../wire/varint.ts'
import type { MessageRights } from './message-rights.ts'

/** Slots at first, and at most; a session that says the same thing again and again needs few. */
const FIRST_SLOTS = 16
const MOST_SLOTS = 4096
/** Slots that a head may stand in: what a peer can make us compare is bounded by this. */
const WAYS = 4
/** When half of what there may be is taken, one new head of so many is remembered: else each would only displace another. */
const NEWCOMERS = 16
/** Longest key, and all keys of one session together; above, the session starts anew. */
const MOST_BYTES = 4096
const MOST_TOTAL_BYTES = 2 * 1024 * 1024
/** Bytes of the properties that the place of a head is made of: tokens begin alike. */
const SAMPLES = 16
/** From here on the comparison in native code is the faster one. */
const LONG = 48

/** What a head becomes, and what that rests on besides the rights of the connection. */
export interface HeadChanges {
  /** Topic length and topic, Packet Identifier at QoS 1, property length and properties. */
  readonly forwarded: Buffer
  /** Where in it the Packet Identifier stands; 0 at QoS 0. */
  readonly idAt: number
  /** undefined: nothing else. */
  readonly rights: MessageRights | undefined
}

export class KnownHead {
  /** Topic length and topic, then property length and properties. */
  readonly bytes: Buffer
  readonly firstByte: number
  readonly topicLength: number
  /** Payload length that the decision was made for; -1: it holds for every length. */
  readonly payloadLength: number
  /** It has a Response Topic. */
  readonly isRequest: boolean
  /** What its audit record says whatever the payload; undefined: there is none. */
  readonly record: PreparedRecord | undefined
  /** undefined: it goes out as it came. */
  readonly changes: HeadChanges | undefined

  constructor(
    bytes: Buffer,
    firstByte: number,
    topicLength: number,
    payloadLength: number,
    isRequest: boolean,
    record: PreparedRecord | undefined,
    changes: HeadChanges | undefined,
  ) {
    this.isRequest = isRequest
    this.bytes = bytes
    this.firstByte = firstByte
    this.topicLength = topicLength
    this.payloadLength = payloadLength
    this.record = record
    this.changes = changes
  }
}

const NO_SLOTS: (KnownHead | undefined)[] = []
const NO_PLACES = new Int32Array(0)

export class KnownHeads {
  /** After a `find`: of the frame found. `packetId` is 0 at QoS 0. */
  frameEnd = 0
  payloadStart = 0
  packetId = 0
  #rights = 0
  #slots = NO_SLOTS
  /** `placeOf` of each; 0: the slot is empty. So that others need not be looked at. */
  #places = NO_PLACES
  #count = 0
  #bytes = 0
  #last: KnownHead | undefined
  #turnedAway = 0

  /** Drops everything unless it was added under these rights. */
  use(rights: number): void {
    if (rights === this.#rights) return
    this.#rights = rights
    this.#drop()
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
    let payloadStart = propertiesAt + 1 + source[propertiesAt]!
    // What is not minimal or too long is not among the known ones, whatever is made of it here.
    if (source[propertiesAt]! >= 0x80) payloadStart += 1 - 0x80 + (source[propertiesAt + 1]! << 7)
    if (payloadStart > frameEnd || payloadStart > end) return undefined

    let known = this.#last
    // Of long ones the one before is seldom the same, and to compare them costs more than to find them.
    if (payloadStart - propertiesAt >= LONG) known = undefined
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
    // Correlation Data is never the same again.
    const mayComeAgain = publish.topicAlias === 0 && publish.correlationDataStart < 0
    if (!mayComeAgain || publish.qos === 2 || headEnd - frameStart >= MOST_BYTES) return false
    const { topicStart, topicEnd } = publish
    const first = source[frameStart]!
    const known = this.#search(source, first, topicStart - 2, topicEnd, lengthAtOf(reader), headEnd)
    // Another length may have had another answer, and a message of its own rights another token.
    const isKnown = known !== undefined && known.changes?.rights?.forgotten !== true
    if (isKnown && (known.payloadLength < 0 || known.payloadLength === publish.payloadLength)) return false
    const isHalfFull = this.#count * 2 >= MOST_SLOTS || this.#bytes * 2 >= MOST_TOTAL_BYTES
    return !isHalfFull || ++this.#turnedAway % NEWCOMERS === 0
  }

  /**
   * Remembers the head that `reader` has just read, which it admits, as allowed.
   *
   * @param anyLength the decision does not depend on the length of the payload
   * @param changes undefined: it was forwarded unchanged
   */
  add(
    reader: PacketReader,
    anyLength: boolean,
    record: PreparedRecord | undefined,
    changes: HeadChanges | undefined,
  ): void {
    const { publish, source, headEnd, frameStart } = reader
    const bytes = Buffer.concat([
      source.subarray(publish.topicStart - 2, publish.topicEnd),
      source.subarray(lengthAtOf(reader), headEnd),
    ])
    const topicLength = publish.topicEnd - publish.topicStart
    const payloadLength = anyLength ? -1 : publish.payloadLength
    const isRequest = publish.responseTopicStart >= 0
    const head = [bytes, source[frameStart]!, topicLength, payloadLength, isRequest, record, changes] as const
    this.#insert(new KnownHead(...head))
  }

  #insert(head: KnownHead): void {
    if (this.#bytes > MOST_TOTAL_BYTES) this.#drop()
    const size = this.#slots.length
    if (this.#count * 2 >= size && size < MOST_SLOTS) {
      const old = this.#slots
      this.#slots = new Array(size === 0 ? FIRST_SLOTS : size * 4).fill(undefined)
      this.#places = new Int32Array(this.#slots.length)
      this.#count = 0
      this.#bytes = 0
      for (const each of old) if (each !== undefined) this.#insert(each)
    }
    const { bytes, topicLength } = head
    const mask = this.#slots.length - 1
    const place = placeOf(bytes, 0, topicLength + 2, topicLength + 2, bytes.length)
    // In a full neighbourhood the newcomer takes the place of one: what is used often comes back soon.
    let slot = place & mask
    for (let i = 0; i < WAYS; i++) {
      const candidate = (place + i) & mask
      const there = this.#slots[candidate]
      if (there === undefined || sameKey(there, head)) {
        slot = candidate
        break
      }
    }
    const former = this.#slots[slot]
    if (former === undefined) this.#count += 1
    else this.#bytes -= sizeOf(former)
    this.#bytes += sizeOf(head)
    this.#slots[slot] = head
    this.#places[slot] = place
  }

  #drop(): void {
    this.#slots = NO_SLOTS
    this.#count = 0
    this.#bytes = 0
    this.#last = undefined
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
    const place = placeOf(source, topicAt, topicEnd, propertiesAt, payloadStart)
    for (let i = 0; i < WAYS; i++) {
      const slot = (place + i) & mask
      const there = this.#places[slot]!
      if (there === 0) return undefined
      if (there !== place) continue
      const known = this.#slots[slot]!
      if (isSame(known, source, first, topicAt, topicEnd, propertiesAt, payloadStart)) return known
    }
    return undefined
  }
}

let view: DataView = new DataView(new ArrayBuffer(0))

/**
 * How many frames that follow one another in `source` have the same head, byte for byte, as the frame at `start`, and so
 * the same length. The body of the last one may be cut short.
 *
 * @param headLength of the frame at `start`, without Packet Identifier; 4 or more
 */
export function repeatsOf(source: Buffer, start: number, headLength: number, frameLength: number): number {
  const last = source.length - headLength
  let at = start + frameLength
  if (at > last) return 0
  if (view.buffer !== source.buffer) view = new DataView(source.buffer)
  // Four bytes at a time: this is most of what a small message costs.
  const words = view
  const offset = source.byteOffset
  const lastWord = headLength - 4
  let count = 0
  for (; at <= last; at += frameLength) {
    const there = offset + at
    const before = there - frameLength
    let i = 0
    while (i < lastWord && words.getInt32(there + i) === words.getInt32(before + i)) i += 4
    if (i < lastWord || words.getInt32(there + lastWord) !== words.getInt32(before + lastWord)) break
    count++
  }
  return count
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
  if (payloadStart - propertiesAt >= LONG) {
    return bytes.compare(source, propertiesAt, payloadStart, topicBytes) === 0
  }
  for (let i = topicBytes, j = propertiesAt; j < payloadStart; i++, j++)
    if (bytes[i] !== source[j]) return false
  return true
}

function sameKey(a: KnownHead, b: KnownHead): boolean {
  return a.firstByte === b.firstByte && a.topicLength === b.topicLength && a.bytes.equals(b.bytes)
}

/** Where the Property Length stands. */
function lengthAtOf({ publish }: PacketReader): number {
  return publish.propertiesStart - varintLength(publish.propertiesEnd - publish.propertiesStart)
}

function sizeOf({ bytes, changes }: KnownHead): number {
  return bytes.length + (changes?.forwarded.length ?? 0)
}

/** Not 0. */
function placeOf(source: Buffer, start: number, end: number, propertiesAt: number, headEnd: number): number {
  let hash = end - start
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + source[i]!) | 0
  const step = Math.max(1, ((headEnd - propertiesAt) / SAMPLES) | 0)
  for (let i = headEnd - 1; i > propertiesAt; i -= step) hash = (Math.imul(hash, 31) + source[i]!) | 0
  return ((hash ^ (hash >>> 15)) & 0x7fffffff) | 0x4000_0000
}
