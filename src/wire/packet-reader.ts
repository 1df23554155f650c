// The strict streaming reader: finds the packets in a stream of chunks and reads their heads. It knows
// bytes and MQTT 5.0, not connections or permissions. Hot path: runs per frame; integer fields only, and
// nothing is allocated unless a head straddles two chunks.
//
//   chunk 1               chunk 2
//   [frame][fra    |      me][frame][payload...
//           ^ incomplete head is copied to the seam, which grows as bytes come and is given away

import { readAck, readAuth, readCodes, readDisconnect } from './ack-reader.ts'
import { readConnack } from './connack-reader.ts'
import { measureVersion, readConnect } from './connect-reader.ts'
import { Direction, PacketType } from './control-packet.ts'
import { Fault } from './fault.ts'
import { readFilters } from './filter-reader.ts'
import { FIRST_BYTE_FAULTS, variableHeaderStart } from './fixed-header.ts'
import { AckHead, CodeList, ConnackHead, ConnectHead, FilterList, PublishHead } from './heads.ts'
import { PropertyReader } from './property-reader.ts'
import { measurePublish, readPublish } from './publish-reader.ts'
import { readVarint, Varint, varintLength } from './varint.ts'

/** What `next` found. */
export const Step = { NEED_MORE: 0, HEAD: 1, FAULT: 2 } as const
export type Step = (typeof Step)[keyof typeof Step]

export interface ReaderLimits {
  /** Longest head of a PUBLISH (fixed header to end of properties), bytes. */
  publishHeadBytes: number
  /** Longest other packet, whole, bytes. For CONNECT see `connectBytes`. */
  controlPacketBytes: number
  connectBytes: number
  /** Most filters in one SUBSCRIBE or UNSUBSCRIBE. */
  filters: number
  /** Most User Properties in one packet (J7). */
  userProperties: number
  /** Whole-packet limit, Remaining Length and fixed header, bytes: the Maximum Packet Size told to the peer. */
  packetBytes: number
}

const NOTHING = Buffer.alloc(0)

/** First size of a seam, bytes, unless the head is known to be shorter. */
const SEAM_BYTES = 64

/** One for each direction, since what it read of a block is copied before the next block is read. */
const PROPERTIES = [
  new PropertyReader(Direction.CLIENT_TO_SERVER),
  new PropertyReader(Direction.SERVER_TO_CLIENT),
] as const
/** Heads of packets that come seldom are made for the packet; before there is one, these stand for it. */
const NO_FILTERS = new FilterList()
const NO_CODES = new CodeList()
const NO_CONNECT = new ConnectHead()
const NO_CONNACK = new ConnackHead()

/**
 * Strict streaming reader for one direction of one connection.
 *
 * `load` a chunk, then call `next` until it stops returning `HEAD`. How the stream is cut into chunks
 * never changes what is found.
 */
export class PacketReader {
  /** May be tightened between packets, where the reader has them for itself. */
  limits: ReaderLimits
  /** Type and low nibble of the first byte of the packet. */
  packetType = 0
  flags = 0
  /** What the offsets of this reader and its heads point into: the chunk or, if `fromSeam`, the seam. */
  source: Buffer = NOTHING
  fromSeam = false
  /** First byte of the frame in `source`; after `FAULT` that of the bad frame. */
  frameStart = 0
  headEnd = 0
  /** Whole frame, bytes. */
  frameLength = 0
  /** Bytes of the frame behind its head; 0 for anything but PUBLISH. */
  bodyLength = 0
  /** Offset in the chunk after the head. */
  pos = 0
  /** Bytes of the current body that were not passed yet. */
  tail = 0
  /** Index into `FAULTS`. Once set, every `next` returns `FAULT`. */
  fault: number = Fault.NONE
  readonly publish = new PublishHead()
  /** PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT, AUTH. */
  readonly ack = new AckHead()
  /** SUBSCRIBE, UNSUBSCRIBE. */
  filters: FilterList = NO_FILTERS
  /** SUBACK, UNSUBACK. */
  codes: CodeList = NO_CODES
  connect: ConnectHead = NO_CONNECT
  connack: ConnackHead = NO_CONNACK

  readonly #direction: Direction
  readonly #firstByteFaults: Uint8Array
  #chunk: Buffer = NOTHING
  #seam: Buffer = NOTHING
  #seamLength = 0
  /** Bytes that the head in the seam has at least: not worth another look before. */
  #seamNeeds = 0

