// PUBLISH through the whole path: what is allowed reaches the broker, what is denied is answered and reaches nobody.
// Ids: agent-specs.md 6.9 (P), identity-standards.md 13 (ACL), peers.md 2 (`peers.`).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ack, auth, bytes, PINGREQ, type PublishOptions, prop, publish, uint16 } from '../support/frames.ts'
import { openStage, type Stage } from '../support/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

const ns = 'a2a/v1'
const notes = `${ns}/notes/scout`
const own = [prop.responseTopic(`${ns}/mcp/clients/scout/responses`)]
const card: PublishOptions = { topic: `${ns}/agents/scout/card`, qos: 1, retain: true }
const call = `${ns}/mcp/tools/query_watch_configs/call`

type Row = [id: string, what: string, options: PublishOptions]

test.each<Row>([
  ['P1', 'its own card, retained', card],
  ['P5', 'a task for analyst', { topic: `${ns}/tasks/analyst/inbox`, qos: 1 }],
  ['P10', 'a call with its own Response Topic', { topic: call, qos: 1, properties: own }],
  ['ACL-13', 'a note at QoS 1, retained', { topic: `${notes}/a`, qos: 1, retain: true }],
])('%s %s: allowed, and at the broker as it was sent', async (_id, _what, options) => {
  const scout = await stage.agent('scout')
  scout.send(publish({ ...options, payload: 'x' }))
  expect((await scout.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
  expect(await stage.observer.seen()).toEqual([
    { topic: options.topic, payload: 'x', qos: 1, retain: options.retain ?? false },
  ])
  await stage.observer.publish(String(options.topic), '', { retain: true })
})

test.each<Row>([
  ['P2, peers.A10', 'somebody else’s card', { ...card, topic: `${ns}/agents/analyst/card` }],
  ['P3', 'its card without retain', { ...card, retain: false }],
  [
    'P4, peers.E5',
    'an empty retained message, which would delete somebody else’s card',
    { ...card, topic: `${ns}/agents/analyst/card`, payload: '' },
  ],
  ['P6', 'a task for operator', { topic: `${ns}/tasks/operator/inbox`, qos: 1 }],
  [
    'P7, ACL-13',
    'a task for analyst, retained',
    { topic: `${ns}/tasks/analyst/inbox`, qos: 1, retain: true },
  ],
  ['ACL-13', 'a task above the QoS of the rule', { topic: `${ns}/tasks/analyst/inbox`, qos: 2 }],
  [
    'P11',
    'a call of a tool that is not for it',
    { topic: `${ns}/mcp/tools/create_social_post/call`, qos: 1, properties: own },
  ],
  [
    'P12, ACL-12, peers.I1',
    'a call whose answer would go to operator',
    { topic: call, qos: 1, properties: [prop.responseTopic(`${ns}/mcp/clients/operator/responses`)] },
  ],
  [
    'P13, peers.I1',
    'a call whose answer would overwrite a card',
    { topic: call, qos: 1, properties: [prop.responseTopic(`${ns}/agents/gtm/card`)] },
  ],
  ['P15', 'a call without a Response Topic', { topic: call, qos: 1 }],
  ['P21', 'a topic with dots', { ...card, topic: `${ns}/agents/scout/card/../../analyst/card` }],
  ['P21, peers.B5', 'a topic with an empty level', { ...card, topic: `${ns}//agents/scout/card` }],
  ['peers.B5', 'a topic with a leading slash', { ...card, topic: `/${ns}/agents/scout/card` }],
  ['P21, peers.B8', 'a topic in capitals', { ...card, topic: 'A2A/v1/agents/scout/card' }],
  ['peers.B8', 'a topic with a lookalike letter', { topic: `${ns}/notes/ѕcout/a`, qos: 1 }],
  ['peers.B8', 'a topic behind a byte order mark', { topic: `\uFEFF${notes}/a`, qos: 1 }],
  ['P22, peers.C4, peers.C5', 'the control plane', { topic: '$CONTROL/dynamic-security/v1', qos: 1 }],
  ['P22, peers.C4', 'the broker’s own topics', { topic: '$SYS/x', qos: 1 }],
  ['peers.C4', 'an internal name space', { topic: '$MQTT/x', qos: 1 }],
  [
    'P22, peers.C4',
    'a shared subscription as a topic',
    { topic: `$share/g/${ns}/agents/scout/card`, qos: 1 },
  ],
  ['P22, peers.C3', 'a delayed message', { topic: `$delayed/1/${notes}/a`, qos: 1 }],
])('%s %s: denied, and at the broker there is nothing', async (_id, _what, options) => {
  const scout = await stage.agent('scout')
  scout.send(publish({ payload: 'x', ...options, packetId: 77 }))
  const answer = options.qos === 2 ? await scout.next('pubrec') : await scout.next('puback')
  expect(answer).toMatchObject({ messageId: 77, reasonCode: 0x87 })
  await scout.ping()
  expect(await stage.observer.seen()).toEqual([])
  expect(stage.relay.sent.map((packet) => packet.cmd)).toEqual(['connect', 'pingreq'])
})

describe('denied', () => {
  test('P3, P23, ACL-08 at QoS 0: nothing upstream, no answer, and the connection stays', async () => {
    const scout = await stage.agent('scout')
    scout.send(publish({ ...card, qos: 0 }), publish({ topic: 'x' }))
    await scout.ping()
    expect(await stage.observer.seen()).toEqual([])
  })

  test('P23, ACL-08 at QoS 0 by option: DISCONNECT 0x87', async () => {
    const postern = await stage.anotherPostern({ config: { denial: { publishQos0: 'disconnect' } } })
    const scout = await stage.agent('scout', {}, postern)
    scout.send(
      publish({ topic: `${notes}/before` }),
      publish({ topic: 'x' }),
      publish({ topic: `${notes}/after` }),
    )
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    await scout.closed()
    await stage.relay.sessions.at(-1)!.toBroker.closed()
    expect(await stage.observer.messages()).toEqual([`${notes}/before `])
  })

  test('P24, ACL-07, peers.G1 at QoS 2: PUBREC 0x87, no PUBREL is expected, and the identifier is free again', async () => {
    const scout = await stage.agent('scout')
    scout.send(publish({ topic: 'x', qos: 2, packetId: 5 }))
    expect(await scout.next('pubrec')).toMatchObject({ messageId: 5, reasonCode: 0x87 })
    scout.send(ack('pubrel', 5))
    expect(await scout.next('pubcomp')).toMatchObject({ messageId: 5, reasonCode: 0x92 })
    scout.send(publish({ topic: `${notes}/a`, qos: 2, packetId: 5, payload: 'second' }))
    await scout.next('pubrec')
    scout.send(ack('pubrel', 5))
    expect(await scout.next('pubcomp')).toMatchObject({ messageId: 5 })
    expect(await stage.observer.messages()).toEqual([`${notes}/a second`])
  })

  test('peers.G2 sent again with DUP: judged again, and answered the same', async () => {
    const scout = await stage.agent('scout')
    for (const dup of [false, true]) {
      scout.send(publish({ topic: 'x', qos: 2, dup, packetId: 6 }))
      expect(await scout.next('pubrec')).toMatchObject({ messageId: 6, reasonCode: 0x87 })
    }
    expect(stage.relay.sent.map((packet) => packet.cmd)).toEqual(['connect'])
  })

  test('ACL-18 by option the code is 0x80, so that topics cannot be probed', async () => {
    const postern = await stage.anotherPostern({ config: { denial: { hideTopics: true } } })
    const scout = await stage.agent('scout', {}, postern)
    scout.send(publish({ topic: 'x', qos: 1 }))
    expect(await scout.next('puback')).toMatchObject({ reasonCode: 0x80 })
  })

  test('ACL-01 by an empty policy: everything', async () => {
    const postern = await stage.anotherPostern({ policy: '' })
    const scout = await stage.agent('scout', {}, postern)
    scout.send(publish({ ...card, packetId: 1 }), publish({ topic: 'a', qos: 2, packetId: 2 }))
    expect(await scout.next('puback')).toMatchObject({ reasonCode: 0x87 })
    expect(await scout.next('pubrec')).toMatchObject({ reasonCode: 0x87 })
  })
})

test('P25 100 publishes in one write, every 10th denied: each is answered once, and the others arrive in order', async () => {
  const scout = await stage.agent('scout')
  const topics = Array.from({ length: 100 }, (_, i) => ((i + 1) % 10 === 0 ? 'x' : `${notes}/${i + 1}`))
  scout.send(...topics.map((topic, i) => publish({ topic, qos: 1, packetId: i + 1, payload: 'p' })))
  const answers: { id: number; denied: boolean }[] = []
  for (let i = 0; i < 100; i++) {
    const { messageId, reasonCode } = await scout.next('puback')
    answers.push({ id: messageId!, denied: reasonCode === 0x87 })
  }
  const ids = (denied: boolean) =>
    answers.filter((answer) => answer.denied === denied).map((answer) => answer.id)
  expect(ids(true)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
  expect(ids(false)).toEqual(topics.flatMap((topic, i) => (topic === 'x' ? [] : i + 1)))
  expect((await stage.observer.seen()).map(({ topic }) => topic)).toEqual(
    topics.filter((topic) => topic !== 'x'),
  )
})

describe('Topic Alias', () => {
  test('P19, P20, ACL-03, peers.H1 is judged by the name behind it, and the broker never sees a definition that was denied', async () => {
    const stub = await stage.anotherPostern({})
    const scout = await stage.agent('scout', {}, stub)
    const alias = (topic: string, packetId: number) =>
      publish({ topic, qos: 1, packetId, properties: [prop.topicAlias(1)] })
    scout.send(
      alias(`${ns}/agents/analyst/card`, 1),
      alias('', 2),
      alias(`${notes}/a`, 3),
      alias('', 4),
      alias('x', 5),
      alias('', 6),
    )
    const codes: (number | undefined)[] = []
    for (let i = 0; i < 6; i++) {
      const { messageId, reasonCode } = await scout.next('puback')
      codes[messageId! - 1] = reasonCode === 0x87 ? 0x87 : 0
    }
    expect(codes).toEqual([0x87, 0x87, 0, 0, 0x87, 0x87])
    expect(await stage.observer.messages()).toEqual([`${notes}/a `, `${notes}/a `])
  })

  test('ACL-03, peers.H2, peers.H3 that was never set on this connection ends it with 0x82', async () => {
    const first = await stage.agent('scout')
    first.send(publish({ topic: `${notes}/a`, qos: 1, properties: [prop.topicAlias(1)] }))
    await first.next('puback')
    first.end()
    await first.closed()
    const scout = await stage.agent('scout')
    scout.send(publish({ topic: '', qos: 1, properties: [prop.topicAlias(1)] }))
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x82 })
  })

  test.each([[0], [11], [65_535]])('peers.H2 %i is more than was granted, or none: 0x94', async (alias) => {
    const scout = await stage.agent('scout')
    scout.send(publish({ topic: `${notes}/a`, properties: [prop.topicAlias(alias)] }))
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x94 })
    expect(await stage.observer.seen()).toEqual([])
  })
})

