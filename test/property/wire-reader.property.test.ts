import fc from 'fast-check'
import { type IPublishPacket, type Packet, parser } from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import * as frames from '../support/frames.ts'
import {
  type Found,
  type From,
  newReader,
  type Reading,
  readPackets,
  slices,
} from '../support/read-packets.ts'
import { packet } from '../support/wire-arbitraries.ts'

const stream = (from: From) =>
  fc.array(packet(from), { minLength: 1, maxLength: 6 }).map((all) => Buffer.concat(all))

/** Sizes of chunks, repeated until the stream ends; small ones as likely as large ones. */
const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 200 })), {
  minLength: 1,
  maxLength: 20,
})

function cut(bytes: Buffer, chunkSizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = chunkSizes[i % chunkSizes.length]!
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

const edits = fc.array(
  fc.record({
    at: fc.nat(10_000),
    kind: fc.constantFrom('set', 'insert', 'delete'),
    byte: fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(255)),
  }),
  { maxLength: 4 },
)

function edited(bytes: Buffer, changes: readonly { at: number; kind: string; byte: number }[]): Buffer {
  const out = [...bytes]
  for (const { at, kind, byte } of changes) {
    out.splice(at % (out.length + 1), kind === 'insert' ? 0 : 1, ...(kind === 'delete' ? [] : [byte]))
  }
  return Buffer.from(out)
}

/** The heads lie in the stream one behind the other, with their bodies between. */
function expectInStream(bytes: Buffer, { heads }: Reading): void {
  let at = 0
  for (const { head, bodyLength } of heads) {
    const end = at + head.length / 2
    if (bytes.toString('hex', at, end) !== head) expect.unreachable(`head at ${at}`)
    at = end + bodyLength
  }
}

describe.each(['client', 'server'] as const)(
  'J12: from a %s, how a stream is cut changes nothing',
  (from) => {
    it('be its packets valid or damaged', () => {
      fc.assert(
        fc.property(stream(from), edits, sizes, (valid, changes, chunkSizes) => {
          const bytes = edited(valid, changes)
          const whole = readPackets([bytes], newReader(from))
          expectInStream(bytes, whole)
          expect(readPackets(cut(bytes, chunkSizes), newReader(from))).toEqual(whole)
          expect(readPackets(slices(bytes, 1), newReader(from))).toEqual(whole)
        }),
        { numRuns: 300 },
      )
    })

    it('wherever it ends', () => {
      fc.assert(
        fc.property(stream(from), edits, fc.nat(), sizes, (valid, changes, end, chunkSizes) => {
          const all = edited(valid, changes)
          const bytes = all.subarray(0, end % (all.length + 1))
          const whole = readPackets([bytes], newReader(from))
          expect(readPackets(cut(bytes, chunkSizes), newReader(from))).toEqual(whole)
        }),
        { numRuns: 200 },
      )
    })

    it('be it random bytes', () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), sizes, (random, chunkSizes) => {
          const bytes = Buffer.from(random)
          const whole = readPackets([bytes], newReader(from))
          expectInStream(bytes, whole)
          expect(readPackets(cut(bytes, chunkSizes), newReader(from))).toEqual(whole)
        }),
        { numRuns: 500 },
      )
    })
  },
)

