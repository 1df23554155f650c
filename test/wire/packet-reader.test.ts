import { afterEach, describe, expect, it, vi } from 'vitest'
import { Direction, PacketType } from '../../src/wire/control-packet.ts'
import { FAULTS, Fault } from '../../src/wire/fault.ts'
import { PacketReader, Step } from '../../src/wire/packet-reader.ts'
import { ReasonCode } from '../../src/wire/reason-code.ts'
import * as frames from '../support/frames.ts'
import { LIMITS, newReader, readPackets, slices } from '../support/read-packets.ts'

const { prop } = frames

function loaded(reader: PacketReader, chunk: Buffer): PacketReader {
  reader.load(chunk)
  return reader
}

/** Loads `chunk` and reads its first packet, which must be there. */
function readOne(chunk: Buffer, from: 'client' | 'server' = 'client'): PacketReader {
  const reader = loaded(newReader(from), chunk)
  expect(reader.next()).toBe(Step.HEAD)
  return reader
}

function text(reader: PacketReader, start: number, end: number): string {
  return reader.source.toString('utf8', start, end)
}

/** Starts to count the bytes asked of `Buffer.allocUnsafe`; the result tells how many so far. */
function countAllocations(): () => number {
  const spy = vi.spyOn(Buffer, 'allocUnsafe')
  return () => spy.mock.calls.reduce((sum, [size]) => sum + size, 0)
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('position of a frame', () => {
  it('a head within the chunk is described by offsets into the chunk', () => {
    const chunk = Buffer.concat([
      frames.PINGREQ,
      frames.publish({ topic: 'a/b', qos: 1, packetId: 7, payload: '12345' }),
    ])
    const reader = loaded(newReader('client'), chunk)
    expect(reader.next()).toBe(Step.HEAD)
    expect(reader.next()).toBe(Step.HEAD)
    expect(reader.packetType).toBe(PacketType.PUBLISH)
    expect(reader.flags).toBe(2)
    expect(reader.source).toBe(chunk)
    expect(reader.fromSeam).toBe(false)
    expect([reader.frameStart, reader.headEnd, reader.pos]).toEqual([2, 12, 12])
    expect([reader.frameLength, reader.bodyLength, reader.tail]).toEqual([15, 5, 5])
    expect(text(reader, reader.publish.topicStart, reader.publish.topicEnd)).toBe('a/b')
    expect(reader.publish.packetId).toBe(7)
    expect(reader.next()).toBe(Step.NEED_MORE)
    expect(reader.tail).toBe(0)
    expect(reader.pos).toBe(chunk.length)
  })

  it('a packet other than PUBLISH has no body', () => {
    const reader = readOne(frames.subscribe())
    expect([reader.bodyLength, reader.tail]).toEqual([0, 0])
    expect(reader.headEnd).toBe(reader.frameLength)
  })

  it('a body that goes on in later chunks is passed without being looked at', () => {
    const payload = Buffer.alloc(100_000, 0x10)
    const frame = frames.publish({ payload })
    const reader = loaded(newReader('client'), frame.subarray(0, 20))
    expect(reader.next()).toBe(Step.HEAD)
    expect(reader.next()).toBe(Step.NEED_MORE)
    expect(reader.tail).toBe(frame.length - 20)
    reader.load(frame.subarray(20, 50_000))
    expect(reader.next()).toBe(Step.NEED_MORE)
    expect(reader.tail).toBe(frame.length - 50_000)
    reader.load(Buffer.concat([frame.subarray(50_000), frames.PINGREQ]))
    expect(reader.next()).toBe(Step.HEAD)
    expect(reader.packetType).toBe(PacketType.PINGREQ)
    expect([reader.tail, reader.frameStart]).toEqual([0, frame.length - 50_000])
  })

  it('a payload of 268 MB is announced by a head of a few bytes', () => {
    const reader = newReader('client', { packetBytes: 300_000_000 })
    reader.load(Buffer.from('30ffffff7f0001610078', 'hex'))
    expect(reader.next()).toBe(Step.HEAD)
    expect(reader.bodyLength).toBe(268_435_455 - 4)
    expect(reader.publish.payloadLength).toBe(reader.bodyLength)
  })
})

describe('a head that straddles chunks', () => {
  const frame = frames.publish({
    topic: 'agents/scout/card',
    qos: 1,
    properties: [prop.topicAlias(3)],
    payload: 'body',
  })
  const headLength = frame.length - 4

  it.each(Array.from({ length: headLength - 1 }, (_, i) => i + 1))(
    'is found when cut after %i bytes',
    (cut) => {
      const reader = loaded(newReader('client'), Buffer.concat([frames.PINGREQ, frame.subarray(0, cut)]))
      expect(reader.next()).toBe(Step.HEAD)
      expect(reader.next()).toBe(Step.NEED_MORE)
      const rest = frame.subarray(cut)
      reader.load(rest)
      expect(reader.next()).toBe(Step.HEAD)
      expect(reader.fromSeam).toBe(true)
      expect(reader.source).not.toBe(rest)
      expect([reader.frameStart, reader.headEnd, reader.frameLength]).toEqual([0, headLength, frame.length])
      expect([reader.pos, reader.tail]).toEqual([headLength - cut, 4])
      expect(text(reader, reader.publish.topicStart, reader.publish.topicEnd)).toBe('agents/scout/card')
      expect(reader.takeSeam()).toEqual(frame.subarray(0, headLength))
      expect(reader.next()).toBe(Step.NEED_MORE)
      expect(reader.tail).toBe(0)
    },
  )

  it('is given away: later packets do not change it', () => {
    const reader = newReader('client')
    const taken: Buffer[] = []
    for (const chunk of slices(Buffer.concat([frame, frames.publish({ topic: 'zzzzzz' }), frame]), 5)) {
      reader.load(chunk)
      while (reader.next() === Step.HEAD) if (reader.fromSeam) taken.push(reader.takeSeam())
    }
    expect(taken.map((head) => head.subarray(0, 1).toString('hex'))).toEqual(['32', '30', '32'])
    expect(taken[0]).toEqual(frame.subarray(0, headLength))
    expect(taken[2]).toEqual(taken[0])
  })

  it('may be left where it is when the packet is dropped', () => {
    const stream = Buffer.concat([frame, frames.publish({ topic: 'x' })])
    expect(
      readPackets(slices(stream, 3), newReader('client')).heads.map((head) => head.fields['packetId']),
    ).toEqual([1, 0])
  })

  it('is not extended beyond its end: what follows stays in the chunk', () => {
    const reader = loaded(newReader('client'), frame.subarray(0, 3))
    expect(reader.next()).toBe(Step.NEED_MORE)
    reader.load(Buffer.concat([frame.subarray(3), frames.PINGREQ]))
    expect(reader.next()).toBe(Step.HEAD)
    expect(reader.takeSeam()).toHaveLength(headLength)
    expect(reader.next()).toBe(Step.HEAD)
    expect([reader.packetType, reader.fromSeam]).toEqual([PacketType.PINGREQ, false])
  })

  it('J6: takes memory as bytes come, not as a length declares', () => {
    const allocated = countAllocations()
    const reader = loaded(newReader('client'), Buffer.from('82fcff030001', 'hex'))
    expect(reader.next()).toBe(Step.NEED_MORE)
    expect(allocated()).toBeLessThanOrEqual(64)
  })

  it('a head within one chunk takes no memory', () => {
    const stream = Buffer.concat([frame, frames.PINGREQ, frames.ack('puback', 1, 0x87), frames.subscribe()])
    const reader = newReader('client')
    const allocated = countAllocations()
    reader.load(stream)
    while (reader.next() === Step.HEAD);
    expect(allocated()).toBe(0)
  })

  it('a head of 64 KiB that comes byte by byte takes memory in proportion', () => {
    const filters = Array.from({ length: 60 }, (_, i) => [`${'x'.repeat(1000)}/${i}`] as const)
    const subscribe = frames.subscribe({ filters })
    const reader = newReader('client')
    let heads = 0
    const allocated = countAllocations()
    for (const chunk of slices(subscribe, 1)) {
      reader.load(chunk)
      while (reader.next() === Step.HEAD) heads += 1
    }
    expect(heads).toBe(1)
    expect(reader.filters.count).toBe(60)
    expect(allocated()).toBeLessThan(3 * subscribe.length)
  })
})

describe('faults', () => {
  it('stay for good', () => {
    const reader = loaded(newReader('client'), Buffer.of(0, 0))
    expect(reader.next()).toBe(Step.FAULT)
    expect(reader.next()).toBe(Step.FAULT)
    reader.load(frames.PINGREQ)
    expect(reader.next()).toBe(Step.FAULT)
    expect(reader.fault).toBe(Fault.RESERVED_PACKET_TYPE)
  })

  it('tell where the bad frame starts in the chunk', () => {
    const good = frames.publish({ payload: 'x' })
    const reader = loaded(newReader('client'), Buffer.concat([good, Buffer.of(0x36, 0)]))
    expect(reader.next()).toBe(Step.HEAD)
    expect(reader.next()).toBe(Step.FAULT)
    expect([reader.fromSeam, reader.frameStart, reader.packetType]).toEqual([
      false,
      good.length,
      PacketType.PUBLISH,
    ])
  })

  it('of a PUBLISH do not wait for its payload', () => {
    const frame = frames.publish({ topic: 'a/#', payload: 'x'.repeat(1000) })
    expect(readPackets([frame.subarray(0, 9)], newReader('client')).fault).toBe('wildcard_in_topic_name')
  })

  it('have a row each, named as their constant, with a Reason Code that MQTT 5.0 has', () => {
    const known = new Set<number>(Object.values(ReasonCode))
    for (const [name, index] of Object.entries(Fault)) {
      expect(FAULTS[index]!.name).toBe(name.toLowerCase())
      expect(known.has(FAULTS[index]!.reasonCode)).toBe(true)
    }
    expect(FAULTS).toHaveLength(Object.keys(Fault).length)
  })

  it.each([
    ['remaining_length_not_minimal', 0x81],
    ['packet_type_not_allowed', 0x82],
    ['packet_too_large', 0x95],
    ['zero_topic_alias', 0x94],
    ['duplicate_property', 0x82],
    ['property_not_allowed', 0x81],
    ['too_many_filters', 0x97],
    ['too_many_user_properties', 0x97],
    ['too_many_topic_levels', 0x90],
    ['too_many_filter_levels', 0x8f],
    ['protocol_version_3', 0x84],
  ])('%s closes with %i', (name, reasonCode) => {
    expect(FAULTS.find((fault) => fault.name === name)?.reasonCode).toBe(reasonCode)
  })
})

describe('limits', () => {
  const size = (frame: Buffer, delta: number) => frame.length + delta

  it.each([
    ['packetBytes', 'packet_too_large', frames.publish({ payload: 'x'.repeat(50) })],
    ['controlPacketBytes', 'control_packet_too_large', frames.subscribe()],
    ['connectBytes', 'control_packet_too_large', frames.connect({ password: 'x'.repeat(50) })],
  ] as const)('%s counts the whole packet', (limit, fault, frame) => {
    expect(readPackets([frame], newReader('client', { [limit]: size(frame, 0) })).fault).toBe(undefined)
    expect(readPackets([frame], newReader('client', { [limit]: size(frame, -1) })).fault).toBe(fault)
  })

  it('publishHeadBytes counts the head of a PUBLISH and not its payload', () => {
    const properties = [prop.userProperty('k', 'v'.repeat(200))]
    const frame = frames.publish({ topic: 'a/b', properties, payload: 'x'.repeat(50) })
    const head = size(frame, -50)
    expect(readPackets([frame], newReader('client', { publishHeadBytes: head })).fault).toBe(undefined)
    expect(readPackets([frame], newReader('client', { publishHeadBytes: head - 1 })).fault).toBe(
      'publish_head_too_large',
    )
    const bare = frames.publish({ topic: 'a/b', payload: 'x' })
    expect(readPackets([bare], newReader('client', { publishHeadBytes: bare.length - 1 })).fault).toBe(
      undefined,
    )
    const long = frames.publish({ topic: 'a'.repeat(100), payload: 'x' })
    expect(readPackets([long.subarray(0, 4)], newReader('client', { publishHeadBytes: 104 })).fault).toBe(
      'publish_head_too_large',
    )
  })

  it('controlPacketBytes bounds CONNACK, connectBytes does not', () => {
    const connack = frames.connack({ properties: [prop.reasonString('x'.repeat(50))] })
    expect(readPackets([connack], newReader('server', { connectBytes: 10 })).fault).toBe(undefined)
    expect(readPackets([connack], newReader('server', { controlPacketBytes: 10 })).fault).toBe(
      'control_packet_too_large',
    )
  })

  it('can be tightened between packets', () => {
    const reader = newReader('client')
    const frame = frames.publish({ payload: 'x'.repeat(50) })
    expect(loaded(reader, frame).next()).toBe(Step.HEAD)
    expect(reader.next()).toBe(Step.NEED_MORE)
    reader.limits = { ...LIMITS, packetBytes: 40 }
    expect(loaded(reader, frame).next()).toBe(Step.FAULT)
    expect(reader.fault).toBe(Fault.PACKET_TOO_LARGE)
  })

  it('J7: 64 k User Properties are read when the limits allow them', () => {
    const properties = Array.from({ length: 64_000 }, () => prop.userProperty('k', 'v'))
    const reader = newReader('client', { connectBytes: 1_000_000, userProperties: 64_000 })
    expect(readPackets([frames.connect({ properties })], reader).fault).toBe(undefined)
  })
})

describe('what a head says', () => {
  it('PUBLISH', () => {
    const properties = [prop.responseTopic('r/1'), prop.correlationData('c'), prop.topicAlias(9)]
    const reader = readOne(
      frames.publish({ qos: 2, dup: true, retain: true, packetId: 65_535, properties, payload: 'p' }),
    )
    const head = reader.publish
    expect([head.qos, head.dup, head.retain, head.packetId, head.topicAlias]).toEqual([
      2,
      true,
      true,
      65_535,
      9,
    ])
    expect(text(reader, head.responseTopicStart, head.responseTopicEnd)).toBe('r/1')
    expect(text(reader, head.correlationDataStart, head.correlationDataEnd)).toBe('c')
    expect(text(reader, head.propertiesStart, head.propertiesEnd)).toBe(Buffer.concat(properties).toString())
    expect(head.payloadLength).toBe(1)
  })

  it('nothing of a packet is left in the next one', () => {
    const properties = [prop.responseTopic('r/1'), prop.correlationData('c'), prop.topicAlias(9)]
    const full = frames.publish({ qos: 2, dup: true, retain: true, properties })
    const reader = loaded(newReader('client'), Buffer.concat([full, frames.publish({ topic: 'a' })]))
    reader.next()
    reader.next()
    expect(reader.publish).toMatchObject({
      ...{ qos: 0, dup: false, retain: false, packetId: 0, topicAlias: 0 },
      ...{ responseTopicStart: -1, responseTopicEnd: -1, correlationDataStart: -1, correlationDataEnd: -1 },
    })
  })

  it('CONNECT', () => {
    const reader = readOne(
      frames.connect({
        cleanStart: false,
        keepAlive: 60,
        clientId: 'scout',
        properties: [
          prop.sessionExpiryInterval(4_294_967_295),
          prop.receiveMaximum(20),
          prop.maximumPacketSize(4_294_967_295),
          prop.topicAliasMaximum(5),
          prop.requestProblemInformation(0),
          prop.authenticationMethod('OAUTH2-JWT'),
          prop.authenticationData('token'),
        ],
        will: {
          topic: 'w/t',
          payload: 'gone',
          qos: 2,
          retain: true,
          properties: [prop.responseTopic('r/w')],
        },
        userName: 'user',
        password: 'pass',
      }),
    )
    const head = reader.connect
    expect(head).toMatchObject({
      ...{ cleanStart: false, keepAlive: 60, sessionExpiryInterval: 4_294_967_295, receiveMaximum: 20 },
      ...{ maximumPacketSize: 4_294_967_295, topicAliasMaximum: 5, requestProblemInformation: false },
      ...{ hasWill: true, willQos: 2, willRetain: true },
    })
    expect(text(reader, head.clientIdStart, head.clientIdEnd)).toBe('scout')
    expect(text(reader, head.authenticationMethodStart, head.authenticationMethodEnd)).toBe('OAUTH2-JWT')
    expect(text(reader, head.authenticationDataStart, head.authenticationDataEnd)).toBe('token')
    expect(text(reader, head.willTopicStart, head.willTopicEnd)).toBe('w/t')
    expect(text(reader, head.willResponseTopicStart, head.willResponseTopicEnd)).toBe('r/w')
    expect(text(reader, head.willPayloadStart, head.willPayloadEnd)).toBe('gone')
    expect(text(reader, head.userNameStart, head.userNameEnd)).toBe('user')
    expect(text(reader, head.passwordStart, head.passwordEnd)).toBe('pass')
  })

  it('CONNECT with nothing but a Client Identifier', () => {
    expect(readOne(frames.connect()).connect).toMatchObject({
      ...{ cleanStart: true, keepAlive: 0, sessionExpiryInterval: 0, receiveMaximum: 65_535 },
      ...{ maximumPacketSize: 0, topicAliasMaximum: 0, requestProblemInformation: true },
      ...{ authenticationMethodStart: -1, authenticationDataStart: -1, hasWill: false, willQos: 0 },
      ...{
        willRetain: false,
        willTopicStart: -1,
        willResponseTopicStart: -1,
        userNameStart: -1,
        passwordStart: -1,
      },
    })
  })

  it('CONNACK', () => {
    const properties = [
      prop.sessionExpiryInterval(0),
      prop.receiveMaximum(10),
      prop.maximumQos(1),
      prop.retainAvailable(0),
      prop.maximumPacketSize(1000),
      prop.topicAliasMaximum(4),
      prop.serverKeepAlive(0),
      prop.assignedClientIdentifier('auto-1'),
    ]
    const reader = readOne(frames.connack({ sessionPresent: true, properties }), 'server')
    const head = reader.connack
    expect(head).toMatchObject({
      ...{ sessionPresent: true, reasonCode: 0, sessionExpiryInterval: 0, receiveMaximum: 10, maximumQos: 1 },
      ...{ retainAvailable: false, maximumPacketSize: 1000, topicAliasMaximum: 4, serverKeepAlive: 0 },
    })
    expect(text(reader, head.assignedClientIdStart, head.assignedClientIdEnd)).toBe('auto-1')
  })

  it('CONNACK without properties', () => {
    expect(readOne(frames.connack({ reasonCode: 0x87 }), 'server').connack).toMatchObject({
      ...{ sessionPresent: false, reasonCode: 0x87, sessionExpiryInterval: -1, receiveMaximum: 65_535 },
      ...{ maximumQos: 2, retainAvailable: true, maximumPacketSize: 0, topicAliasMaximum: 0 },
      ...{ serverKeepAlive: -1, assignedClientIdStart: -1, assignedClientIdEnd: -1 },
    })
  })

  it('SUBSCRIBE', () => {
    const properties = [prop.subscriptionIdentifier(268_435_455)]
    const frame = frames.subscribe({
      packetId: 300,
      properties,
      filters: [
        ['$share/g/a/+', 0x2a],
        ['#', 0x1d],
      ],
    })
    const reader = readOne(frame)
    const list = reader.filters
    expect([list.packetId, list.subscriptionIdentifier, list.count]).toEqual([300, 268_435_455, 2])
    expect(text(reader, list.filterStart[0]!, list.filterEnd[0]!)).toBe('$share/g/a/+')
    expect(text(reader, list.filterStart[1]!, list.filterEnd[1]!)).toBe('#')
    expect(list.options.slice(0, 2)).toEqual([0x2a, 0x1d])
    expect(frame.subarray(list.propertyLengthStart, list.propertiesEnd)).toEqual(
      frames.propertyBlock(properties),
    )
  })

  it('UNSUBSCRIBE after a longer SUBSCRIBE counts its own filters', () => {
    const first = frames.subscribe({
      filters: [['a'], ['b'], ['c']],
      properties: [prop.subscriptionIdentifier(1)],
    })
    const reader = loaded(newReader('client'), Buffer.concat([first, frames.unsubscribe(['x/y'], 2)]))
    reader.next()
    reader.next()
    const list = reader.filters
    expect([list.packetId, list.count, list.subscriptionIdentifier]).toEqual([2, 1, 0])
    expect(text(reader, list.filterStart[0]!, list.filterEnd[0]!)).toBe('x/y')
  })

  it.each([
    ['SUBACK', frames.suback([0, 0x87, 2], 9, [prop.reasonString('why')])],
    ['UNSUBACK', frames.unsuback([0, 0x11, 0x87], 9, [prop.reasonString('why')])],
  ])('%s', (_, frame) => {
    const reader = readOne(frame, 'server')
    const { packetId, codesStart, codesEnd, propertyLengthStart, propertiesEnd } = reader.codes
    expect([packetId, codesStart, codesEnd]).toEqual([9, frame.length - 3, frame.length])
    expect(frame.subarray(propertyLengthStart, propertiesEnd)).toEqual(
      frames.propertyBlock([prop.reasonString('why')]),
    )
  })

  it.each(['puback', 'pubrec', 'pubrel', 'pubcomp'] as const)('%s', (type) => {
    expect(readOne(frames.ack(type, 513)).ack).toMatchObject({ packetId: 513, reasonCode: 0 })
    const code = type === 'puback' || type === 'pubrec' ? 0x87 : 0x92
    expect(readOne(frames.ack(type, 65_535, code)).ack).toMatchObject({ packetId: 65_535, reasonCode: code })
  })

  it('DISCONNECT, and nothing of it in the next acknowledgement', () => {
    const first = frames.disconnect(4, [prop.sessionExpiryInterval(7)])
    const reader = readOne(Buffer.concat([first, frames.ack('puback')]))
    expect(reader.ack).toMatchObject({ packetId: 0, reasonCode: 4, sessionExpiryInterval: 7 })
    reader.next()
    expect(reader.ack).toMatchObject({ packetId: 1, reasonCode: 0, sessionExpiryInterval: -1 })
    expect(readOne(frames.disconnect()).ack).toMatchObject({ reasonCode: 0, sessionExpiryInterval: -1 })
  })

  it('AUTH', () => {
    const reader = readOne(
      frames.auth(0x19, [prop.authenticationMethod('M'), prop.authenticationData('token')]),
    )
    const head = reader.ack
    expect(head.reasonCode).toBe(0x19)
    expect(text(reader, head.authenticationMethodStart, head.authenticationMethodEnd)).toBe('M')
    expect(text(reader, head.authenticationDataStart, head.authenticationDataEnd)).toBe('token')
    expect(readOne(frames.auth(), 'server').ack).toMatchObject({
      reasonCode: 0,
      authenticationMethodStart: -1,
    })
  })
})

it('an exhausted reader holds no chunk', () => {
  const reader = new PacketReader(Direction.CLIENT_TO_SERVER, { ...LIMITS })
  reader.load(frames.PINGREQ)
  expect(reader.next()).toBe(Step.HEAD)
  expect(reader.next()).toBe(Step.NEED_MORE)
  expect(reader.source).toHaveLength(0)
})
