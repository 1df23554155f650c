// Too many, too much, too slow: what one peer does costs the others nothing, and memory stays where it was.
// Ids: peers.md 2 (`peers.J6`), identity-standards.md 13 (OPS-06).
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { connect, PINGREQ, prop, publish, subscribe } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage } from '../support/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

const notes = 'a2a/v1/notes/scout'

const limited = (limits: Record<string, unknown>): Promise<TestPostern> =>
  stage.anotherPostern({ config: { limits } })

describe('limits of connections', () => {
  test('peers.J6 one more than the limit gets CONNACK 0x89 and is closed; the others go on, and a place that is left is free again', async () => {
    const postern = await limited({ connections: 2 })
    const [scout, analyst] = [
      await stage.agent('scout', {}, postern),
      await stage.agent('analyst', {}, postern),
    ]
    const third = await stage.socket(postern)
    expect(await third.next('connack')).toMatchObject({ reasonCode: 0x89 })
    await third.closed()
    await scout.ping()
    analyst.end()
    await analyst.closed()
    await stage.agent('operator', {}, postern)
    expect(
      await postern.metric('postern_connects_total{decision="deny",reason="too_many_connections"}'),
    ).toBe(1)
  })

  test('peers.J6 connections without a CONNECT have a limit of their own, and do not keep out who is in', async () => {
    const postern = await limited({ unauthenticated: 3 })
    const scout = await stage.agent('scout', {}, postern)
    const silent = [await stage.socket(postern), await stage.socket(postern), await stage.socket(postern)]
    const turnedAway = await stage.socket(postern)
    expect(await turnedAway.next('connack')).toMatchObject({ reasonCode: 0x89 })
    await scout.ping()
    silent[0]!.end()
    await silent[0]!.closed()
    await stage.agent('analyst', {}, postern)
  })

  test('peers.J6 one that is turned away and answers with a reset disturbs nobody', async () => {
    const postern = await limited({ connections: 1 })
    const scout = await stage.agent('scout', {}, postern)
    for (let i = 0; i < 50; i++) {
      const client = await RawClient.open({ port: postern.port })
      client.send(connect({ password: 'a.b.c' }), Buffer.alloc(100_000))
      client.reset()
    }
    await scout.ping()
    expect(postern.app.connections).toBe(1)
  })
})

describe('a connection that is reset before it was looked at', () => {
  test('is not heard, since nobody knows any more from where it came', async () => {
    const postern = await limited({ failedTries: 3, failedTriesFrom: 'any' })
    const token = await stage.token('scout', {}, postern)
    const forged = `${token.slice(0, -4)}${token.endsWith('AAAA') ? 'BBBB' : 'AAAA'}`
    for (const password of [token, forged]) {
      const note = publish({ topic: `${notes}/reset`, qos: 1, packetId: 1, payload: 'x' })
      const bytes = Buffer.concat([connect({ password }), note]).toString('hex')
      const script = `
        const { connect } = require('node:net')
        for (let i = 0; i < 10; i++) {
          const socket = connect(${postern.port}, '127.0.0.1', () => {
            socket.write(Buffer.from('${bytes}', 'hex'), () => socket.resetAndDestroy())
          })
        }`
      // Postern, which is in this process, comes to it when all of that is over.
      expect(spawnSync(process.execPath, ['-e', script]).status).toBe(0)
    }
    const scout = await stage.agent('scout', {}, postern)
    await scout.ping()
    const heard = (await postern.records()).filter(
      ({ action }) => action === 'connect' || action === 'publish',
    )
    expect(heard.map(({ connection }) => connection?.peer)).toEqual([expect.stringMatching(/^127\.0\.0\.1:/)])
    expect(await stage.observer.messages()).not.toContain(`${notes}/reset x`)
    expect(postern.app.connections).toBe(1)
  })
})

describe('before the CONNECT is complete', () => {
  test('peers.J6, OPS-06 1,000 half-open connections are bounded, all end at the deadline, and nothing was opened at the broker', async () => {
    const postern = await limited({ unauthenticated: 1000, connectTimeout: '5m' })
    const scout = await stage.agent('scout', {}, postern)
    const sessions = stage.relay.sessions.length
    const half = connect({ password: 'x'.repeat(4000) }).subarray(0, 3000)
    const clients = await Promise.all(
      Array.from({ length: 1000 }, () => RawClient.open({ port: postern.port })),
    )
    const before = process.memoryUsage()
    for (const client of clients) client.send(half)
    // Asking leaves Postern its turns to read.
    const read = 'postern_bytes_total{direction="client_to_server"}'
    while ((await postern.metric(read)) < 1000 * half.length);
    const after = process.memoryUsage()
    const perConnection = (after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed) / 1000
    expect(perConnection).toBeLessThan(64 * 1024)
    await scout.ping()
    expect(postern.app.connections).toBe(1001)
    postern.clock.advance(300_000)
    await Promise.all(clients.map((client) => client.closed()))
    expect(postern.app.connections).toBe(1)
    expect(clients.every((client) => client.inbox.bytes.length === 0)).toBe(true)
    expect(stage.relay.sessions.length).toBe(sessions)
    await scout.ping()
    for (const client of clients) client.destroy()
  })

  test.each([
    ['announces 256 MiB', Buffer.of(0x10, 0xff, 0xff, 0xff, 0x7f), 0x95],
    ['is longer than the limit', connect({ password: 'x'.repeat(20_000) }), 0x95],
    [
      'has 1,000 User Properties',
      connect({ properties: Array.from({ length: 1000 }, () => prop.userProperty('', '')) }),
      0x97,
    ],
  ])('peers.J6 a CONNECT that %s is refused before it has come', async (_, bytes, code) => {
    const client = await stage.socket()
    client.send(bytes)
    expect(await client.next('connack')).toMatchObject({ reasonCode: code })
    await client.closed()
  })

  test('peers.J6 a client that sends one byte now and then is closed at the deadline all the same', async () => {
    const postern = await limited({ connectTimeout: '5s' })
    const client = await stage.socket(postern)
    await expect.poll(() => postern.metric('postern_connections{state="unauthenticated"}')).toBe(1)
    const bytes = connect({ password: 'x'.repeat(100) })
    for (let i = 0; i < 4; i++) {
      await client.sendAlone(bytes.subarray(i, i + 1))
      postern.clock.advance(1_200)
    }
    postern.clock.advance(200)
    expect(await client.closed()).toEqual([])
  })
})

