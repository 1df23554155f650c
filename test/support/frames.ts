// Builds MQTT 5.0 packets for tests, well formed unless told otherwise. Written from the specification and
// without any code of src/wire, so that both cannot be wrong in the same way.

export type Part = number | string | Buffer

/** Bytes as they are: a number is one byte, a string its UTF-8. */
export function bytes(...parts: readonly Part[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))))
}

/** Variable Byte Integer in `width` bytes: more than needed is malformed, more than 4 is too long. §1.5.5 */
export function varint(value: number, width = 1): Buffer {
  const out: number[] = []
  let rest = value
  do {
    out.push(rest % 128)
    rest = Math.floor(rest / 128)
  } while (rest > 0 || out.length < width)
  return Buffer.from(out.map((digit, i) => (i + 1 < out.length ? digit | 0x80 : digit)))
}

export function uint16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff)
}

export function uint32(value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(value)
  return out
}

/** UTF-8 Encoded String or Binary Data with its two-byte length. */
export function field(value: string | Buffer): Buffer {
  const content = Buffer.from(value)
  return bytes(uint16(content.length), content)
}

/** `first` byte, Remaining Length of the rest, the rest. */
export function frame(first: number, ...parts: readonly Part[]): Buffer {
  const body = bytes(...parts)
  return bytes(first, varint(body.length), body)
}

/** Properties, each already encoded; see `prop`. */
export type Properties = readonly Buffer[]

export function propertyBlock(properties: Properties = []): Buffer {
  const body = Buffer.concat(properties)
  return bytes(varint(body.length), body)
}

/** One property each, named after MQTT 5.0 Table 2-4. */
export const prop = {
  payloadFormatIndicator: (value: number) => bytes(0x01, value),
  messageExpiryInterval: (value: number) => bytes(0x02, uint32(value)),
  contentType: (value: string | Buffer) => bytes(0x03, field(value)),
  responseTopic: (value: string | Buffer) => bytes(0x08, field(value)),
  correlationData: (value: string | Buffer) => bytes(0x09, field(value)),
  subscriptionIdentifier: (value: number) => bytes(0x0b, varint(value)),
  sessionExpiryInterval: (value: number) => bytes(0x11, uint32(value)),
  assignedClientIdentifier: (value: string | Buffer) => bytes(0x12, field(value)),
  serverKeepAlive: (value: number) => bytes(0x13, uint16(value)),
  authenticationMethod: (value: string | Buffer) => bytes(0x15, field(value)),
  authenticationData: (value: string | Buffer) => bytes(0x16, field(value)),
  requestProblemInformation: (value: number) => bytes(0x17, value),
  willDelayInterval: (value: number) => bytes(0x18, uint32(value)),
  requestResponseInformation: (value: number) => bytes(0x19, value),
  responseInformation: (value: string | Buffer) => bytes(0x1a, field(value)),
  serverReference: (value: string | Buffer) => bytes(0x1c, field(value)),
  reasonString: (value: string | Buffer) => bytes(0x1f, field(value)),
  receiveMaximum: (value: number) => bytes(0x21, uint16(value)),
  topicAliasMaximum: (value: number) => bytes(0x22, uint16(value)),
  topicAlias: (value: number) => bytes(0x23, uint16(value)),
  maximumQos: (value: number) => bytes(0x24, value),
  retainAvailable: (value: number) => bytes(0x25, value),
  userProperty: (key: string | Buffer, value: string | Buffer) => bytes(0x26, field(key), field(value)),
  maximumPacketSize: (value: number) => bytes(0x27, uint32(value)),
  wildcardSubscriptionAvailable: (value: number) => bytes(0x28, value),
  subscriptionIdentifiersAvailable: (value: number) => bytes(0x29, value),
  sharedSubscriptionAvailable: (value: number) => bytes(0x2a, value),
} as const

export interface ConnectOptions {
  protocolName?: string
  protocolVersion?: number
  /** Connect Flags to send instead of those that the other options ask for. */
  flags?: number
  cleanStart?: boolean
  keepAlive?: number
  properties?: Properties
  clientId?: string | Buffer
  will?: {
    topic: string | Buffer
    payload?: string | Buffer
    qos?: number
    retain?: boolean
    properties?: Properties
  }
  userName?: string | Buffer
  password?: string | Buffer
  /** Bytes behind the last field, counted in Remaining Length. */
  trailing?: Buffer
}

