// SUBSCRIBE and UNSUBSCRIBE through the whole path: what the agent is answered, and which filters the broker ever sees.
// Ids: agent-specs.md 6.9 (S), identity-standards.md 13 (ACL), peers.md 2 (`peers.`).
import type { ISubscribePacket } from 'mqtt-packet'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { bytes, prop, publish, subscribe, unsubscribe } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import { type AgentOptions, openStage, type Stage } from '../support/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

const ns = 'a2a/v1'
const denied = 0x87
const TOOLS = { claims: { tools: ['query_watch_configs'], call_ids: ['c1'] } }

/** What the agent is answered, and the filters (with their QoS) that the broker saw. */
async function ask(
  agent: string,
  filters: readonly (readonly [string, number])[],
  options: AgentOptions = {},
  postern?: TestPostern,
): Promise<{ granted: unknown; upstream: string[] }> {
  const client = await stage.agent(agent, options, postern)
  client.send(subscribe({ packetId: 11, filters }))
  const { granted, messageId } = await client.next('suback')
  expect(messageId).toBe(11)
  await client.ping()
  const sent = stage.relay.sent.filter((packet): packet is ISubscribePacket => packet.cmd === 'subscribe')
  return {
    granted,
    upstream: sent.flatMap((packet) => packet.subscriptions.map(({ topic, qos }) => `${topic} ${qos}`)),
  }
}

type Row = [id: string, agent: string, filter: string]

test.each<Row>([
  ['S1', 'scout', `${ns}/agents/+/card`],
  ['S3', 'scout', `${ns}/tasks/scout/inbox`],
  ['S4', 'scout', `${ns}/mcp/clients/scout/responses`],
  ['S5', 'scout', `${ns}/mcp/tools/crawl/stream/c1`],
  [
    'S7, ACL-06, peers.C7',
    'gtm',
    `$share/mcp-tool-query_watch_configs/${ns}/mcp/tools/query_watch_configs/call`,
  ],
  ['peers.B1', 'scout', `${ns}/notes/scout/+/c`],
  ['peers.B5', 'scout', `${ns}/notes/scout`],
  ['peers.B5', 'scout', `${ns}/notes/scout//`],
])('%s as %s %s: granted', async (_id, agent, filter) => {
  expect(await ask(agent, [[filter, 1]], TOOLS)).toEqual({ granted: [1], upstream: [`${filter} 1`] })
})

test.each<Row>([
  ['S2, peers.B1', 'scout', '#'],
  ['S2', 'scout', '+/#'],
  ['S2, ACL-04', 'scout', `${ns}/#`],
  ['S2', 'scout', `${ns}/tasks/+/inbox`],
  ['S2', 'scout', `${ns}/tasks/+/result`],
  ['S4', 'scout', `${ns}/mcp/clients/operator/responses`],
  ['S5', 'scout', `${ns}/mcp/tools/crawl/stream/+`],
  ['S6, peers.C1, peers.C7', 'scout', `$share/g/${ns}/tasks/analyst/inbox`],
  ['S6, peers.C7', 'scout', `$share/g/${ns}/tasks/scout/inbox`],
  ['S7', 'scout', `$share/mcp-tool-query_watch_configs/${ns}/mcp/tools/query_watch_configs/call`],
  ['S8, peers.C7', 'gtm', `$share/evil/${ns}/mcp/tools/query_watch_configs/call`],
  ['S12, ACL-04, peers.B1', 'scout', `${ns}/agents/scout/#`],
  ['peers.B1', 'scout', `${ns}/agents/#`],
  ['ACL-05, peers.B3', 'analyst', `${ns}/vault/#`],
  ['ACL-05, peers.B3', 'analyst', `${ns}/vault/+`],
  ['ACL-05', 'analyst', `${ns}/vault/secret`],
  ['ACL-06, peers.C1', 'scout', '$share/g/#'],
  ['peers.B5, peers.C4', 'scout', '$SYS/#'],
  ['peers.C4', 'scout', '$CONTROL/#'],
  ['peers.C3', 'scout', `$queue/${ns}/notes/scout/a`],
  ['peers.C3', 'scout', `$exclusive/${ns}/notes/scout/a`],
  ['peers.C3', 'scout', `$queue/n/${ns}/notes/scout/#`],
  ['peers.B5', 'scout', `/${ns}/notes/scout/a`],
  ['peers.B8', 'scout', `A2A/v1/notes/scout/a`],
])('%s as %s %s: 0x87, and the broker sees nothing', async (_id, agent, filter) => {
  expect(await ask(agent, [[filter, 1]], TOOLS)).toEqual({ granted: [denied], upstream: [] })
})