describe('OPS-06 in a session', () => {
  test('an agent that does not read is not sent more than a bounded amount, and the others are served', async () => {
    const [slow, quick] = [await stage.agent('scout'), await stage.agent('analyst')]
    slow.send(subscribe({ filters: [[`${notes}/#`, 0]] }))
    quick.send(subscribe({ filters: [['a2a/v1/notes/analyst/#', 0]] }))
    await slow.next('suback')
    await quick.next('suback')
    slow.pause()
    const payload = Buffer.alloc(256 * 1024)
    const read = 'postern_bytes_total{direction="server_to_client"}'
    for (let i = 0; i < 160; i++) await stage.observer.publish(`${notes}/a`, payload, { qos: 0 })
    await stage.observer.publish('a2a/v1/notes/analyst/a', 'served')
    expect(await quick.next('publish')).toMatchObject({ topic: 'a2a/v1/notes/analyst/a' })
    // 40 MiB wait at the broker. Postern has read what the buffers of the kernel take, and its own bound.
    expect(await stage.postern.metric(read)).toBeLessThan(20 * 1024 * 1024)
    // It is still heard.
    const { toBroker } = stage.relay.sessions.at(-2)!
    const words = Buffer.concat([publish({ topic: `${notes}/b`, payload: 'still here' }), PINGREQ])
    const heard = toBroker.received(toBroker.bytes.length + words.length)
    slow.send(words)
    await heard
    expect(toBroker.bytes.subarray(-words.length)).toEqual(words)
    slow.resume()
    expect((await slow.next('publish')).payload.length).toBe(payload.length)
    await stage.observer.seen()
  })

  test('a packet above the limit is refused with 0x95, before its payload has come', async () => {
    const postern = await limited({ packetBytes: '64KiB' })
    const scout = await stage.agent('scout', {}, postern)
    scout.send(publish({ topic: `${notes}/a`, payload: Buffer.alloc(70_000) }).subarray(0, 100))
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x95 })
  })

  test('the limit is told in the CONNACK', async () => {
    const postern = await limited({ packetBytes: '64KiB' })
    const { connack } = await stage.tryConnect('scout', {}, postern)
    expect(connack.properties?.maximumPacketSize).toBe(65_536)
  })

  test('one that sends garbage is told and closed; the others do not notice', async () => {
    const scout = await stage.agent('scout')
    for (let i = 0; i < 20; i++) {
      const bad = await stage.agent('analyst')
      bad.send(Buffer.alloc(1000, i * 13))
      await bad.closed()
    }
    await scout.ping()
    expect(stage.postern.log.filter(({ level }) => level === 'error')).toEqual([])
  })
})

describe('thousands of small messages at QoS 0', () => {
  test('are gathered, and arrive all, in order; whoever waits for an answer has it', async () => {
    const clientId = { binding: 'prefix', separator: '-' }
    const postern = await stage.anotherPostern({ config: { coalesceQos0: '10ms', clientId } })
    // Of several agents, so that enough come in a second on any machine.
    const names = Array.from({ length: 8 }, (_, i) => `scout-${i}`)
    const agents = await Promise.all(names.map((id) => stage.agent('scout', { clientId: id }, postern)))
    const rested = (): Promise<number> => postern.metric('postern_rested_seconds_total')
    expect(await rested()).toBe(0)
    let sent = 0
    for (let round = 0; round < 50 && (await rested()) === 0; round++) {
      for (let turn = 0; turn < 20; turn++, sent++) {
        for (const [i, agent] of agents.entries())
          agent.send(publish({ topic: `${notes}/${i}`, payload: String(sent) }))
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    for (const agent of agents) await agent.ping()
    expect(await rested()).toBeGreaterThan(0)
    const seen = await stage.observer.seen()
    for (const i of names.keys()) {
      const payloads = seen.filter(({ topic }) => topic === `${notes}/${i}`).map(({ payload }) => payload)
      expect(payloads).toEqual(Array.from({ length: sent }, (_, n) => String(n)))
    }
  })
})
