// Reads one property block: every property is checked against the table, values by range, and the ones
// that a head may ask for are kept. MQTT 5.0 §2.2.2. Hot path: no allocation, linear in the block.

import { Direction, PacketType } from './control-packet.ts'
import { Fault } from './fault.ts'
import { DATA_TYPES, DataType, LEGAL_PACKETS, PROPERTY_COUNT, Property } from './property.ts'
import { topicNameFault } from './topic-syntax.ts'
import { identifierFault, stringFault } from './utf8.ts'
import { readVarint, Varint, varintLength } from './varint.ts'

const TRACEPARENT = Buffer.from('traceparent')

/** Bit sets like `LEGAL_PACKETS`: where a property may not travel in a direction, by Property Identifier. */
const WRONG_WAY = [new Uint16Array(PROPERTY_COUNT), new Uint16Array(PROPERTY_COUNT)] as const
WRONG_WAY[Direction.CLIENT_TO_SERVER][Property.SUBSCRIPTION_IDENTIFIER] = 1 << PacketType.PUBLISH
WRONG_WAY[Direction.CLIENT_TO_SERVER][Property.SERVER_REFERENCE] = 1 << PacketType.DISCONNECT
WRONG_WAY[Direction.SERVER_TO_CLIENT][Property.SESSION_EXPIRY_INTERVAL] = 1 << PacketType.DISCONNECT

/**
 * The property block read last. One per direction, filled anew for each block; User Properties are counted
 * from `reset` on, so that a CONNECT and its will share one allowance.
 */
export class PropertyReader {
  /** Where the block lies, set by `read` and `readBlock`; start is the byte after Property Length. */
  start = 0
  end = 0
  /** Value of the User Property `traceparent`; -1 without one. */
  traceparentStart = -1
  traceparentEnd = -1
  #seenLow = 0
  #seenHigh = 0
  #userProperties = 0
  readonly #values = new Float64Array(PROPERTY_COUNT)
  readonly #starts = new Int32Array(PROPERTY_COUNT)
  readonly #ends = new Int32Array(PROPERTY_COUNT)
  readonly #wrongWay: Uint16Array
  readonly #isLenient: boolean

  constructor(direction: Direction) {
    this.#wrongWay = WRONG_WAY[direction]
    this.#isLenient = direction === Direction.SERVER_TO_CLIENT
  }

  /** Starts a packet: nothing seen, no User Property counted. */
  reset(): void {
    this.#seenLow = 0
    this.#seenHigh = 0
    this.#userProperties = 0
    this.traceparentStart = -1
    this.start = 0
    this.end = 0
  }

