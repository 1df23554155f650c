// A broker that misbehaves, or that does what Mosquitto 2.0 never does: a scripted stub on real sockets. The agent is
// protected from it, and is told; other agents do not notice.
// Ids: agent-specs.md 6.9 (S10), peers.md 2 (`peers.`).
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  ack,
  auth,
  connack,
  connect,
  disconnect,
  PINGRESP,
  prop,
  publish,
  suback,
  subscribe,
  unsuback,
} from '../support/frames.ts'
import { startPostern, type TestPostern } from '../support/postern.ts'
import { RawClient } from '../support/raw-client.ts'
import { type BrokerSide, ScriptedBroker } from '../support/scripted-broker.ts'
import { OK_POLICY } from '../support/session-rig.ts'

const NARROW = OK_POLICY.replaceAll('ok/#', 'ok/notes/#')

let stub: ScriptedBroker
let postern: TestPostern
let clients: RawClient[]

beforeAll(async () => {
  stub = await ScriptedBroker.start()
})
beforeEach(async () => {
  postern = await startPostern({ broker: stub, policy: OK_POLICY })
  clients = []
})
afterEach(async () => {
  for (const client of clients) client.destroy()
  await postern.stop()
})
afterAll(() => stub?.stop())

async function dialing(...properties: Buffer[]): Promise<RawClient> {
  const client = await RawClient.open({ port: postern.port, name: 'scout' })
  clients.push(client)
  client.send(connect({ password: await postern.issuer.mint(), properties }))
  return client
}

/** An agent and the broker's end of its connection. */
async function connected(
  properties: Buffer[] = [],
  answer: Buffer[] = [],
): Promise<{ client: RawClient; broker: BrokerSide }> {
  const client = await dialing(...properties)
  const broker = await stub.connection()
  await broker.accept({ properties: answer })
  await client.next('connack')
  return { client, broker }
}

async function subscribed(client: RawClient, broker: BrokerSide, filter: string): Promise<void> {
  client.send(subscribe({ packetId: 1, filters: [[filter, 2]] }))
  await broker.next('subscribe')
  broker.send(suback([2], 1))
  await client.next('suback')
}

/** Everything up to here has been dealt with: a delivery that is allowed comes last. */
async function nothingBefore(client: RawClient, broker: BrokerSide): Promise<void> {
  broker.send(publish({ topic: 'ok/notes/last' }))
  expect(await client.next('publish')).toMatchObject({ topic: 'ok/notes/last' })
}

describe('a broker that goes on delivering', () => {
  test('S10, ACL-10, peers.E3 after Postern’s UNSUBSCRIBE: nothing is delivered, everything is acknowledged, and audited', async () => {
    const { client, broker } = await connected()
    await subscribed(client, broker, 'ok/s')
    await postern.usePolicy(NARROW)
    expect(await broker.next('unsubscribe')).toMatchObject({ unsubscriptions: ['ok/s'] })
    broker.send(
      publish({ topic: 'ok/s', qos: 0 }),
      publish({ topic: 'ok/s', qos: 1, packetId: 1 }),
      publish({ topic: 'ok/s', qos: 2, packetId: 2, retain: true }),
    )
    expect(await broker.next('puback')).toMatchObject({ messageId: 1, reasonCode: 0x87 })
    expect(await broker.next('pubrec')).toMatchObject({ messageId: 2, reasonCode: 0 })
    broker.send(ack('pubrel', 2))
    expect(await broker.next('pubcomp')).toMatchObject({ messageId: 2 })
    await nothingBefore(client, broker)
    const dropped = (await postern.records()).filter((record) => record.action === 'deliver')
    expect(dropped.map(({ decision, reason, effect }) => [decision, reason, effect])).toEqual(
      Array(3).fill(['deny', 'no_rule', 'dropped']),
    )
  })

  test('S10 and says that there was nothing to unsubscribe: the agent does not see that answer', async () => {
    const { client, broker } = await connected()
    await subscribed(client, broker, 'ok/s')
    await postern.usePolicy(NARROW)
    const { messageId } = await broker.next('unsubscribe')
    broker.send(unsuback([0x11], messageId))
    await nothingBefore(client, broker)
  })

  test('what the agent never subscribed to', async () => {
    const { client, broker } = await connected()
    broker.send(publish({ topic: '$SYS/broker/uptime' }), publish({ topic: 'no/a' }))
    await nothingBefore(client, broker)
  })
})