describe('several filters in one packet', () => {
  test('S3, ACL-09, peers.B4 own inbox, analyst’s inbox, cards: 0x01, 0x87, 0x01, and the broker receives two', async () => {
    const [mine, theirs, cards] = [
      `${ns}/tasks/scout/inbox`,
      `${ns}/tasks/analyst/inbox`,
      `${ns}/agents/+/card`,
    ]
    const answer = await ask('scout', [
      [mine, 1],
      [theirs, 1],
      [cards, 1],
    ])
    expect(answer).toEqual({ granted: [1, denied, 1], upstream: [`${mine} 1`, `${cards} 1`] })
  })

  test('ACL-09, peers.B4 five, every other one denied: codes by position, each the broker’s or Postern’s', async () => {
    const notes = `${ns}/notes/scout`
    const answer = await ask('scout', [
      ['x', 2],
      [`${notes}/a`, 2],
      ['y', 0],
      [`${notes}/b`, 0],
      ['z', 1],
    ])
    expect(answer).toEqual({
      granted: [denied, 2, denied, 0, denied],
      upstream: [`${notes}/a 2`, `${notes}/b 0`],
    })
  })

  test('ACL-09 none allowed: nothing is sent to the broker, and the identifier is free again', async () => {
    const client = await stage.agent('scout')
    for (let i = 0; i < 2; i++) {
      client.send(
        subscribe({
          packetId: 4,
          filters: [
            ['#', 0],
            ['x', 0],
          ],
        }),
      )
      expect(await client.next('suback')).toMatchObject({ messageId: 4, granted: [denied, denied] })
    }
    expect(stage.relay.sent.map((packet) => packet.cmd)).toEqual(['connect'])
  })

  test('peers.B4, peers.C1, peers.E2 what was denied delivers nothing, retained or not; what was granted does', async () => {
    await stage.observer.publish(`${ns}/tasks/analyst/inbox`, 'retained', { retain: true })
    const client = await stage.agent('scout')
    const share = `$share/g/${ns}/tasks/analyst/inbox`
    client.send(
      subscribe({
        filters: [
          [`${ns}/tasks/analyst/inbox`, 1],
          [share, 1],
          [`${ns}/tasks/scout/inbox`, 0],
        ],
      }),
    )
    await client.next('suback')
    await stage.observer.publish(`${ns}/tasks/analyst/inbox`, 'not for scout')
    await stage.observer.publish(`${ns}/tasks/scout/inbox`, 'for scout')
    expect(await client.next('publish')).toMatchObject({ topic: `${ns}/tasks/scout/inbox` })
    await client.ping()
    await stage.observer.publish(`${ns}/tasks/analyst/inbox`, '', { retain: true })
  })

  test('the properties and the other options of the packet reach the broker with the filters that remain', async () => {
    const client = await stage.agent('scout')
    const topic = `${ns}/notes/scout/a`
    const noLocal = 0b0010_0101 | 0b1000
    client.send(
      subscribe({
        filters: [
          ['x', 1],
          [topic, noLocal],
        ],
        properties: [prop.subscriptionIdentifier(7)],
      }),
    )
    expect(await client.next('suback')).toMatchObject({ granted: [denied, 1] })
    expect(stage.relay.sent.at(-1)).toMatchObject({
      subscriptions: [{ topic, qos: 1, nl: true, rap: true, rh: 2 }],
      properties: { subscriptionIdentifier: 7 },
    })
    await stage.observer.publish(topic, 'x')
    expect(await client.next('publish')).toMatchObject({ properties: { subscriptionIdentifier: 7 } })
  })
})