const note = `${notes}/a`

test.each([
  [
    'P14, peers.I2',
    'a wildcard in the Response Topic',
    publish({ topic: call, properties: [prop.responseTopic(`${ns}/mcp/clients/+/responses`)] }),
    0x82,
  ],
  ['P14', 'two Response Topics', publish({ topic: call, properties: [...own, ...own] }), 0x82],
  [
    'P26, peers.I5',
    'a Subscription Identifier',
    publish({ topic: note, properties: [prop.subscriptionIdentifier(1)] }),
    0x82,
  ],
  ['peers.B7', 'a wildcard in the Topic Name', publish({ topic: `${ns}/agents/+/card` }), 0x81],
  ['peers.B7', 'a `#` in the Topic Name', publish({ topic: `${notes}/#` }), 0x81],
  ['peers.B8', 'a NUL in the Topic Name', publish({ topic: `${notes}/\0` }), 0x81],
  ['peers.B8', 'over-long UTF-8', publish({ topic: bytes(`${notes}/`, 0xc0, 0xaf) }), 0x81],
  ['peers.B8', 'a surrogate', publish({ topic: bytes(`${notes}/`, 0xed, 0xa0, 0x80) }), 0x81],
  ['peers.J9', 'a CONNACK', Buffer.of(0x20, 3, 0, 0, 0), 0x82],
  ['peers.J9', 'a SUBACK', Buffer.of(0x90, 4, 0, 1, 0, 0), 0x82],
  ['peers.J9', 'a packet of type 0', Buffer.of(0x00, 0), 0x81],
  [
    'peers.J9',
    'AUTH on a connection without enhanced authentication',
    auth(0x19, [prop.authenticationMethod('OAUTH2-JWT')]),
    0x82,
  ],
])(
  '%s %s: the connection ends with that code, and nothing of it or behind it reaches the broker',
  async (_id, _what, packet, code) => {
    const scout = await stage.agent('scout')
    scout.send(packet, publish({ topic: note, payload: 'after' }))
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: code })
    await stage.relay.sessions.at(-1)!.toBroker.closed()
    expect(await stage.observer.seen()).toEqual([])
  },
)

