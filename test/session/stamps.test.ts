// The names that Postern puts into messages, and that nobody else can.
import { describe, expect, test } from 'vitest'
import { CARRIED_POLICY, CarriedRig, carry, stamps } from '../support/carried.ts'
import { ack, connack, connect, PINGREQ, prop, publish } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { type RigOptions, SessionRig } from '../support/session-rig.ts'

const FORGED = [prop.userProperty('postern-human', 'eve'), prop.userProperty('postern-tenant', 'org_z')]
const STAMP = { delegation: { stamp: true } }
const rigWith = (delegation: object, options: RigOptions = {}): SessionRig =>
  new SessionRig({ policy: CARRIED_POLICY, ...options, config: { delegation, ...options.config } })
const to = 'ok/u1/a'

describe('every message names who it is from', () => {
  test('agent, human and tenant of the connection, behind all other properties', async () => {
    const it = await rigWith({ stamp: true }, { bearer: { tenant: 'org_a' } }).connect()
    const properties = [prop.userProperty('a', '1'), prop.contentType('x'), prop.userProperty('a', '1')]
    it.fromClient(publish({ topic: to, properties }))
    expect(it.toServer).toEqual(publish({ topic: to, properties: [...properties, ...stamps('u1', 'org_a')] }))
  })

  test('DEL-04 an agent that acts for itself names no human: the one who answers for it sent nothing', async () => {
    const it = await rigWith({ stamp: true }, { delegated: false }).connect()
    it.fromClient(publish({ topic: 'ok/all' }))
    expect(it.toServer).toEqual(publish({ topic: 'ok/all', properties: stamps() }))
  })

  test('under other names, if they are configured', async () => {
    const it = await rigWith({ stamp: true, agentProperty: 'by', humanProperty: 'for' }).connect()
    it.fromClient(publish({ topic: to, properties: [prop.userProperty('by', 'eve'), FORGED[0]!] }))
    const properties = [FORGED[0]!, prop.userProperty('by', 'scout'), prop.userProperty('for', 'u1')]
    expect(it.toServer).toEqual(publish({ topic: to, properties }))
  })

  test('the same head again, with another Packet Identifier and payload, in one chunk and in pieces', async () => {
    const it = await rigWith({ stamp: true }).connect()
    const sent: Buffer[] = []
    const expected: Buffer[] = []
    for (const [i, length] of [0, 1, 90, 4096, 4097, 20_000, 3].entries()) {
      const message = { topic: to, qos: 1, packetId: 500 + i, payload: 'x'.repeat(length) }
      sent.push(publish(message), PINGREQ)
      expected.push(publish({ ...message, properties: stamps('u1') }), PINGREQ)
    }
    it.fromClient(...sent)
    it.fromClient(...sent)
    for (const packet of sent) {
      it.fromClient(packet.subarray(0, packet.length - 1))
      it.fromClient(packet.subarray(packet.length - 1))
    }
    const once = Buffer.concat(expected)
    expect(it.toServer.equals(Buffer.concat([once, once, once]))).toBe(true)
    expect(it.audit.events.filter(({ action }) => action === 'publish')).toHaveLength(21)
  })

  test('with a Topic Alias that the broker has not learned', async () => {
    const limits = [prop.topicAliasMaximum(5)]
    const it = await rigWith({ stamp: true }).connect({ properties: limits }, { properties: limits })
    it.fromClient(publish({ topic: 'ok/nobody/a', qos: 1, packetId: 1, properties: [prop.topicAlias(2)] }))
    it.usePolicy(CARRIED_POLICY.replaceAll('ok/{user_id}/#', 'ok/#'))
    it.forget()
    const alias = [prop.topicAlias(2), ...FORGED]
    it.fromClient(publish({ topic: '', properties: alias }), publish({ topic: '', properties: alias }))
    const properties = [prop.topicAlias(2), ...stamps('u1')]
    expect(it.toServer).toEqual(
      Buffer.concat([publish({ topic: 'ok/nobody/a', properties }), publish({ topic: '', properties })]),
    )
  })

  test('ACL-14 together with a shorter Message Expiry Interval', async () => {
    const config = { ...STAMP, sessions: { retainedExpiry: 'token' } }
    const it = await rigWith({ stamp: true }, { config, lifetimeMs: 60_000 }).connect()
    const properties = [prop.messageExpiryInterval(100), ...FORGED, prop.contentType('x')]
    it.fromClient(publish({ topic: to, retain: true, properties }))
    const expected = [prop.contentType('x'), prop.messageExpiryInterval(60), ...stamps('u1')]
    expect(it.toServer).toEqual(publish({ topic: to, retain: true, properties: expected }))
  })

  test('a message that grows beyond the broker’s Maximum Packet Size is refused, known head or not', async () => {
    const message = (length: number): Buffer =>
      publish({ topic: to, qos: 1, packetId: 9, payload: 'x'.repeat(length) })
    const grown = (length: number): Buffer =>
      publish({ topic: to, qos: 1, packetId: 9, payload: 'x'.repeat(length), properties: stamps('u1') })
    const most = 300
    const it = await rigWith({ stamp: true }).connect({}, { properties: [prop.maximumPacketSize(most)] })
    const fits = most - grown(0).length - 1
    it.fromClient(message(fits), message(fits), message(fits + 1), message(fits))
    expect(it.toServer.equals(Buffer.concat([grown(fits), grown(fits), grown(fits)]))).toBe(true)
    expect(it.toClient).toEqual(ack('puback', 9, 0x97))
    expect(it.audit.events[2]).toMatchObject({ reason: 'too_large_for_receiver' })
  })
})