describe('QoS above the rule', () => {
  test('S9 is lowered to what the rule allows, at the broker and in the answer', async () => {
    const filter = `${ns}/agents/+/card`
    expect(await ask('scout', [[filter, 2]])).toEqual({ granted: [1], upstream: [`${filter} 1`] })
  })

  test('S9 is denied by option', async () => {
    const postern = await stage.anotherPostern({ config: { denial: { qosAboveLimit: 'deny' } } })
    expect(await ask('scout', [[`${ns}/agents/+/card`, 2]], {}, postern)).toEqual({
      granted: [denied],
      upstream: [],
    })
  })
})

test('ACL-05, peers.B3 by option a filter that overlaps a deny is granted, and the denied part is never delivered', async () => {
  const postern = await stage.anotherPostern({ config: { denial: { overlappingDeny: 'filter' } } })
  const analyst = await stage.agent('analyst', {}, postern)
  analyst.send(subscribe({ filters: [[`${ns}/vault/#`, 1]] }))
  expect(await analyst.next('suback')).toMatchObject({ granted: [1] })
  await stage.observer.publish(`${ns}/vault/secret`, 'no')
  await stage.observer.publish(`${ns}/vault/other`, 'yes')
  expect(await analyst.next('publish')).toMatchObject({ topic: `${ns}/vault/other` })
  const records = await postern.records()
  expect(records.at(-1)).toMatchObject({ action: 'deliver', reason: 'deny_rule', effect: 'dropped' })
})

test.each([
  [
    'S11, peers.C8',
    'a shared subscription with No Local',
    [[`$share/mcp-tool-query_watch_configs/${ns}/mcp/tools/query_watch_configs/call`, 0b101]],
    0x82,
  ],
  ['peers.C2', '`$share`', [['$share', 0]], 0x81],
  ['peers.C2', '`$share/`', [['$share/', 0]], 0x81],
  ['peers.C2', '`$share/g`', [['$share/g', 0]], 0x81],
  ['peers.C2', '`$share/g/`', [['$share/g/', 0]], 0x81],
  ['peers.C2', 'an empty group', [['$share//a', 0]], 0x81],
  ['peers.C2', 'a wildcard as group', [['$share/+/a', 0]], 0x81],
  ['peers.C2', 'a wildcard in the group', [['$share/g#/a', 0]], 0x81],
  ['peers.B6', 'an empty filter', [['', 0]], 0x81],
  ['peers.B6', '`a#`', [['a#', 0]], 0x81],
  ['peers.B6', '`a+`', [['a+', 0]], 0x81],
  ['peers.B6', '`#/a`', [['#/a', 0]], 0x81],
  ['peers.B6', '`a/#/b`', [['a/#/b', 0]], 0x81],
  ['peers.B6', 'more than 200 levels', [['a/'.repeat(200), 0]], 0x8f],
  ['peers.A7', 'a line break', [['a\r\nb', 0]], 0x81],
  ['peers.A7', 'a NUL', [['a\0b', 0]], 0x81],
  ['peers.A7', 'a DEL', [['a\x7f', 0]], 0x81],
] as [string, string, [string, number][], number][])(
  '%s %s: the connection ends with a code of its own, and nothing is forwarded',
  async (_id, _what, filters, code) => {
    const client = await stage.agent('gtm', TOOLS)
    client.send(subscribe({ filters: [[`${ns}/agents/+/card`, 1], ...filters] }))
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: code })
    await client.closed()
    expect(stage.relay.sent.map((packet) => packet.cmd)).toEqual(['connect'])
  },
)

describe('peers.I5 Subscription Identifier', () => {
  const filters = [[`${ns}/notes/scout/a`, 1]] as const

  test.each([
    ['0', [prop.subscriptionIdentifier(0)], 0x82],
    ['twice', [prop.subscriptionIdentifier(1), prop.subscriptionIdentifier(2)], 0x82],
    ['too long', [bytes(0x0b, 0xff, 0xff, 0xff, 0xff, 0x01)], 0x81],
  ])('%s: protocol error', async (_, properties, code) => {
    const client = await stage.agent('scout')
    client.send(subscribe({ filters, properties }))
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: code })
  })

  test('the largest one is accepted', async () => {
    const client = await stage.agent('scout')
    client.send(subscribe({ filters, properties: [prop.subscriptionIdentifier(268_435_455)] }))
    expect(await client.next('suback')).toMatchObject({ granted: [1] })
  })
})