describe('a broker that uses Topic Aliases', () => {
  const alias = [prop.topicAlias(1)]

  test('peers.H1, peers.H2 each use is judged by its name, and one whose definition was dropped is delivered with it', async () => {
    const { client, broker } = await connected([prop.topicAliasMaximum(5)])
    broker.send(publish({ topic: 'no/a', properties: alias }), publish({ topic: '', properties: alias }))
    broker.send(
      publish({ topic: 'ok/notes/a', properties: alias }),
      publish({ topic: '', properties: alias, payload: 'x' }),
    )
    expect(await client.next('publish')).toMatchObject({ topic: 'ok/notes/a' })
    expect(await client.next('publish')).toMatchObject({ topic: '', properties: { topicAlias: 1 } })
    await postern.usePolicy('version: 1')
    broker.send(publish({ topic: 'ok/notes/b', properties: alias }))
    await postern.usePolicy(OK_POLICY)
    broker.send(publish({ topic: '', properties: alias }))
    expect(await client.next('publish')).toMatchObject({ topic: 'ok/notes/b', properties: { topicAlias: 1 } })
  })

  test('peers.H2 more than the agent granted: the session ends', async () => {
    const { client, broker } = await connected()
    broker.send(publish({ topic: 'ok/a', properties: alias }))
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x80 })
    expect(await broker.next('disconnect')).toMatchObject({ reasonCode: 0x82 })
  })

  test('peers.H3 on a new connection the aliases of the former one mean nothing', async () => {
    const first = await connected([prop.topicAliasMaximum(5)])
    first.broker.send(publish({ topic: 'ok/a', properties: alias }))
    await first.client.next('publish')
    first.client.end()
    await first.broker.inbox.closed()
    const second = await connected([prop.topicAliasMaximum(5)])
    second.broker.send(publish({ topic: '', properties: alias }))
    expect(await second.client.next('disconnect')).toMatchObject({ reasonCode: 0x80 })
  })
})

describe('a broker that breaks the protocol', () => {
  test.each([
    ['a SUBACK with too many codes', suback([0, 0], 1), 'suback_count'],
    ['a SUBACK with too few codes', suback([], 1), ''],
    ['a SUBACK that nobody asked for', suback([0], 99), 'unknown_suback'],
    ['AUTH', auth(0x18, [prop.authenticationMethod('x')]), 'unexpected_auth'],
    ['a second CONNACK', connack(), 'second_connack'],
    ['a packet that only agents send', subscribe({ packetId: 3 }), ''],
    ['a topic with a wildcard', publish({ topic: 'ok/#' }), ''],
    ['bytes that are no packet', Buffer.of(0x0f, 0), ''],
  ])(
    'by %s: both sides are told and closed, and nothing of it reaches the agent',
    async (_, bytes, fault) => {
      const { client, broker } = await connected()
      client.send(subscribe({ packetId: 1, filters: [['ok/a', 0]] }))
      await broker.next('subscribe')
      broker.send(bytes, publish({ topic: 'ok/after' }))
      expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x80 })
      expect(await client.closed()).toEqual([])
      expect(await broker.next('disconnect')).toMatchObject({ reasonCode: 0x82 })
      const record = (await postern.records()).at(-1)
      expect(record).toMatchObject({ action: 'disconnect', reason: 'server_fault' })
      if (fault !== '') expect(record?.detail).toBe(fault)
    },
  )

  test('does not end the connections of other agents', async () => {
    const [one, two] = [await connected(), await connected()]
    one.broker.send(Buffer.of(0x0f, 0))
    await one.client.closed()
    await nothingBefore(two.client, two.broker)
  })
})