describe('nobody else sets them', () => {
  test('without a token and without `stamp`, forged names are taken out all the same', async () => {
    const it = await new CarriedRig().connect()
    const own = prop.userProperty('own', 'x')
    const forged = publish({ topic: to, properties: [FORGED[0]!, own, ...FORGED] })
    it.fromClient(forged, forged, publish({ topic: to }))
    const clean = publish({ topic: to, properties: [own] })
    expect(it.toServer).toEqual(Buffer.concat([clean, clean, publish({ topic: to })]))
  })

  test('on delivery they arrive as they were put in', async () => {
    const it = await rigWith({ stamp: true }).connect()
    const delivery = publish({ topic: to, properties: [...stamps('ann'), ...FORGED] })
    it.fromServer(delivery)
    expect(it.toClient).toEqual(delivery)
  })

  test('where nothing is configured the names are data', async () => {
    const it = await rigWith({}).connect()
    const message = publish({ topic: to, properties: FORGED })
    it.fromClient(message)
    expect(it.toServer).toEqual(message)
  })
})

describe('in a Will', () => {
  const will = (properties: Buffer[]) => ({ topic: to, payload: 'gone', qos: 1, properties })

  async function connectSent(delegation: object, properties: Buffer[]): Promise<SessionRig> {
    const it = rigWith(delegation)
    it.fromClient(connect({ password: 'a.b.c', will: will(properties) }))
    await it.settle()
    return it
  }

  test.each([
    ['stamped', { stamp: true }, stamps('u1')],
    ['only cleaned', { property: 'postern-token' }, []],
  ])('%s', async (_, delegation, expected) => {
    const own = prop.userProperty('own', 'x')
    const it = await connectSent(delegation, [...FORGED, own, prop.willDelayInterval(5)])
    const [packet] = packetsIn(it.toServer)
    const properties = [own, prop.willDelayInterval(5), ...expected]
    const bare = connect({ will: will(properties) })
    const [wanted] = packetsIn(bare)
    expect(packet).toMatchObject({ cmd: 'connect', will: (wanted as { will: object }).will })
  })

  test('a token in it refuses the CONNECT: nobody could verify it when the Will is sent', async () => {
    const it = await connectSent({ property: 'postern-token' }, [carry('ann.1.x')])
    expect(it.toClient).toEqual(
      connack({ reasonCode: 0x87, properties: [prop.reasonString('not authorized')] }),
    )
    expect(it.event('will')).toMatchObject({ decision: 'deny', reason: 'token_refused' })
    expect(it.toServer).toHaveLength(0)
  })
})
