import { describe, expect, it } from 'vitest'
import { type ConnackChanges, rewriteConnack } from '../../src/wire/connack-rewrite.ts'
import { type ConnectChanges, rewriteConnect } from '../../src/wire/connect-rewrite.ts'
import { Step } from '../../src/wire/packet-reader.ts'
import { rewritePublish } from '../../src/wire/publish-rewrite.ts'
import { withCodes } from '../../src/wire/suback-rewrite.ts'
import { narrowSubscribe } from '../../src/wire/subscribe-rewrite.ts'
import * as frames from '../support/frames.ts'
import { type From, newReader } from '../support/read-packets.ts'

const { prop } = frames

/** Reads a packet that does not start at offset 0 of its chunk. */
function read(frame: Buffer, from: From = 'client') {
  const reader = newReader(from)
  reader.load(Buffer.concat([from === 'client' ? frames.PINGREQ : frames.PINGRESP, frame]))
  expect(reader.next()).toBe(Step.HEAD)
  expect(reader.next()).toBe(Step.HEAD)
  return reader
}

describe('rewriteConnect', () => {
  const rewrite = (options: frames.ConnectOptions, changes: ConnectChanges) => {
    const reader = read(frames.connect(options))
    return rewriteConnect(reader.source, reader.connect, changes)
  }
  const will = {
    topic: 'w/t',
    payload: Buffer.of(0, 255, 0x80),
    qos: 2,
    retain: true,
    properties: [prop.willDelayInterval(5), prop.userProperty('k', 'v')],
  }

  it('changes the Client Identifier and nothing else', () => {
    const properties = [prop.userProperty('b', '1'), prop.receiveMaximum(20), prop.userProperty('a', '2')]
    const same = { cleanStart: false, keepAlive: 60, properties, will }
    expect(rewrite({ ...same, clientId: 'old' }, { clientId: 'new id' })).toEqual(
      frames.connect({ ...same, clientId: 'new id' }),
    )
  })

  it('C1: leaves out user name, password, Authentication Method and Authentication Data', () => {
    const credential = [prop.authenticationMethod('OAUTH2-JWT'), prop.authenticationData('secret-token')]
    const out = rewrite(
      {
        clientId: 'a',
        userName: 'secret-user',
        password: 'secret-password',
        will,
        properties: [prop.receiveMaximum(5), ...credential, prop.userProperty('k', 'v')],
      },
      { clientId: 'a' },
    )
    expect(out).toEqual(
      frames.connect({
        clientId: 'a',
        will,
        properties: [prop.receiveMaximum(5), prop.userProperty('k', 'v')],
      }),
    )
    expect(out.includes('secret')).toBe(false)
  })

  it('logs in with the credential given', () => {
    const changes = { clientId: 'a', userName: 'postern', password: Buffer.of(1, 2) }
    expect(rewrite({ clientId: 'a', userName: 'u', password: 'p' }, changes)).toEqual(
      frames.connect({ clientId: 'a', userName: 'postern', password: Buffer.of(1, 2) }),
    )
    expect(rewrite({ password: 'p' }, { clientId: 'a', userName: 'postern' })).toEqual(
      frames.connect({ clientId: 'a', userName: 'postern' }),
    )
  })

  it('replaces properties that are there and adds those that are not', () => {
    const user = prop.userProperty('k', 'v')
    const changes = {
      clientId: 'a',
      sessionExpiryInterval: 4_294_967_295,
      topicAliasMaximum: 7,
      maximumPacketSize: 9,
    }
    const changed = [
      prop.sessionExpiryInterval(4_294_967_295),
      prop.topicAliasMaximum(7),
      prop.maximumPacketSize(9),
    ]
    const expected = frames.connect({ clientId: 'a', properties: [user, ...changed] })
    const old = [prop.topicAliasMaximum(1), prop.sessionExpiryInterval(3), user, prop.maximumPacketSize(100)]
    expect(rewrite({ properties: old }, changes)).toEqual(expected)
    expect(rewrite({ properties: [user] }, changes)).toEqual(expected)
  })

  it('takes out a Session Expiry Interval or Topic Alias Maximum of 0', () => {
    const properties = [prop.sessionExpiryInterval(3), prop.topicAliasMaximum(1)]
    const changes = { clientId: 'a', sessionExpiryInterval: 0, topicAliasMaximum: 0 }
    expect(rewrite({ properties }, changes)).toEqual(frames.connect({ clientId: 'a' }))
  })

  it.each([true, false])('sets Clean Start to %s', (cleanStart) => {
    expect(rewrite({ cleanStart: !cleanStart }, { clientId: 'a', cleanStart })).toEqual(
      frames.connect({ cleanStart, clientId: 'a' }),
    )
  })
})