describe('J1: what is accepted has one reading only', () => {
  it.each(['client', 'server'] as const)('whatever bytes of a packet from a %s are changed', (from) => {
    fc.assert(
      fc.property(packet(from), edits, (valid, changes) => {
        const bytes = edited(valid, changes)
        const { heads, fault } = readPackets([bytes], newReader(from))
        const [head] = heads
        if (fault !== undefined || heads.length !== 1 || head === undefined) return
        if (head.head.length / 2 + head.bodyLength !== bytes.length) return
        // mqtt-packet reads an empty DISCONNECT or AUTH beyond its end.
        if (bytes[1] === 0) return
        expect(fieldsOf(head)).toEqual(peerFields(bytes))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('oracle: the fields of valid packets are those that mqtt-packet reads', () => {
  it.each(['client', 'server'] as const)('from a %s', (from) => {
    fc.assert(
      fc.property(packet(from), (bytes) => {
        const { heads, fault } = readPackets([bytes], newReader(from))
        expect(fault).toBe(undefined)
        expect(heads).toHaveLength(1)
        expect(heads[0]!.head.length / 2 + heads[0]!.bodyLength).toBe(bytes.length)
        if (bytes[1] !== 0) expect(fieldsOf(heads[0]!)).toEqual(peerFields(bytes))
      }),
      { numRuns: 1000 },
    )
  })
})

it('every single-bit error ends in a head or a fault', () => {
  const packets: [From, Buffer][] = [
    ['client', frames.connect({ will: { topic: 'w', payload: 'p' }, userName: 'u', password: 'p' })],
    ['client', frames.publish({ qos: 1, properties: [frames.prop.topicAlias(1)], payload: 'p' })],
    ['client', frames.subscribe({ filters: [['$share/g/a'], ['b/+']] })],
    ['server', frames.connack({ properties: [frames.prop.userProperty('k', 'v')] })],
    ['server', frames.suback([0, 1])],
    ['server', frames.disconnect(0x98, [frames.prop.reasonString('why')])],
  ]
  for (const [from, valid] of packets) {
    for (let bit = 0; bit < valid.length * 8; bit++) {
      const damaged = Buffer.from(valid)
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      expectInStream(damaged, readPackets([damaged], newReader(from)))
    }
  }
})

/** What we read, in the terms of `peerFields`. */
function fieldsOf({ packet: type, head, bodyLength, fields }: Found): Record<string, unknown> {
  const bytes = Buffer.from(head, 'hex')
  const number = (name: string) => fields[name] as number
  const range = (name: string) =>
    number(`${name}Start`) < 0 ? undefined : bytes.subarray(number(`${name}Start`), number(`${name}End`))
  const text = (name: string) => range(name)?.toString()
  switch (type) {
    case 'PUBLISH':
      return {
        ...{ type, topic: text('topic'), qos: fields['qos'], dup: fields['dup'], retain: fields['retain'] },
        ...{ packetId: fields['packetId'], topicAlias: fields['topicAlias'], bodyLength },
        ...{ responseTopic: text('responseTopic'), correlationData: range('correlationData') },
      }
    case 'CONNECT':
      return {
        ...{
          type,
          clientId: text('clientId'),
          cleanStart: fields['cleanStart'],
          keepAlive: fields['keepAlive'],
        },
        ...{
          sessionExpiryInterval: fields['sessionExpiryInterval'],
          receiveMaximum: fields['receiveMaximum'],
        },
        ...{ maximumPacketSize: fields['maximumPacketSize'], topicAliasMaximum: fields['topicAliasMaximum'] },
        requestProblemInformation: fields['requestProblemInformation'],
        ...{ method: text('authenticationMethod'), data: range('authenticationData') },
        ...{ hasWill: fields['hasWill'], willQos: fields['willQos'], willRetain: fields['willRetain'] },
        ...{ willTopic: text('willTopic'), willPayload: range('willPayload') },
        ...{
          willResponseTopic: text('willResponseTopic'),
          userName: text('userName'),
          password: range('password'),
        },
      }
    case 'CONNACK':
      return {
        ...{ type, sessionPresent: fields['sessionPresent'], reasonCode: fields['reasonCode'] },
        ...{
          sessionExpiryInterval: fields['sessionExpiryInterval'],
          receiveMaximum: fields['receiveMaximum'],
        },
        ...{ maximumQos: fields['maximumQos'], retainAvailable: fields['retainAvailable'] },
        ...{ maximumPacketSize: fields['maximumPacketSize'], topicAliasMaximum: fields['topicAliasMaximum'] },
        ...{ serverKeepAlive: fields['serverKeepAlive'], assignedClientId: text('assignedClientId') },
      }
    case 'SUBSCRIBE':
    case 'UNSUBSCRIBE': {
      const ends = fields['filterEnd'] as number[]
      const filters = (fields['filterStart'] as number[]).map((start, i) =>
        bytes.toString('utf8', start, ends[i]),
      )
      const { packetId, subscriptionIdentifier, options } = fields
      return { type, packetId, filters, subscriptionIdentifier, options }
    }
    case 'SUBACK':
    case 'UNSUBACK':
      return { type, packetId: fields['packetId'], codes: [...range('codes')!] }
    case 'PINGREQ':
    case 'PINGRESP':
      return { type }
    default:
      return {
        ...{ type, packetId: fields['packetId'], reasonCode: fields['reasonCode'] },
        sessionExpiryInterval: fields['sessionExpiryInterval'],
        ...{ method: text('authenticationMethod'), data: range('authenticationData') },
      }
  }
}

/** What mqtt-packet reads in one whole packet. */
function peerFields(bytes: Buffer): Record<string, unknown> {
  let read: Packet | undefined
  const peer = parser({ protocolVersion: 5 })
  peer.on('packet', (one) => {
    read ??= one
  })
  peer.parse(bytes)
  if (read === undefined) return { type: 'nothing' }
  const type = read.cmd.toUpperCase()
  switch (read.cmd) {
    case 'publish': {
      const { topic, qos, dup, retain, messageId, payload, properties } = read as IPublishPacket
      return {
        ...{ type, topic, qos, dup, retain, packetId: messageId ?? 0, bodyLength: payload.length },
        ...{ topicAlias: properties?.topicAlias ?? 0, responseTopic: properties?.responseTopic },
        correlationData: properties?.correlationData,
      }
    }
    case 'connect': {
      const { clientId, clean, keepalive, will, username, password, properties } = read
      return {
        ...{ type, clientId, cleanStart: clean, keepAlive: keepalive },
        sessionExpiryInterval: properties?.sessionExpiryInterval ?? 0,
        receiveMaximum: properties?.receiveMaximum ?? 65_535,
        maximumPacketSize: properties?.maximumPacketSize ?? 0,
        topicAliasMaximum: properties?.topicAliasMaximum ?? 0,
        requestProblemInformation: properties?.requestProblemInformation ?? true,
        ...{ method: properties?.authenticationMethod, data: properties?.authenticationData },
        ...{ hasWill: will !== undefined, willQos: will?.qos ?? 0, willRetain: will?.retain ?? false },
        ...{ willTopic: will?.topic, willPayload: will?.payload },
        willResponseTopic: will?.properties?.responseTopic,
        ...{ userName: username?.toString(), password },
      }
    }
    case 'connack': {
      const { sessionPresent, reasonCode, properties } = read
      return {
        ...{ type, sessionPresent, reasonCode },
        sessionExpiryInterval: properties?.sessionExpiryInterval ?? -1,
        receiveMaximum: properties?.receiveMaximum ?? 65_535,
        maximumQos: properties?.maximumQoS ?? 2,
        retainAvailable: properties?.retainAvailable ?? true,
        maximumPacketSize: properties?.maximumPacketSize ?? 0,
        topicAliasMaximum: properties?.topicAliasMaximum ?? 0,
        serverKeepAlive: properties?.serverKeepAlive ?? -1,
        assignedClientId: properties?.assignedClientIdentifier,
      }
    }
    case 'subscribe':
      return {
        ...{ type, packetId: read.messageId, filters: read.subscriptions.map((one) => one.topic) },
        subscriptionIdentifier: read.properties?.subscriptionIdentifier ?? 0,
        options: read.subscriptions.map(
          ({ qos, nl, rap, rh }) => qos | (nl ? 4 : 0) | (rap ? 8 : 0) | ((rh ?? 0) << 4),
        ),
      }
    case 'unsubscribe': {
      const filters = read.unsubscriptions
      return {
        ...{ type, packetId: read.messageId, filters },
        ...{ subscriptionIdentifier: 0, options: filters.map(() => 0) },
      }
    }
    case 'suback':
    case 'unsuback':
      return { type, packetId: read.messageId, codes: read.granted }
    case 'pingreq':
    case 'pingresp':
      return { type }
    default: {
      const properties: Record<string, unknown> = { ...read.properties }
      return {
        ...{ type, packetId: read.messageId ?? 0, reasonCode: read.reasonCode ?? 0 },
        sessionExpiryInterval: properties['sessionExpiryInterval'] ?? -1,
        ...{ method: properties['authenticationMethod'], data: properties['authenticationData'] },
      }
    }
  }
}