  constructor(direction: Direction, limits: ReaderLimits) {
    this.limits = limits
    this.#direction = direction
    this.#firstByteFaults = FIRST_BYTE_FAULTS[direction]
  }

  /**
   * Takes the next chunk (1 byte or more), when `next` has returned `NEED_MORE` for the one before. The
   * reader refers to it until it is exhausted. If `tail` > 0 now, the chunk begins with that much body.
   */
  load(chunk: Buffer): void {
    this.#chunk = chunk
    this.pos = 0
  }

  /** Where the next frame starts in the chunk, if no part of its head came before and none of its bytes are known yet; else -1. */
  get nextStart(): number {
    if (this.#seamLength > 0 || this.fault !== Fault.NONE) return -1
    const start = this.pos + this.tail
    return start < this.#chunk.length ? start : -1
  }

  /**
   * Goes on at `frameEnd`, without reading what is before it: whole frames, as the caller knows, except that the body of
   * the last one may go on behind the chunk.
   */
  skipTo(frameEnd: number): void {
    this.pos = Math.min(frameEnd, this.#chunk.length)
    this.tail = frameEnd - this.pos
  }

  /**
   * Passes the body of the current PUBLISH and reads the head behind it.
   *
   * @returns `HEAD` with the fields and the matching head object filled; `NEED_MORE` at the end of the
   *   chunk; `FAULT` for good, with `fault` set and every head before it already returned.
   */
  next(): Step {
    if (this.fault !== Fault.NONE) return Step.FAULT
    const chunk = this.#chunk
    if (this.#seamLength > 0) return this.#nextFromSeam(chunk)
    let start = this.pos
    if (this.tail > 0) {
      const passed = Math.min(this.tail, chunk.length - start)
      this.tail -= passed
      start += passed
      this.pos = start
    }
    this.fromSeam = false
    if (start === chunk.length) return this.#exhausted()
    this.source = chunk
    this.frameStart = start
    const needs = this.#measure(chunk, start, chunk.length)
    if (needs < 0) return this.#fail(-needs)
    if (start + needs > chunk.length) {
      this.#seamNeeds = needs
      this.#extendSeam(chunk, chunk.length - start)
      return this.#exhausted()
    }
    this.pos = start + needs
    return this.#finish(chunk, start, needs)
  }

  /**
   * Takes back the head just found: the reader stands before its frame again, and is to be given all of it again.
   *
   * @returns where in the chunk that frame begins; if `fromSeam`, where what comes after its head does
   */
  unread(): number {
    const at = this.fromSeam ? this.pos : this.frameStart
    this.tail = 0
    this.#chunk = NOTHING
    return at
  }

  /** Lets go of what is read once for a connection: CONNECT or CONNACK. */
  forgetOpening(): void {
    this.connect = NO_CONNECT
    this.connack = NO_CONNACK
  }

  /**
   * The head just found, when `fromSeam`: a Buffer of its own with exactly the head, which the caller
   * may keep or write. To be called at most once per head.
   */
  takeSeam(): Buffer {
    return this.source
  }

  #nextFromSeam(chunk: Buffer): Step {
    for (;;) {
      this.#extendSeam(chunk, Math.min(this.#seamNeeds - this.#seamLength, chunk.length - this.pos))
      if (this.#seamLength < this.#seamNeeds) return this.#exhausted()
      const seam = this.#seam
      const length = this.#seamLength
      const needs = this.#measure(seam, 0, length)
      this.source = seam
      this.fromSeam = true
      this.frameStart = 0
      if (needs < 0) return this.#fail(-needs)
      if (needs <= length) {
        // Measured without a byte to spare, so `seam` is exactly the head.
        this.#seam = NOTHING
        this.#seamLength = 0
        return this.#finish(seam, 0, needs)
      }
      this.#seamNeeds = needs
    }
  }

  /** Moves `count` bytes at `pos` to the seam, which never grows beyond what the head is known to need. */
  #extendSeam(chunk: Buffer, count: number): void {
    const length = this.#seamLength + count
    if (length > this.#seam.length) {
      const size = Math.max(length, 2 * this.#seam.length, SEAM_BYTES)
      const grown = Buffer.allocUnsafe(Math.min(size, this.#seamNeeds))
      this.#seam.copy(grown, 0, 0, this.#seamLength)
      this.#seam = grown
    }
    chunk.copy(this.#seam, this.#seamLength, this.pos, this.pos + count)
    this.#seamLength = length
    this.pos += count
  }

  /** Lets go of the chunk, so that an idle connection holds no bytes but a seam. */
  #exhausted(): Step {
    this.#chunk = NOTHING
    this.source = NOTHING
    return Step.NEED_MORE
  }

  #fail(fault: number): Step {
    this.fault = fault
    return Step.FAULT
  }

  /**
   * Looks at the lengths of the frame at `start`, in the order of their bytes, and at nothing that the
   * bytes before `end` do not show yet: what it says depends on those bytes only, not on the chunks.
   *
   * @returns length of the head if that is at most `end - start`; else a lower bound of it, more than
   *   `end - start`; or a negated `Fault`.
   */
  #measure(source: Buffer, start: number, end: number): number {
    const first = source[start]!
    const type = first >> 4
    this.packetType = type
    this.flags = first & 0x0f
    const fault = this.#firstByteFaults[first]!
    if (fault !== Fault.NONE) return -fault
    if (start + 1 === end) return 2
    let remaining = source[start + 1]!
    let at = start + 2
    if (remaining >= 0x80) {
      remaining = readVarint(source, start + 1, end)
      if (remaining === Varint.CUT_SHORT) return end - start + 1
      if (remaining === Varint.NOT_MINIMAL) return -Fault.REMAINING_LENGTH_NOT_MINIMAL
      if (remaining === Varint.TOO_LONG) return -Fault.REMAINING_LENGTH_TOO_LONG
      at = start + 1 + varintLength(remaining)
    }
    const frameEnd = at + remaining
    const frameLength = frameEnd - start
    const limits = this.limits
    if (frameLength > limits.packetBytes) return -Fault.PACKET_TOO_LARGE
    this.frameLength = frameLength
    if (type === PacketType.PUBLISH) {
      return measurePublish(this.publish, source, start, at, end, frameEnd, limits.publishHeadBytes)
    }
    if (type === PacketType.CONNECT) {
      if (frameLength > limits.connectBytes) return -Fault.CONTROL_PACKET_TOO_LARGE
      const version = measureVersion(source, at, end, frameEnd)
      if (version !== 0) return version < 0 ? version : at + version - start
    } else if (frameLength > limits.controlPacketBytes) {
      return -Fault.CONTROL_PACKET_TOO_LARGE
    }
    return frameLength
  }

  /** Reads the complete head of `length` bytes at `start`. */
  #finish(source: Buffer, start: number, length: number): Step {
    const headEnd = start + length
    const fault = this.#read(source, start, headEnd)
    if (fault !== Fault.NONE) return this.#fail(fault)
    this.headEnd = headEnd
    this.bodyLength = this.frameLength - length
    this.tail = this.bodyLength
    return Step.HEAD
  }

  #read(source: Buffer, start: number, end: number): number {
    const type = this.packetType
    const properties = PROPERTIES[this.#direction]
    const most = this.limits.userProperties
    if (type === PacketType.PUBLISH) {
      const isDelivery = this.#direction === Direction.SERVER_TO_CLIENT
      return readPublish(this.publish, properties, source, this.flags, most, isDelivery)
    }
    const at = variableHeaderStart(source, start)
    switch (type) {
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBREL:
      case PacketType.PUBCOMP:
        return readAck(this.ack, properties, source, at, end, type, this.#direction, most)
      case PacketType.SUBSCRIBE:
      case PacketType.UNSUBSCRIBE:
        this.filters = new FilterList()
        return readFilters(this.filters, properties, source, at, end, type, this.limits.filters, most)
      case PacketType.SUBACK:
      case PacketType.UNSUBACK:
        this.codes = new CodeList()
        return readCodes(this.codes, properties, source, at, end, type, this.#direction, most)
      case PacketType.CONNECT:
        this.connect = new ConnectHead()
        return readConnect(this.connect, properties, source, at, end, most)
      case PacketType.CONNACK:
        this.connack = new ConnackHead()
        return readConnack(this.connack, properties, source, at, end, most)
      case PacketType.DISCONNECT:
        return readDisconnect(this.ack, properties, source, at, end, this.#direction, most)
      case PacketType.AUTH:
        return readAuth(this.ack, properties, source, at, end, this.#direction, most)
      default:
        return at === end ? Fault.NONE : Fault.TRAILING_BYTES // PINGREQ, PINGRESP
    }
  }
}