describe('rewriteConnack', () => {
  const rewrite = (options: frames.ConnackOptions, changes: ConnackChanges) => {
    const reader = read(frames.connack(options), 'server')
    return rewriteConnack(reader.source, reader.connack, changes)
  }
  const user = prop.userProperty('k', 'v')

  it('without changes is the same CONNACK', () => {
    const same = { sessionPresent: true, properties: [user, prop.receiveMaximum(3), user] }
    expect(rewrite(same, {})).toEqual(frames.connack(same))
    expect(rewrite({ reasonCode: 0x87 }, {})).toEqual(frames.connack({ reasonCode: 0x87 }))
  })

  it('replaces properties that are there and adds those that are not', () => {
    const changes = {
      assignedClientId: 'scout',
      sessionExpiryInterval: 0,
      topicAliasMaximum: 5,
      maximumPacketSize: 1000,
      authenticationMethod: 'OAUTH2-JWT',
    }
    const changed = [
      prop.assignedClientIdentifier('scout'),
      prop.sessionExpiryInterval(0),
      prop.topicAliasMaximum(5),
      prop.maximumPacketSize(1000),
      prop.authenticationMethod('OAUTH2-JWT'),
    ]
    const expected = frames.connack({ properties: [user, ...changed] })
    const old = [
      prop.authenticationMethod('x'),
      prop.maximumPacketSize(1),
      user,
      prop.topicAliasMaximum(1),
      prop.sessionExpiryInterval(1),
      prop.assignedClientIdentifier('auto-1'),
    ]
    expect(rewrite({ properties: old }, changes)).toEqual(expected)
    expect(rewrite({ properties: [user] }, changes)).toEqual(expected)
  })

  it('takes out a Topic Alias Maximum of 0 and an Assigned Client Identifier', () => {
    const properties = [prop.topicAliasMaximum(10), user, prop.assignedClientIdentifier('auto-1')]
    const changes = { topicAliasMaximum: 0, dropAssignedClientId: true }
    expect(rewrite({ properties }, changes)).toEqual(frames.connack({ properties: [user] }))
    expect(rewrite({}, changes)).toEqual(frames.connack())
  })
})

describe('rewritePublish', () => {
  it.each([
    ['QoS 0', { payload: 'x'.repeat(20) }],
    ['QoS 2, DUP, RETAIN', { qos: 2, dup: true, retain: true, packetId: 700, payload: 'x' }],
    ['an empty payload', {}],
    ['a Remaining Length that grows a byte', { payload: 'x'.repeat(118) }],
    ['a Remaining Length that grows to three bytes', { payload: 'x'.repeat(16_370) }],
  ])('H4: puts a name in place of none: %s', (_, options) => {
    const properties = [prop.topicAlias(3), prop.userProperty('k', 'v')]
    const before = frames.publish({ ...options, properties, topic: '' })
    const reader = read(before)
    const topic = 'agents/scout/card'
    const head = rewritePublish(reader.source, reader, reader.publish, { topic: Buffer.from(topic) })
    const body = before.subarray(before.length - reader.bodyLength)
    expect(Buffer.concat([head, body])).toEqual(frames.publish({ ...options, properties, topic }))
  })

  it('H4: takes the head from a seam as well', () => {
    const before = frames.publish({ topic: '', properties: [prop.topicAlias(3)], payload: 'body' })
    const reader = newReader('client')
    reader.load(before.subarray(0, 5))
    expect(reader.next()).toBe(Step.NEED_MORE)
    reader.load(before.subarray(5))
    expect(reader.next()).toBe(Step.HEAD)
    const head = rewritePublish(reader.source, reader, reader.publish, { topic: Buffer.from('a/b') })
    expect(Buffer.concat([head, Buffer.from('body')])).toEqual(
      frames.publish({ topic: 'a/b', properties: [prop.topicAlias(3)], payload: 'body' }),
    )
  })

  it.each([
    ['none is there', [prop.userProperty('k', 'v')], [prop.userProperty('k', 'v')]],
    [
      'a longer one is there',
      [prop.messageExpiryInterval(900), prop.contentType('t')],
      [prop.contentType('t')],
    ],
  ])('ACL-14: sets the Message Expiry Interval where %s, with and without a name', (_, properties, kept) => {
    const options = { qos: 1 as const, packetId: 9, retain: true, payload: 'body' }
    const reader = read(frames.publish({ ...options, topic: 'a/b', properties }))
    const expected = [...kept, prop.messageExpiryInterval(60)]
    const rewrite = (topic?: string) =>
      Buffer.concat([
        rewritePublish(reader.source, reader, reader.publish, {
          topic: topic === undefined ? undefined : Buffer.from(topic),
          messageExpiryInterval: 60,
        }),
        Buffer.from('body'),
      ])
    expect(rewrite()).toEqual(frames.publish({ ...options, topic: 'a/b', properties: expected }))
    expect(rewrite('long/name')).toEqual(
      frames.publish({ ...options, topic: 'long/name', properties: expected }),
    )
  })

  it('replaces a name that is there', () => {
    const reader = read(frames.publish({ topic: 'some/longer/name' }))
    expect(rewritePublish(reader.source, reader, reader.publish, { topic: Buffer.from('b') })).toEqual(
      frames.publish({ topic: 'b' }),
    )
  })
})

describe('narrowSubscribe', () => {
  it('S3: keeps the allowed filters, their order, the identifier and the properties', () => {
    const same = { packetId: 300, properties: [prop.subscriptionIdentifier(9), prop.userProperty('k', 'v')] }
    const reader = read(
      frames.subscribe({
        ...same,
        filters: [
          ['a/#', 2],
          ['$share/g/ü', 0x19],
          ['c', 0x2e],
        ],
      }),
    )
    expect(narrowSubscribe(reader.source, reader.filters, [true, false, true], [0x01, 0x19, 0x2e])).toEqual(
      frames.subscribe({
        ...same,
        filters: [
          ['a/#', 1],
          ['c', 0x2e],
        ],
      }),
    )
  })
})

describe('withCodes', () => {
  it('S3: puts other Reason Codes behind the same identifier and properties', () => {
    const properties = [prop.reasonString('why'), prop.userProperty('k', 'v')]
    const reader = read(frames.suback([0, 1], 300, properties), 'server')
    expect(withCodes(reader.source, reader.codes, [0, 0x87, 1])).toEqual(
      frames.suback([0, 0x87, 1], 300, properties),
    )
    const many = Array.from({ length: 200 }, (_, i) => (i % 2 ? 0x87 : 0))
    expect(withCodes(reader.source, reader.codes, many)).toEqual(frames.suback(many, 300, properties))
  })
})
