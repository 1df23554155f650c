// Generators of valid MQTT 5.0 packets of every type, with every property, for property tests.

import fc from 'fast-check'
import * as frames from './frames.ts'
import type { From } from './read-packets.ts'

const { prop } = frames

const NAME_PARTS = ['a', 'b', 'scout', '{}', ' ', '$', '__proto__', 'ü', '世', '🤖', '\u{feff}']

const level = fc.array(fc.constantFrom(...NAME_PARTS), { maxLength: 3 }).map((parts) => parts.join(''))

/** Topic Names, not empty. */
export const topicName = fc
  .array(level, { minLength: 1, maxLength: 6 })
  .map((levels) => levels.join('/'))
  .filter((name) => name !== '')

const plainFilter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 6 }), fc.boolean())
  .map(([levels, hash]) => [...levels, ...(hash ? ['#'] : [])].join('/'))
  .filter((filter) => filter !== '' && filter !== '$share' && !filter.startsWith('$share/'))

const sharedFilter = fc
  .tuple(fc.constantFrom('g', 'grüppe', ' '), plainFilter)
  .map(([group, filter]) => `$share/${group}/${filter}`)

export const topicFilter = fc.oneof({ weight: 3, arbitrary: plainFilter }, sharedFilter)

/** Strings in which control characters are allowed. */
const text = fc.string({ unit: fc.constantFrom('k', 'V', '\n', '\u{7f}', 'é', '世', '🤖'), maxLength: 8 })
const binary = fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes))
const flag = fc.constantFrom(0, 1)
const packetId = fc.oneof(fc.constantFrom(1, 255, 256, 65_535), fc.integer({ min: 1, max: 65_535 }))
const uint16 = fc.oneof(fc.constantFrom(0, 1, 65_535), fc.integer({ min: 0, max: 65_535 }))
const uint16AboveZero = uint16.map((value) => value || 1)
const uint32 = fc.oneof(fc.constantFrom(0, 1, 0xffff_ffff), fc.integer({ min: 0, max: 0xffff_ffff }))
const subscriptionIdentifier = fc.oneof(
  fc.constantFrom(1, 127, 128, 268_435_455),
  fc.integer({ min: 1, max: 268_435_455 }),
)

/** Each of `single` at most once, User Properties (and `repeatable`) any number of times, in any order. */
function properties(
  single: readonly fc.Arbitrary<Buffer>[],
  ...repeatable: readonly fc.Arbitrary<Buffer>[]
): fc.Arbitrary<Buffer[]> {
  const user = fc.tuple(text, text).map(([key, value]) => prop.userProperty(key, value))
  const many = [user, ...repeatable].map((arbitrary) => fc.array(arbitrary, { maxLength: 3 }))
  const optional = single.map((arbitrary) => fc.option(arbitrary, { nil: undefined }))
  return fc
    .tuple(fc.tuple(...optional), fc.tuple(...many))
    .map(([once, more]) => [...once.filter((property) => property !== undefined), ...more.flat()])
    .chain((all) => fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length }))
}

const messageProperties = [
  flag.map(prop.payloadFormatIndicator),
  uint32.map(prop.messageExpiryInterval),
  text.map(prop.contentType),
  topicName.map(prop.responseTopic),
  binary.map(prop.correlationData),
]
const reason = [text.map(prop.reasonString)]
const authentication = fc.option(
  fc.tuple(text, fc.option(binary)).map(([method, data]) => {
    const properties = [prop.authenticationMethod(method)]
    if (data !== null) properties.push(prop.authenticationData(data))
    return properties
  }),
)
const withAuthentication = (arbitrary: fc.Arbitrary<Buffer[]>) =>
  fc.tuple(arbitrary, authentication).map(([others, auth]) => [...others, ...(auth ?? [])])

const optionally = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })

/** Options of `frames.publish`, with an empty Topic Name where the properties hold an alias. */
export const publishOptions = (from: From): fc.Arbitrary<frames.PublishOptions & { qos: number }> =>
  fc
    .record({
      name: topicName,
      alias: optionally(uint16AboveZero),
      keepName: fc.boolean(),
      qos: fc.constantFrom(0, 1, 2),
      dup: fc.boolean(),
      retain: fc.boolean(),
      packetId,
      payload: fc.oneof(binary, fc.constant(Buffer.alloc(300, 0x30))),
      others:
        from === 'server'
          ? properties(messageProperties, subscriptionIdentifier.map(prop.subscriptionIdentifier))
          : properties(messageProperties),
    })
    .map(({ name, alias, keepName, others, ...rest }) => ({
      ...rest,
      dup: rest.dup && rest.qos > 0,
      topic: alias === undefined || keepName ? name : '',
      properties: alias === undefined ? others : [...others, prop.topicAlias(alias)],
    }))

