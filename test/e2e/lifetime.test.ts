// How sessions end, seen from both ends: expiry, shutdown, breaks in either direction, and the Will each time.
// Ids: agent-specs.md 6.9 (R, O), identity-standards.md 13 (EXP, OPS), peers.md 2 (`peers.`).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { auth, connect, disconnect, prop, publish, subscribe } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import type { Wiretap } from '../support/recording-relay.ts'
import { type AgentOptions, openStage, type Stage } from '../support/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

const note = 'a2a/v1/notes/scout/a'
const will = { topic: 'a2a/v1/notes/scout/will', payload: 'gone', qos: 1 }

/** An agent whose time can be moved, and its connection to the broker. */
async function agent(
  options: AgentOptions = {},
): Promise<{ postern: TestPostern; scout: RawClient; tap: Wiretap }> {
  const postern = await stage.anotherPostern()
  const scout = await stage.agent('scout', { lifetimeMs: 120_000, will, ...options }, postern)
  return { postern, scout, tap: stage.relay.sessions.at(-1)! }
}

describe('EXP-01, R1, O5, peers.E3 when the token expires', () => {
  /** Leeway is 30 s by default. */
  const END_MS = 150_000

  test('an idle agent is told 0x87 and closed; nothing is delivered after that; the Will is published', async () => {
    const { postern, scout, tap } = await agent()
    scout.send(subscribe({ filters: [[note, 1]] }))
    await scout.next('suback')
    postern.clock.advance(END_MS - 2_000)
    await stage.observer.publish(note, 'before')
    expect(await scout.next('publish')).toMatchObject({ topic: note })
    postern.clock.advance(2_000)
    await stage.observer.publish(note, 'after')
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    expect(await scout.closed()).toEqual([])
    await tap.toPostern.closed()
    expect(await stage.observer.messages()).toContain(`${will.topic} gone`)
    expect((await postern.records()).at(-1)).toMatchObject({ action: 'disconnect', reason: 'expired' })
  })

  test('a busy agent is denied from that instant', async () => {
    const { postern, scout } = await agent()
    for (let i = 1; i <= 3; i++) {
      scout.send(publish({ topic: note, qos: 1, packetId: i }))
      await scout.next('puback')
    }
    postern.clock.advance(END_MS)
    scout.send(publish({ topic: note, qos: 1, packetId: 4, payload: 'late' }))
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    await scout.closed()
    expect(await stage.observer.messages()).not.toContain(`${note} late`)
  })

  test('the agents with other tokens do not notice', async () => {
    const { postern } = await agent()
    const other = await stage.agent('analyst', { lifetimeMs: 600_000 }, postern)
    postern.clock.advance(END_MS)
    await other.ping()
  })

  test('the reconnect with the same token is refused', async () => {
    const postern = await stage.anotherPostern()
    const token = await stage.token('scout', { lifetimeMs: 60_000 }, postern)
    postern.clock.advance(90_001)
    const client = await stage.socket(postern)
    client.send(connect({ password: token }))
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0x86 })
  })
})

describe('the Will', () => {
  test('is published when the agent’s connection breaks', async () => {
    const { scout, tap } = await agent()
    scout.reset()
    await tap.toPostern.closed()
    expect(await stage.observer.messages()).toEqual([`${will.topic} gone`])
  })

  test('is not published after DISCONNECT 0x00, and is after 0x04', async () => {
    const quiet = await agent()
    quiet.scout.send(disconnect(0))
    await quiet.tap.toPostern.closed()
    expect(await stage.observer.messages()).toEqual([])
    const loud = await agent()
    loud.scout.send(disconnect(4))
    await loud.tap.toPostern.closed()
    expect(await stage.observer.messages()).toEqual([`${will.topic} gone`])
  })

  test('is published when the agent breaks the protocol, and when what it sent last was denied', async () => {
    const { scout, tap } = await agent()
    scout.send(publish({ topic: 'x' }), Buffer.of(0xf7))
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x81 })
    await tap.toPostern.closed()
    expect(await stage.observer.messages()).toEqual([`${will.topic} gone`])
  })
})

describe('shutdown', () => {
  test('each agent is told 0x8B within the set time, new ones are turned away, and the Will is published', async () => {
    const { postern, scout, tap } = await agent()
    const analyst = await stage.agent('analyst', {}, postern)
    const stopped = postern.app.stop({ withinMs: 1_000 })
    expect(postern.app.ready).toBe(false)
    postern.clock.advance(1_000)
    await stopped
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x8b })
    expect(await analyst.next('disconnect')).toMatchObject({ reasonCode: 0x8b })
    await tap.toPostern.closed()
    expect(await stage.observer.messages()).toEqual([`${will.topic} gone`])
    await expect(stage.socket(postern)).rejects.toThrow('ECONNREFUSED')
  })
})

describe('AUTH in a session', () => {
  test('re-authentication is not offered yet: DISCONNECT 0x87, and the broker hears nothing of it', async () => {
    const postern = await stage.anotherPostern()
    const client = await stage.socket(postern)
    const token = await stage.token('scout', {}, postern)
    const properties = [prop.authenticationMethod('OAUTH2-JWT'), prop.authenticationData(token)]
    client.send(connect({ properties }))
    await client.next('connack')
    client.send(auth(0x19, properties))
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    const sent = await stage.relay.sessions.at(-1)!.toBroker.closed()
    expect(sent.map((packet) => packet.cmd)).toEqual(['connect'])
  })

  test('on a connection with a Password it is a protocol error', async () => {
    const { scout } = await agent()
    scout.send(auth(0x19, [prop.authenticationMethod('OAUTH2-JWT')]))
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x82 })
  })
})