export function connect(options: ConnectOptions = {}): Buffer {
  const { will, userName, password } = options
  let flags = (options.cleanStart ?? true) ? 0x02 : 0
  if (will) flags |= 0x04 | ((will.qos ?? 0) << 3) | (will.retain ? 0x20 : 0)
  if (password !== undefined) flags |= 0x40
  if (userName !== undefined) flags |= 0x80
  const parts: Part[] = [
    field(options.protocolName ?? 'MQTT'),
    options.protocolVersion ?? 5,
    options.flags ?? flags,
    uint16(options.keepAlive ?? 0),
    propertyBlock(options.properties),
    field(options.clientId ?? 'scout'),
  ]
  if (will) parts.push(propertyBlock(will.properties), field(will.topic), field(will.payload ?? ''))
  if (userName !== undefined) parts.push(field(userName))
  if (password !== undefined) parts.push(field(password))
  return frame(0x10, ...parts, options.trailing ?? '')
}

/** CONNECT of MQTT 3.1.1: level 4, no properties. */
export function connectV3(clientId = 'scout'): Buffer {
  return frame(0x10, field('MQTT'), 4, 0x02, uint16(0), field(clientId))
}

export interface ConnackOptions {
  sessionPresent?: boolean
  reasonCode?: number
  properties?: Properties
}

export function connack(options: ConnackOptions = {}): Buffer {
  const flags = options.sessionPresent ? 1 : 0
  return frame(0x20, flags, options.reasonCode ?? 0, propertyBlock(options.properties))
}

export interface PublishOptions {
  topic?: string | Buffer
  qos?: number
  dup?: boolean
  retain?: boolean
  /** Sent when QoS is above 0; 1 when left out. */
  packetId?: number
  properties?: Properties
  payload?: string | Buffer
}

export function publish(options: PublishOptions = {}): Buffer {
  const qos = options.qos ?? 0
  return frame(
    0x30 | (options.dup ? 8 : 0) | (qos << 1) | (options.retain ? 1 : 0),
    field(options.topic ?? 'a/b'),
    qos > 0 ? uint16(options.packetId ?? 1) : '',
    propertyBlock(options.properties),
    options.payload ?? '',
  )
}

const ACK_FIRST_BYTE = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const

/** Without `reasonCode` two bytes long, without `properties` three. */
export function ack(
  type: keyof typeof ACK_FIRST_BYTE,
  packetId = 1,
  reasonCode?: number,
  properties?: Properties,
): Buffer {
  return frame(
    ACK_FIRST_BYTE[type],
    uint16(packetId),
    reasonCode ?? '',
    properties ? propertyBlock(properties) : '',
  )
}

export interface SubscribeOptions {
  packetId?: number
  properties?: Properties
  /** Topic Filter and Subscription Options byte (1, QoS 1, when left out). */
  filters?: readonly (readonly [filter: string | Buffer, options?: number])[]
}

export function subscribe(options: SubscribeOptions = {}): Buffer {
  const filters = options.filters ?? [['a/b', 1]]
  return frame(
    0x82,
    uint16(options.packetId ?? 1),
    propertyBlock(options.properties),
    ...filters.map(([filter, subscriptionOptions = 1]) => bytes(field(filter), subscriptionOptions)),
  )
}

export function unsubscribe(
  filters: readonly (string | Buffer)[] = ['a/b'],
  packetId = 1,
  properties: Properties = [],
): Buffer {
  return frame(0xa2, uint16(packetId), propertyBlock(properties), ...filters.map(field))
}

export function suback(codes: readonly number[] = [0], packetId = 1, properties: Properties = []): Buffer {
  return frame(0x90, uint16(packetId), propertyBlock(properties), ...codes)
}

export function unsuback(codes: readonly number[] = [0], packetId = 1, properties: Properties = []): Buffer {
  return frame(0xb0, uint16(packetId), propertyBlock(properties), ...codes)
}

export const PINGREQ = Buffer.of(0xc0, 0)
export const PINGRESP = Buffer.of(0xd0, 0)

/** Without arguments two bytes long, without `properties` three. */
export function disconnect(reasonCode?: number, properties?: Properties): Buffer {
  return frame(0xe0, reasonCode ?? '', properties ? propertyBlock(properties) : '')
}

/** Without arguments two bytes long. */
export function auth(reasonCode?: number, properties: Properties = []): Buffer {
  return reasonCode === undefined ? frame(0xf0) : frame(0xf0, reasonCode, propertyBlock(properties))
}