  has(property: number): boolean {
    return ((property < 32 ? this.#seenLow : this.#seenHigh) & (1 << (property & 31))) !== 0
  }

  /** Integer value, or `absent`. Of a repeated Subscription Identifier: the last. */
  value(property: number, absent: number): number {
    return this.has(property) ? this.#values[property]! : absent
  }

  /** Start of the bytes of a string or Binary Data, or -1. */
  startOf(property: number): number {
    return this.has(property) ? this.#starts[property]! : -1
  }

  endOf(property: number): number {
    return this.has(property) ? this.#ends[property]! : -1
  }

  /**
   * Reads Property Length at `at` and the block behind it, which must lie before `end`.
   *
   * @returns a `Fault`. The block is then at `start` to `end` of this object.
   */
  readBlock(source: Uint8Array, at: number, end: number, packet: number, userProperties: number): number {
    const length = readVarint(source, at, end)
    if (length < 0) return propertyLengthFault(length)
    const start = at + varintLength(length)
    if (length > end - start) return Fault.PROPERTY_LENGTH_PAST_END
    return this.read(source, start, start + length, packet, userProperties)
  }

  /**
   * Reads the properties in `source[start, end)`.
   *
   * @param packet packet type, or `WILL`
   * @param userProperties most User Properties since `reset`
   * @returns a `Fault`
   */
  read(source: Uint8Array, start: number, end: number, packet: number, userProperties: number): number {
    this.start = start
    this.end = end
    this.#seenLow = 0
    this.#seenHigh = 0
    let at = start
    while (at < end) {
      const id = source[at]!
      const type = id < PROPERTY_COUNT ? DATA_TYPES[id]! : DataType.UNKNOWN
      if (type === DataType.UNKNOWN) return Fault.UNKNOWN_PROPERTY
      if ((LEGAL_PACKETS[id]! & (1 << packet)) === 0) return Fault.PROPERTY_NOT_ALLOWED
      if ((this.#wrongWay[id]! & (1 << packet)) !== 0) return Fault.PROPERTY_WRONG_DIRECTION
      if (type === DataType.STRING_PAIR) {
        this.#userProperties += 1
        if (this.#userProperties > userProperties) return Fault.TOO_MANY_USER_PROPERTIES
      } else if (
        this.has(id) &&
        !(id === Property.SUBSCRIPTION_IDENTIFIER && packet === PacketType.PUBLISH)
      ) {
        return Fault.DUPLICATE_PROPERTY
      }
      at += 1
      const length = valueLength(source, at, end, type)
      if (length < 0) return -length
      const fault = this.#take(source, at, at + length, id, type)
      if (fault !== Fault.NONE) return fault
      if (id < 32) this.#seenLow |= 1 << id
      else this.#seenHigh |= 1 << (id & 31)
      at += length
    }
    return Fault.NONE
  }

  /** Checks and keeps the value of `id` in `source[start, end)`, length prefix included. */
  #take(source: Uint8Array, start: number, end: number, id: number, type: number): number {
    switch (type) {
      case DataType.FLAG:
        this.#values[id] = source[start]!
        return source[start]! > 1 ? Fault.INVALID_FLAG_PROPERTY : Fault.NONE
      case DataType.UINT16:
        this.#values[id] = readUint16(source, start)
        break
      case DataType.UINT32:
        this.#values[id] = readUint16(source, start) * 0x1_0000 + readUint16(source, start + 2)
        break
      case DataType.VARINT:
        this.#values[id] = readVarint(source, start, end)
        break
      case DataType.STRING_PAIR: {
        const valueStart = start + 2 + readUint16(source, start)
        const fault = stringFault(source, start + 2, valueStart)
        if (fault !== Fault.NONE) return fault
        if (isTraceparent(source, start + 2, valueStart)) {
          this.traceparentStart = valueStart + 2
          this.traceparentEnd = end
        }
        return stringFault(source, valueStart + 2, end)
      }
      default:
        this.#starts[id] = start + 2
        this.#ends[id] = end
        return type === DataType.STRING
          ? stringPropertyFault(source, start + 2, end, id, this.#isLenient)
          : Fault.NONE
    }
    return this.#values[id] === 0 ? zeroFault(id) : Fault.NONE
  }
}

/** Whether this name of a User Property is the one that carries the trace; the length tells most others apart. */
function isTraceparent(source: Uint8Array, start: number, end: number): boolean {
  if (end - start !== TRACEPARENT.length) return false
  for (let i = 0; i < TRACEPARENT.length; i++) if (source[start + i] !== TRACEPARENT[i]) return false
  return true
}

/** Fault for a Property Length that `readVarint` refused within a complete packet. */
export function propertyLengthFault(result: number): number {
  if (result === Varint.CUT_SHORT) return Fault.FIELD_PAST_END
  return result === Varint.NOT_MINIMAL ? Fault.PROPERTY_LENGTH_NOT_MINIMAL : Fault.PROPERTY_LENGTH_TOO_LONG
}

/** Two Byte Integer, big-endian. §1.5.2 */
export function readUint16(source: Uint8Array, at: number): number {
  return (source[at]! << 8) | source[at + 1]!
}

/** Bytes of a value of `type` at `at`, length prefixes included; a negated `Fault` if it does not fit. */
export function valueLength(source: Uint8Array, at: number, end: number, type: number): number {
  let length = 0
  switch (type) {
    case DataType.FLAG:
      length = 1
      break
    case DataType.UINT16:
      length = 2
      break
    case DataType.UINT32:
      length = 4
      break
    case DataType.VARINT: {
      const value = readVarint(source, at, end)
      if (value === Varint.CUT_SHORT) return -Fault.PROPERTY_PAST_END
      return value < 0 ? -Fault.MALFORMED_SUBSCRIPTION_IDENTIFIER : varintLength(value)
    }
    case DataType.STRING_PAIR:
      if (at + 2 > end) return -Fault.PROPERTY_PAST_END
      length = 2 + readUint16(source, at)
      if (at + length + 2 > end) return -Fault.PROPERTY_PAST_END
      length += 2 + readUint16(source, at + length)
      break
    default:
      if (at + 2 > end) return -Fault.PROPERTY_PAST_END
      length = 2 + readUint16(source, at)
  }
  return at + length > end ? -Fault.PROPERTY_PAST_END : length
}

function stringPropertyFault(
  source: Uint8Array,
  start: number,
  end: number,
  id: number,
  isLenient: boolean,
): number {
  if (id === Property.ASSIGNED_CLIENT_IDENTIFIER) return identifierFault(source, start, end)
  // A reply to a Response Topic of a delivery is judged when the agent sends it.
  if (id !== Property.RESPONSE_TOPIC || isLenient) return stringFault(source, start, end)
  if (start === end) return Fault.EMPTY_RESPONSE_TOPIC
  const fault = topicNameFault(source, start, end, false)
  return fault === Fault.WILDCARD_IN_TOPIC_NAME ? Fault.WILDCARD_IN_RESPONSE_TOPIC : fault
}

function zeroFault(id: number): number {
  switch (id) {
    case Property.RECEIVE_MAXIMUM:
      return Fault.ZERO_RECEIVE_MAXIMUM
    case Property.MAXIMUM_PACKET_SIZE:
      return Fault.ZERO_MAXIMUM_PACKET_SIZE
    case Property.TOPIC_ALIAS:
      return Fault.ZERO_TOPIC_ALIAS
    case Property.SUBSCRIPTION_IDENTIFIER:
      return Fault.ZERO_SUBSCRIPTION_IDENTIFIER
    default:
      return Fault.NONE
  }
}