describe('a broker that closes', () => {
  test('with a DISCONNECT of three bytes, as Mosquitto sends it: the agent gets it as it is', async () => {
    const { client, broker } = await connected()
    broker.send(disconnect(0x8e))
    broker.socket.end()
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x8e })
    await client.closed()
    expect(client.inbox.bytes.subarray(-3)).toEqual(disconnect(0x8e))
  })

  test.each([
    ['by FIN', (broker: BrokerSide) => void broker.socket.end()],
    ['by RST', (broker: BrokerSide) => void broker.socket.resetAndDestroy()],
  ])('%s in the middle of a delivery: the agent gets what had come, and the close', async (_, close) => {
    const { client, broker } = await connected()
    const whole = publish({ topic: 'ok/whole' })
    const half = publish({ topic: 'ok/half', payload: Buffer.alloc(100) }).subarray(0, 50)
    broker.send(whole, half)
    const before = client.inbox.bytes.length
    await client.inbox.received(before + whole.length + half.length)
    close(broker)
    expect(await client.closed()).toMatchObject([{ cmd: 'publish', topic: 'ok/whole' }])
  })
})

describe('a broker that does not let Postern in', () => {
  test('refuses the connection: CONNACK 0x88', async () => {
    const closed = await ScriptedBroker.start()
    const { host, port } = closed
    await closed.stop()
    const lonely = await startPostern({ broker: { host, port }, policy: OK_POLICY })
    const client = await RawClient.open({ port: lonely.port })
    client.send(connect({ password: await lonely.issuer.mint() }))
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0x88 })
    await client.closed()
    expect(lonely.app.ready).toBe(false)
    await lonely.stop()
  })

  test('never answers the CONNECT: CONNACK 0x88 after the time that is set', async () => {
    const client = await dialing()
    const broker = await stub.connection()
    await broker.next('connect')
    postern.clock.advance(5_000)
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0x88 })
    await broker.inbox.closed()
  })

  test.each([
    ['closes before its CONNACK', (broker: BrokerSide) => void broker.socket.end()],
    ['answers with something else', (broker: BrokerSide) => broker.send(PINGRESP)],
    [
      'answers with nonsense',
      (broker: BrokerSide) => broker.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')),
    ],
  ])('%s: CONNACK 0x88', async (_, misbehave) => {
    const client = await dialing()
    const broker = await stub.connection()
    await broker.next('connect')
    misbehave(broker)
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0x88 })
    expect(await client.closed()).toEqual([])
  })

  test('refuses the CONNECT: its code and its words reach the agent', async () => {
    const client = await dialing()
    const broker = await stub.connection()
    await broker.next('connect')
    broker.send(connack({ reasonCode: 0x97, properties: [prop.reasonString('full')] }))
    expect(await client.next('connack')).toMatchObject({
      reasonCode: 0x97,
      properties: { reasonString: 'full' },
    })
    await client.closed()
  })
})

test('peers.G5 while a request of Postern is open, the agent’s own ones are answered to whom they belong', async () => {
  const { client, broker } = await connected()
  await subscribed(client, broker, 'ok/s')
  client.send(publish({ topic: 'ok/notes/a', qos: 1, packetId: 65_535 }))
  await broker.next('publish')
  await postern.usePolicy(NARROW)
  const { messageId: own } = await broker.next('unsubscribe')
  expect([1, 65_535]).not.toContain(own)
  client.send(subscribe({ packetId: 2, filters: [['ok/notes/s', 0]] }))
  await broker.next('subscribe')
  broker.send(suback([0], 2), unsuback([0], own), ack('puback', 65_535))
  expect(await client.next('suback')).toMatchObject({ messageId: 2 })
  expect(await client.next('puback')).toMatchObject({ messageId: 65_535 })
  await nothingBefore(client, broker)
})
