// The exact bytes that reach the broker, and the exact bytes that reach the agent, however they were cut on their way.
// Ids: peers.md 2 (`peers.`), agent-specs.md 6.9 (S3), identity-standards.md 13 (ACL-09).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  ack,
  connect,
  disconnect,
  PINGREQ,
  prop,
  publish,
  subscribe,
  unsubscribe,
} from '../support/frames.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { chunksOf } from '../support/traffic.ts'

let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

const notes = 'a2a/v1/notes/scout'
const alias = [prop.topicAlias(1)]

/** A CONNECT and everything that can follow it, some of it denied. */
function script(token: string): { bytes: Buffer; allowed: Buffer } {
  const parts: [packet: Buffer, forwarded: Buffer][] = []
  const pass = (packet: Buffer) => parts.push([packet, packet])
  const deny = (packet: Buffer) => parts.push([packet, Buffer.alloc(0)])
  pass(publish({ topic: `${notes}/a`, payload: 'x' }))
  pass(
    publish({
      topic: `${notes}/b`,
      qos: 1,
      packetId: 2,
      payload: Buffer.alloc(700, 'y'),
      properties: [prop.userProperty('k', 'v'), prop.userProperty('k', 'v')],
    }),
  )
  deny(publish({ topic: 'x', qos: 1, packetId: 3, payload: Buffer.alloc(700, 'z') }))
  pass(publish({ topic: `${notes}/c`, qos: 2, packetId: 4, properties: alias }))
  pass(publish({ topic: '', qos: 0, properties: alias, payload: 'by alias' }))
  parts.push([
    subscribe({
      packetId: 5,
      filters: [
        [`${notes}/s`, 1],
        ['#', 0],
        ['a2a/v1/tasks/scout/inbox', 2],
      ],
      properties: [prop.subscriptionIdentifier(9)],
    }),
    subscribe({
      packetId: 5,
      filters: [
        [`${notes}/s`, 1],
        ['a2a/v1/tasks/scout/inbox', 1],
      ],
      properties: [prop.subscriptionIdentifier(9)],
    }),
  ])
  deny(subscribe({ packetId: 6, filters: [['#', 0]] }))
  pass(unsubscribe([`${notes}/s`, 'never'], 7))
  deny(publish({ topic: '$SYS/x', payload: 'no' }))
  pass(ack('pubrel', 4))
  pass(PINGREQ)
  pass(disconnect(0x04))
  return {
    bytes: Buffer.concat([
      connect({ password: token, userName: 'u', keepAlive: 60 }),
      ...parts.map(([packet]) => packet),
    ]),
    allowed: Buffer.concat(parts.map(([, forwarded]) => forwarded)),
  }
}

/** Plays the script in chunks of these sizes; returns what the broker got. */
async function upstream(sizes: readonly number[]): Promise<Buffer> {
  const { bytes } = script(await stage.token('scout'))
  const client = await stage.socket()
  for (const chunk of chunksOf(bytes, sizes)) await client.sendAlone(chunk)
  await client.closed()
  return stage.relay.sessions.at(-1)!.toBroker.bytes
}

describe('peers.J12, peers.J14', () => {
  let whole: Buffer
  beforeAll(async () => {
    whole = await upstream([1_000_000])
  })

  test('what the broker gets behind its CONNECT is what the agent sent, byte for byte, without what was denied', () => {
    const { allowed } = script('')
    expect(whole.subarray(whole.length - allowed.length)).toEqual(allowed)
    expect(whole[0]).toBe(0x10)
    expect(whole.length - allowed.length).toBe(whole[1]! + 2)
  })

  test.each([[[1]], [[2, 3]], [[7, 1, 1000]], [[64]], [[1460]]])(
    'is the same in chunks of %j bytes',
    async (sizes) => {
      expect(await upstream(sizes)).toEqual(whole)
    },
  )

  test('holds the messages that the observer sees, and no others', async () => {
    await upstream([500])
    expect(await stage.observer.messages()).toEqual([
      `${notes}/a x`,
      `${notes}/b ${'y'.repeat(700)}`,
      `${notes}/c by alias`,
      `${notes}/c `,
    ])
  })

  test('1,000 packets in one write are 1,000 decisions', async () => {
    const scout = await stage.agent('scout')
    const packets = Array.from({ length: 1000 }, (_, i) =>
      publish({ topic: i % 3 === 0 ? 'x' : `${notes}/n`, payload: String(i) }),
    )
    scout.send(...packets)
    await scout.ping()
    const sent = packets.filter((_, i) => i % 3 !== 0)
    const { bytes } = stage.relay.sessions.at(-1)!.toBroker
    expect(bytes.subarray(-2)).toEqual(PINGREQ)
    expect(bytes.subarray(-2 - Buffer.concat(sent).length, -2)).toEqual(Buffer.concat(sent))
    expect(await stage.observer.seen()).toHaveLength(sent.length)
  })
})

test('S3, ACL-09 a SUBSCRIBE that loses a filter is otherwise the same bytes', async () => {
  const scout = await stage.agent('scout')
  const properties = [prop.subscriptionIdentifier(200), prop.userProperty('a', 'b')]
  const kept = [
    [`${notes}/1`, 0b0010_1101],
    [`${notes}/2`, 0b0001_0000],
  ] as const
  scout.send(subscribe({ packetId: 300, filters: [kept[0], ['x/#', 2], kept[1]], properties }))
  await scout.next('suback')
  const expected = subscribe({ packetId: 300, filters: kept, properties })
  expect(stage.relay.sessions.at(-1)!.toBroker.bytes.subarray(-expected.length)).toEqual(expected)
})

test('peers.H4 an alias whose definition was denied is sent with its name, once, and means the same at the broker', async () => {
  const scout = await stage.agent('scout')
  const card = 'a2a/v1/agents/scout/card'
  const send = (topic: string, retain: boolean, packetId: number) =>
    publish({ topic, qos: 1, retain, packetId, payload: `${packetId}`, properties: alias })
  // Its card may only be retained: the definition is denied, the uses are not.
  scout.send(send(card, false, 1), send('', true, 2), send('', true, 3))
  expect(await scout.next('puback')).toMatchObject({ messageId: 1, reasonCode: 0x87 })
  await scout.next('puback')
  await scout.next('puback')
  const expected = Buffer.concat([send(card, true, 2), send('', true, 3)])
  expect(stage.relay.sessions.at(-1)!.toBroker.bytes.subarray(-expected.length)).toEqual(expected)
  expect(await stage.observer.messages()).toEqual([`${card} 2`, `${card} 3`])
  await stage.observer.publish(card, '', { retain: true })
})

test('peers.J12 deliveries reach the agent as the broker sent them, large ones too', async () => {
  const scout = await stage.agent('scout')
  scout.send(subscribe({ filters: [[`${notes}/#`, 1]] }))
  await scout.next('suback')
  const from = scout.inbox.bytes.length
  const tap = stage.relay.sessions.at(-1)!
  const fromBroker = tap.toPostern.bytes.length
  const payload = Buffer.alloc(300_000, 'delivery ')
  await stage.observer.publish(`${notes}/big`, payload, {
    properties: { contentType: 'x', userProperties: { a: ['1', '2'] } },
  })
  expect((await scout.next('publish')).payload.length).toBe(payload.length)
  expect(scout.inbox.bytes.subarray(from).equals(tap.toPostern.bytes.subarray(fromBroker))).toBe(true)
})