test('peers.J9 acknowledgements for identifiers that nobody knows are the broker’s to judge', async () => {
  const scout = await stage.agent('scout')
  const stray = Buffer.concat([ack('puback', 999), ack('pubcomp', 998)])
  scout.send(stray, PINGREQ)
  const sent = stage.relay.sessions.at(-1)!.toBroker
  await sent.received(sent.bytes.length + stray.length)
  expect(sent.bytes.includes(stray)).toBe(true)
})

test('peers.I6 with Request Problem Information 0 an acknowledgement of Postern says its code and nothing else', async () => {
  const scout = await stage.agent('scout', { properties: [bytes(0x17, 0)] })
  scout.send(publish({ topic: 'x', qos: 1, packetId: 3 }))
  await scout.next('puback')
  expect(scout.inbox.bytes.subarray(-5)).toEqual(bytes(0x40, 3, uint16(3), 0x87))
})

test('peers.A10 a payload that names somebody else gives no right', async () => {
  const scout = await stage.agent('scout')
  scout.send(publish({ topic: call, qos: 1, properties: own, payload: '{"client":"operator"}' }))
  await scout.next('puback')
  const record = (await stage.postern.records()).at(-1)
  expect(record).toMatchObject({
    decision: 'allow',
    identity: { agent: { id: 'scout' }, human: { id: 'u1' } },
  })
})

test('peers.A4 characters that mean something in a regular expression are literal', async () => {
  for (const name of ['.*', 'a|scout', '(', '[a-z]', 'scout\\']) {
    const client = await stage.agent(name)
    client.send(publish({ topic: `${ns}/notes/${name}/a`, qos: 1, packetId: 1 }))
    expect((await client.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
    client.send(publish({ topic: `${notes}/a`, qos: 1, packetId: 2 }))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
  }
})

test('OPS-04 a message of a megabyte passes as it is, at QoS 2', async () => {
  const payload = Buffer.alloc(1024 * 1024, 'payload ')
  const scout = await stage.mqttAgent('scout')
  await scout.publishAsync(`${notes}/big`, payload, { qos: 2 })
  const [packet] = await stage.observer.packets()
  expect(Buffer.from(packet!.payload).equals(payload)).toBe(true)
  await scout.endAsync()
})

test('peers.F1 an agent that connects a second time takes over its own session, and nobody else’s', async () => {
  const [first, analyst] = [await stage.agent('scout'), await stage.agent('analyst')]
  const second = await stage.agent('scout')
  await first.closed()
  await second.ping()
  await analyst.ping()
})