describe('UNSUBSCRIBE', () => {
  test('peers.C6 is always allowed, and is for the filter as it was written, shared or not', async () => {
    const client = await stage.agent('gtm', TOOLS)
    const plain = `${ns}/mcp/tools/query_watch_configs/call`
    const shared = `$share/mcp-tool-query_watch_configs/${plain}`
    client.send(
      subscribe({
        packetId: 1,
        filters: [
          [plain, 1],
          [shared, 1],
        ],
      }),
    )
    expect(await client.next('suback')).toMatchObject({ granted: [1, 1] })
    client.send(unsubscribe([shared, 'never/subscribed'], 2))
    expect(await client.next('unsuback')).toMatchObject({ messageId: 2, granted: [0, 0x11] })
    await stage.observer.publish(plain, 'once')
    await client.next('publish')
    await client.ping()
  })
})

describe('peers.A5 a Client Identifier that is a wildcard', () => {
  const POLICY = 'version: 1\nagents: [{ id: own, allow: publish+subscribe, topic: "my/{client_id}/topic" }]'

  test('becomes no wildcard in a rule', async () => {
    const config = { clientId: { binding: 'any' }, policy: { file: 'policy.yaml', userLayer: 'none' } }
    const postern = await stage.anotherPostern({ policy: POLICY, config })
    const filters = ['my/+/topic', 'my/scout/topic', '#'].map((filter) => [filter, 0] as const)
    expect(await ask('scout', filters, { clientId: '+' }, postern)).toEqual({
      granted: [denied, denied, denied],
      upstream: [],
    })
    expect((await ask('scout', filters, { clientId: 'scout' }, postern)).granted).toEqual([denied, 0, denied])
  })
})

test('peers.A8 Client Identifiers that look alike are different clients', async () => {
  const config = { clientId: { binding: 'any' } }
  const postern = await stage.anotherPostern({ config })
  const ids = ['a/b', 'a%2Fb', 'A/b', 'caf\u00e9', 'cafe\u0301']
  const clients = []
  for (const clientId of ids) clients.push(await stage.agent('scout', { clientId }, postern))
  for (const client of clients) await client.ping()
  const connects = stage.relay.sessions.slice(-ids.length).map((tap) => tap.toBroker.waiting[0])
  expect(connects).toMatchObject(ids.map((clientId) => ({ cmd: 'connect', clientId })))
})

test('peers.A9 filters named like what every object has', async () => {
  const filters = ['__proto__', 'constructor', 'hasOwnProperty/#'].map((filter) => [filter, 0] as const)
  const own = ['__proto__', 'toString'].map((level) => [`${ns}/notes/scout/${level}`, 1] as const)
  expect((await ask('scout', [...filters, ...own])).granted).toEqual([denied, denied, denied, 1, 1])
})

test('a policy that allows nothing grants nothing', async () => {
  const postern = await stage.anotherPostern({ policy: 'version: 1' })
  expect(await ask('scout', [[`${ns}/agents/+/card`, 1]], {}, postern)).toEqual({
    granted: [denied],
    upstream: [],
  })
})

test('S1 a card that was retained before is delivered, with its retain flag', async () => {
  const analyst = await stage.agent('analyst')
  analyst.send(publish({ topic: `${ns}/agents/analyst/card`, qos: 1, retain: true, payload: 'card' }))
  await analyst.next('puback')
  const scout = await stage.agent('scout')
  scout.send(subscribe({ filters: [[`${ns}/agents/+/card`, 1]] }))
  await scout.next('suback')
  expect(await scout.next('publish')).toMatchObject({ topic: `${ns}/agents/analyst/card`, retain: true })
})