/** Options of `frames.connect`. */
export const connectOptions = fc
  .record({
    cleanStart: fc.boolean(),
    keepAlive: uint16,
    clientId: fc.oneof(level, topicFilter),
    properties: withAuthentication(
      properties([
        uint32.map(prop.sessionExpiryInterval),
        uint16AboveZero.map(prop.receiveMaximum),
        uint32.map((value) => prop.maximumPacketSize(value || 1)),
        uint16.map(prop.topicAliasMaximum),
        flag.map(prop.requestProblemInformation),
        flag.map(prop.requestResponseInformation),
      ]),
    ),
    will: optionally(
      fc.record({
        topic: topicName,
        payload: binary,
        qos: fc.constantFrom(0, 1, 2),
        retain: fc.boolean(),
        properties: properties([...messageProperties, uint32.map(prop.willDelayInterval)]),
      }),
    ),
    userName: optionally(text),
    password: optionally(binary),
  })
  .map(({ will, userName, password, ...rest }) => ({
    ...rest,
    ...(will && { will }),
    ...(userName !== undefined && { userName }),
    ...(password !== undefined && { password }),
  }))

/** Options of `frames.connack`. */
export const connackOptions: fc.Arbitrary<frames.ConnackOptions> = fc
  .record({
    sessionPresent: fc.boolean(),
    reasonCode: fc.constantFrom(0, 0, 0x80, 0x87, 0x9f),
    properties: withAuthentication(
      properties([
        uint32.map(prop.sessionExpiryInterval),
        uint16AboveZero.map(prop.receiveMaximum),
        flag.map(prop.maximumQos),
        flag.map(prop.retainAvailable),
        uint32.map((value) => prop.maximumPacketSize(value || 1)),
        level.map(prop.assignedClientIdentifier),
        uint16.map(prop.topicAliasMaximum),
        text.map(prop.reasonString),
        flag.map(prop.wildcardSubscriptionAvailable),
        flag.map(prop.subscriptionIdentifiersAvailable),
        flag.map(prop.sharedSubscriptionAvailable),
        uint16.map(prop.serverKeepAlive),
        text.map(prop.responseInformation),
        text.map(prop.serverReference),
      ]),
    ),
  })
  .map((options) => ({ ...options, sessionPresent: options.sessionPresent && options.reasonCode === 0 }))

/** Options of `frames.subscribe`. */
export const subscribeOptions = fc.record({
  packetId,
  properties: properties([subscriptionIdentifier.map(prop.subscriptionIdentifier)]),
  filters: fc.array(
    fc
      .record({
        filter: topicFilter,
        qos: fc.nat(2),
        noLocal: fc.boolean(),
        asPublished: fc.boolean(),
        rh: fc.nat(2),
      })
      .map(({ filter, qos, noLocal, asPublished, rh }): readonly [string, number] => {
        const local = noLocal && !filter.startsWith('$share/') ? 4 : 0
        return [filter, qos | local | (asPublished ? 8 : 0) | (rh << 4)]
      }),
    { minLength: 1, maxLength: 5 },
  ),
})

const acks = fc
  .record({
    type: fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp'),
    packetId,
    negative: fc.boolean(),
    short: fc.boolean(),
    properties: optionally(properties(reason)),
  })
  .map(({ type, packetId: id, negative, short, properties: more }) => {
    const code = type === 'puback' || type === 'pubrec' ? 0x97 : 0x92
    if (short) return frames.ack(type, id)
    return frames.ack(type, id, negative ? code : 0, more)
  })

const disconnects = (from: From) => {
  const single =
    from === 'client'
      ? [...reason, uint32.map(prop.sessionExpiryInterval)]
      : [...reason, text.map(prop.serverReference)]
  return fc
    .tuple(optionally(fc.constantFrom(0, 0x81, 0x98)), optionally(properties(single)))
    .map(([code, more]) => frames.disconnect(more ? (code ?? 0) : code, more))
}

const auths = (from: From) =>
  fc
    .tuple(
      fc.constantFrom(0x18, from === 'client' ? 0x19 : 0x00),
      text,
      fc.option(binary),
      properties(reason),
    )
    .map(([code, method, data, more]) =>
      frames.auth(code, [
        ...more,
        prop.authenticationMethod(method),
        ...(data === null ? [] : [prop.authenticationData(data)]),
      ]),
    )

const subacks = fc
  .tuple(
    fc.array(fc.constantFrom(0, 1, 2, 0x80, 0x87, 0xa2), { minLength: 1, maxLength: 5 }),
    packetId,
    properties(reason),
  )
  .map((args) => frames.suback(...args))
const unsubacks = fc
  .tuple(
    fc.array(fc.constantFrom(0, 0x11, 0x87), { minLength: 1, maxLength: 5 }),
    packetId,
    properties(reason),
  )
  .map((args) => frames.unsuback(...args))
const unsubscribes = fc
  .tuple(fc.array(topicFilter, { minLength: 1, maxLength: 5 }), packetId, properties([]))
  .map((args) => frames.unsubscribe(...args))

/** One valid packet that `from` may send. */
export function packet(from: From): fc.Arbitrary<Buffer> {
  const common = [
    { weight: 4, arbitrary: publishOptions(from).map(frames.publish) },
    { weight: 2, arbitrary: acks },
    { weight: 1, arbitrary: disconnects(from) },
    { weight: 1, arbitrary: auths(from) },
  ]
  return from === 'client'
    ? fc.oneof(
        ...common,
        connectOptions.map(frames.connect),
        subscribeOptions.map(frames.subscribe),
        unsubscribes,
        fc.constant(frames.PINGREQ),
      )
    : fc.oneof(
        ...common,
        connackOptions.map(frames.connack),
        subacks,
        unsubacks,
        fc.constant(frames.PINGRESP),
      )
}
