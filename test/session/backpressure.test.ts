// A side that does not read holds up the other one, and nothing but that; what Postern holds stays bounded, and goes on
// when there is room again.
import { expect, test } from 'vitest'
import { ack, PINGREQ, publish } from '../support/frames.ts'
import type { MemoryPeer } from '../support/memory-peer.ts'
import { SessionRig } from '../support/session-rig.ts'

const KIB = 1024
/** One chunk as a socket gives it. */
const CHUNK = publish({ topic: 'ok/a', payload: Buffer.alloc(64 * KIB - 20, 'x') })
/** The most that is held for one side: what stops its source, and the chunk that passed it. */
const BOUND = 400 * KIB

const denied = Buffer.concat(
  Array.from({ length: 1000 }, (_, i) => publish({ topic: 'no/a', qos: 1, packetId: i + 1 })),
)

/** Sends for as long as the source is read, at most `most` times; returns how often. */
function pump(source: MemoryPeer, most: number, send: () => void): number {
  let sent = 0
  while (sent < most && !source.paused) {
    send()
    sent++
  }
  return sent
}

test('OPS-06 a broker that does not read stops the agent, and lets it go on when it reads again', async () => {
  const it = await new SessionRig().connect()
  it.server!.stopReading()
  const sent = pump(it.client, 100, () => it.fromClient(CHUNK))
  expect(sent).toBeLessThan(10)
  expect(it.server!.highestBacklog).toBeLessThan(BOUND)
  it.server!.startReading()
  await it.settle()
  expect(it.client.paused).toBe(false)
  expect(it.toServer.length).toBe(sent * CHUNK.length)
})

test('OPS-06 an agent that does not read stops the broker, and is itself read on', async () => {
  const it = await new SessionRig().connect()
  it.client.stopReading()
  const sent = pump(it.server!, 100, () => it.fromServer(CHUNK))
  expect(sent).toBeLessThan(10)
  expect(it.client.highestBacklog).toBeLessThan(BOUND)
  expect(it.client.paused).toBe(false)
  it.fromClient(PINGREQ, ack('puback', 1))
  expect(it.toServer).toEqual(Buffer.concat([PINGREQ, ack('puback', 1)]))
  it.client.startReading()
  await it.settle()
  expect(it.server!.paused).toBe(false)
  expect(it.toClient.length).toBe(sent * CHUNK.length)
})

test('an agent that does not read the answers to what it is denied is not read on', async () => {
  const it = await new SessionRig().connect()
  it.client.stopReading()
  const rounds = pump(it.client, 1000, () => it.fromClient(denied))
  expect(rounds).toBeLessThan(100)
  expect(it.client.highestBacklog).toBeLessThan(BOUND)
  expect(it.server!.paused).toBe(false)
  it.client.startReading()
  await it.settle()
  expect(it.client.paused).toBe(false)
  expect(it.toClient.length).toBe(rounds * 1000 * ack('puback', 1, 0x87).length)
})

test('nor is it when a delivery on its way, which the broker does not finish, holds the answers up', async () => {
  const it = await new SessionRig().connect()
  it.fromServer(CHUNK.subarray(0, 1000))
  const rounds = pump(it.client, 1000, () => it.fromClient(denied))
  expect(rounds).toBeLessThan(100)
  it.fromServer(CHUNK.subarray(1000))
  await it.settle()
  expect(it.client.paused).toBe(false)
  expect(it.toClient.length).toBe(CHUNK.length + rounds * 1000 * 5)
})

test('a broker that does not read the answers to dropped deliveries is not read on', async () => {
  const it = await new SessionRig().connect()
  it.server!.stopReading()
  const rounds = pump(it.server!, 1000, () => it.fromServer(denied))
  expect(rounds).toBeLessThan(100)
  expect(it.server!.highestBacklog).toBeLessThan(BOUND)
  it.server!.startReading()
  await it.settle()
  expect(it.server!.paused).toBe(false)
})

test('two sides that both stop and both go on lose nothing', async () => {
  const it = await new SessionRig().connect()
  it.client.stopReading()
  it.server!.stopReading()
  const toServer = pump(it.client, 100, () => it.fromClient(CHUNK))
  const toClient = pump(it.server!, 100, () => it.fromServer(CHUNK))
  it.server!.startReading()
  it.client.startReading()
  await it.settle()
  expect([it.client.paused, it.server!.paused]).toEqual([false, false])
  expect([it.toServer.length, it.toClient.length]).toEqual([toServer * CHUNK.length, toClient * CHUNK.length])
})

test('a slow reader that takes everything now and then never stops the other side for good', async () => {
  const it = await new SessionRig().connect()
  for (let i = 0; i < 200; i++) {
    it.client.stopReading()
    it.fromClient(denied)
    it.fromServer(publish({ topic: 'ok/a' }))
    it.client.startReading()
    await it.settle()
    if (it.client.paused || it.server!.paused) throw new Error(`stopped in round ${i}`)
  }
})

test('AUD-09 an audit log that has not caught up stops the agent; nothing is denied, lost or reordered', async () => {
  const it = await new SessionRig().connect()
  const frames = [1, 2, 3].map((n) => publish({ topic: `ok/${n}`, qos: 1, packetId: n }))
  it.fromClient(frames[0]!)
  it.audit.congested = true
  it.fromClient(frames[1]!)
  it.fromClient(frames[2]!.subarray(0, 4))
  it.fromClient(frames[2]!.subarray(4))
  expect(it.client.paused).toBe(true)
  expect(it.server!.paused).toBe(true)
  expect(it.toServer).toEqual(frames[0])
  it.audit.makeRoom()
  expect(it.toServer).toEqual(Buffer.concat(frames))
  expect(it.client.paused).toBe(false)
  expect(it.server!.paused).toBe(false)
  expect(it.audit.events.filter(({ action }) => action === 'publish')).toHaveLength(3)
})

test.each([
  ['topics in turn', [1, 2, 3]],
  ['one topic, whose head is known', [1, 1, 1]],
])(
  'AUD-09 a log that falls behind within a chunk stops the agent at the next packet (%s)',
  async (_, topics) => {
    const it = await new SessionRig().connect()
    const frames = [0, ...topics, 9].map((n) => publish({ topic: `ok/${n}`, qos: 0, payload: 'x' }))
    it.fromClient(frames[0]!)
    const { audit } = it
    const append = audit.append.bind(audit)
    audit.append = (event) => {
      append(event)
      audit.congested = true
    }
    const all = Buffer.concat(frames)
    // The last one straddles two chunks.
    it.fromClient(all.subarray(frames[0]!.length, all.length - 3))
    it.fromClient(all.subarray(all.length - 3))
    for (let passed = 2; passed <= frames.length; passed++) {
      expect(it.toServer).toEqual(Buffer.concat(frames.slice(0, passed)))
      expect(it.client.paused).toBe(true)
      audit.makeRoom()
    }
    expect(it.toServer).toEqual(all)
    expect(it.client.paused).toBe(false)
  },
)

test('AUD-09 a FIN that comes while bytes wait for the audit log does not overtake them', async () => {
  const it = await new SessionRig().connect()
  it.audit.congested = true
  it.fromClient(publish({ topic: 'ok/1' }))
  it.session.onFin()
  expect(it.server!.ended).toBe(false)
  it.audit.makeRoom()
  expect(it.toServer).toEqual(publish({ topic: 'ok/1' }))
  expect(it.server!.ended).toBe(true)
})
