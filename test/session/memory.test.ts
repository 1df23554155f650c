// What is remembered of an MQTT session from one connection to the next, and how it is judged when the session resumes.
import { describe, expect, test } from 'vitest'
import { SessionMemory } from '../../src/session/session-memory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  ack,
  connack,
  connect,
  disconnect,
  prop,
  publish,
  suback,
  subscribe,
  unsuback,
  unsubscribe,
} from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { OK_POLICY, type RigOptions, SessionRig } from '../support/session-rig.ts'

const NOTES_ONLY = OK_POLICY.replaceAll('ok/#', 'ok/notes/#')
const HOUR = [prop.sessionExpiryInterval(3600)]

/** Connections of one agent, one after another, that share the clock and the memory. */
class Agent {
  readonly clock = new FakeClock()
  readonly memory = new SessionMemory(this.clock, 2)

  async first(options: RigOptions = {}, properties = HOUR): Promise<SessionRig> {
    const it = await this.#rig(options).connect({ properties })
    it.fromClient(
      subscribe({
        packetId: 1,
        filters: [
          ['ok/a', 1],
          ['ok/notes/a', 1],
          ['$share/g/ok/b', 2],
        ],
      }),
    )
    it.fromServer(suback([1, 1, 2], 1))
    return it
  }

  /** Sends the CONNACK; what Postern says to the broker right behind it is to be looked at. */
  async resumed(options: RigOptions = {}, properties = HOUR): Promise<SessionRig> {
    const it = this.#rig(options)
    it.fromClient(connect({ properties, cleanStart: false, password: 'a.b.c' }))
    await it.settle()
    it.forget()
    it.fromServer(connack({ sessionPresent: true }))
    await it.settle()
    return it
  }

  #rig(options: RigOptions): SessionRig {
    const config = { sessions: { delegated: 'resume' }, ...options.config }
    return new SessionRig({ clock: this.clock, memory: this.memory, ...options, config })
  }
}

function unsubscribed(it: SessionRig): string[] {
  return packetsIn(it.toServer).flatMap((packet) =>
    packet.cmd === 'unsubscribe' ? packet.unsubscriptions : [],
  )
}

test('C13, ACL-16, peers.F3 subscriptions that the new rights do not allow are unsubscribed, and the answer is swallowed', async () => {
  const agent = new Agent()
  ;(await agent.first()).session.onClose()
  const it = await agent.resumed({ policy: NOTES_ONLY })
  expect(unsubscribed(it)).toEqual(['ok/a', '$share/g/ok/b'])
  const [request] = packetsIn(it.toServer)
  it.client.writes.length = 0
  it.fromServer(unsuback([0, 0], request!.messageId!))
  expect(it.toClient.length).toBe(0)
  expect(it.decisions).toContain('unsubscribe rights_narrowed forwarded')
})

test('peers.F4 what was queued for them is dropped and acknowledged, also in the chunk of the CONNACK', async () => {
  const agent = new Agent()
  ;(await agent.first()).session.onClose()
  const it = new SessionRig({ ...agent, policy: NOTES_ONLY, config: { sessions: { delegated: 'resume' } } })
  it.fromClient(connect({ properties: HOUR, cleanStart: false, password: 'a.b.c' }))
  await it.settle()
  it.forget()
  const allowed = publish({ topic: 'ok/notes/a', qos: 1, packetId: 2 })
  it.fromServer(connack({ sessionPresent: true }), publish({ topic: 'ok/a', qos: 1, packetId: 1 }), allowed)
  await it.settle()
  expect(packetsIn(it.toClient).map((packet) => packet.cmd)).toEqual(['connack', 'publish'])
  expect(packetsIn(it.toServer)).toMatchObject([
    { cmd: 'unsubscribe' },
    { cmd: 'puback', messageId: 1, reasonCode: 0x87 },
  ])
})

test('with the same rights nothing is taken away', async () => {
  const agent = new Agent()
  ;(await agent.first()).session.onClose()
  expect((await agent.resumed()).toServer.length).toBe(0)
})

test('what the agent itself has unsubscribed is forgotten', async () => {
  const agent = new Agent()
  const first = await agent.first()
  first.fromClient(unsubscribe(['ok/a', '$share/g/ok/b'], 2))
  first.fromServer(unsuback([0, 0], 2))
  first.session.onClose()
  expect(unsubscribed(await agent.resumed({ policy: 'version: 1' }))).toEqual(['ok/notes/a'])
})

test('peers.C6 a shared and a plain subscription to the same filter are two', async () => {
  const agent = new Agent()
  const first = await agent.first()
  first.fromClient(subscribe({ packetId: 3, filters: [['$share/g/ok/a', 1]] }), unsubscribe(['ok/a'], 4))
  first.fromServer(suback([1], 3), unsuback([0], 4))
  first.session.onClose()
  expect(unsubscribed(await agent.resumed({ policy: 'version: 1' }))).toContain('$share/g/ok/a')
})

test.each([
  ['the session expired meanwhile', HOUR, 3_600_001],
  ['it ended with its connection', [], 0],
  ['the CONNACK set it to end with its connection', [prop.sessionExpiryInterval(0)], 0],
])('nothing is remembered when %s', async (_, properties, pause) => {
  const agent = new Agent()
  ;(await agent.first({}, properties)).session.onClose()
  agent.clock.advance(pause)
  expect((await agent.resumed({ policy: 'version: 1' })).toServer.length).toBe(0)
})

test('DISCONNECT may change how long the session lives', async () => {
  const agent = new Agent()
  ;(await agent.first()).fromClient(disconnect(0, [prop.sessionExpiryInterval(0)]))
  expect((await agent.resumed({ policy: 'version: 1' })).toServer.length).toBe(0)
})

test('a session that the broker does not resume starts empty', async () => {
  const agent = new Agent()
  ;(await agent.first()).session.onClose()
  const it = new SessionRig({ ...agent, policy: 'version: 1', config: { sessions: { delegated: 'resume' } } })
  await it.connect({ properties: HOUR, cleanStart: false })
  expect(it.toServer.length).toBe(0)
})

test.each([
  ['with an expiry of its own', 60],
  ['that ended the session', 0],
])(
  'peers.F1 the late close of a connection that was taken over, %s, takes nothing from its successor',
  async (_, expiry) => {
    const agent = new Agent()
    const first = await agent.first({}, [prop.sessionExpiryInterval(60)])
    await agent.resumed()
    if (expiry === 0) first.session.sessionExpiryInterval = 0
    first.session.onClose()
    agent.clock.advance(120_000)
    expect(unsubscribed(await agent.resumed({ policy: 'version: 1' }))).toHaveLength(3)
  },
)

test('ACL-16 a delegated agent starts fresh by default: Clean Start 1 and no expiry at the broker, and its CONNACK says so', async () => {
  const it = new SessionRig()
  it.fromClient(connect({ properties: HOUR, cleanStart: false, password: 'a.b.c' }))
  await it.settle()
  expect(packetsIn(it.toServer)[0]).toMatchObject({ cmd: 'connect', clean: true })
  expect(JSON.stringify(packetsIn(it.toServer)[0])).not.toContain('3600')
  it.fromServer(connack())
  await it.settle()
  expect(packetsIn(it.toClient)[0]).toMatchObject({ properties: { sessionExpiryInterval: 0 } })
})

test('an agent that acts for itself keeps its session', async () => {
  const it = new SessionRig({ delegated: false })
  it.fromClient(connect({ properties: HOUR, cleanStart: false, password: 'a.b.c' }))
  await it.settle()
  expect(packetsIn(it.toServer)[0]).toMatchObject({
    clean: false,
    properties: { sessionExpiryInterval: 3600 },
  })
})

test('peers.G3 what was unsubscribed makes room for others', async () => {
  const it = await new SessionRig({ config: { limits: { subscriptions: 2 } } }).connect()
  for (let i = 1; i <= 10; i++) {
    it.fromClient(subscribe({ packetId: i, filters: [[`ok/${i}`, 0]] }))
    it.fromServer(suback([0], i))
    it.fromClient(unsubscribe([`ok/${i}`], i))
    it.fromServer(unsuback([0], i))
  }
  expect(packetsIn(it.toClient).filter((packet) => packet.cmd === 'suback')).toMatchObject(
    Array(10).fill({ granted: [0] }),
  )
})

test('peers.G3 messages and filters that one session makes Postern keep are bounded', async () => {
  const it = await new SessionRig({ config: { limits: { subscriptions: 3 } } }).connect()
  it.fromClient(
    subscribe({
      packetId: 1,
      filters: [
        ['ok/1', 0],
        ['ok/2', 0],
      ],
    }),
  )
  it.fromClient(
    subscribe({
      packetId: 2,
      filters: [
        ['ok/3', 0],
        ['ok/4', 0],
      ],
    }),
  )
  it.fromServer(suback([0, 0], 1))
  it.fromServer(suback([0], 2))
  expect(packetsIn(it.toClient)).toMatchObject([{ granted: [0, 0] }, { granted: [0, 0x97] }])
  const topic = `ok/${'x'.repeat(60_000)}`
  it.forget()
  for (let id = 10; id < 40; id++) it.fromClient(publish({ topic, qos: 2, packetId: id }))
  const refused = packetsIn(it.toClient)
  expect(refused.length).toBeGreaterThan(10)
  for (const packet of refused) expect(packet).toMatchObject({ cmd: 'pubrec', reasonCode: 0x97 })
  it.fromServer(ack('pubcomp', 10))
  it.forget()
  it.fromClient(publish({ topic, qos: 2, packetId: 50 }))
  expect(it.toServer.length).toBeGreaterThan(60_000)
})

test.each<[string, RigOptions['bearer'], boolean]>([
  ['the same human', {}, false],
  ['another human', { human: { iss: 'https://idp.test', sub: 'u2', id: 'u2' } }, true],
  ['another tenant', { tenant: 'org_b' }, true],
  ['another issuer', { issuer: 'https://other.test' }, true],
])(
  'peers.F1 a session of one agent, asked for with %s: Clean Start is forced if it is not theirs',
  async (_, bearer, forced) => {
    const agent = new Agent()
    ;(await agent.first()).session.onClose()
    const config = { sessions: { delegated: 'resume' } }
    const it = new SessionRig({
      clock: agent.clock,
      memory: agent.memory,
      config,
      ...(bearer ? { bearer } : {}),
    })
    it.fromClient(connect({ properties: HOUR, cleanStart: false, password: 'a.b.c' }))
    await it.settle()
    expect(packetsIn(it.toServer)[0]).toMatchObject({
      clean: forced,
      properties: { sessionExpiryInterval: 3600 },
    })
  },
)

test('what is remembered of one owner is not handed to another', () => {
  const memory = new SessionMemory(new FakeClock(), 2)
  const state = memory.open('scout', 'u1', false)
  state.subscribed('a', 1)
  expect(memory.isForeign('scout', 'u1')).toBe(false)
  expect(memory.isForeign('scout', 'u2')).toBe(true)
  expect(memory.open('scout', 'u2', true).subscriptions.size).toBe(0)
  expect(memory.isForeign('scout', 'u1')).toBe(true)
})

describe('peers.F1 two owners of one Client Identifier at the same moment', () => {
  const bearer = { human: { iss: 'https://idp.test', sub: 'u2', id: 'u2' } }
  const CONNECT = connect({ properties: HOUR, cleanStart: false, password: 'a.b.c' })

  /** A CONNECT that has reached the broker, which has not answered it. */
  async function asking(agent: Agent, options: RigOptions = {}): Promise<SessionRig> {
    const { clock, memory } = agent
    const it = new SessionRig({ clock, memory, config: { sessions: { delegated: 'resume' } }, ...options })
    it.fromClient(CONNECT)
    await it.settle()
    return it
  }

  test('the second is told 0x89 and nothing of it reaches the broker', async () => {
    const agent = new Agent()
    await asking(agent)
    const second = await asking(agent, { bearer })
    expect(packetsIn(second.toClient)).toMatchObject([{ cmd: 'connack', reasonCode: 0x89 }])
    expect([second.toServer.length, second.server!.destroyed]).toEqual([0, true])
    expect(second.event('connect')).toMatchObject({ decision: 'deny', reason: 'client_id_busy' })
  })

  test('connections of one owner do not keep each other out', async () => {
    const agent = new Agent()
    await asking(agent)
    expect(packetsIn((await asking(agent)).toServer)).toMatchObject([{ cmd: 'connect' }])
  })

  test.each<[string, (it: SessionRig) => void, boolean]>([
    ['was answered', (it) => it.fromServer(connack()), true],
    ['was refused', (it) => it.fromServer(connack({ reasonCode: 0x87 })), false],
    ['gave up', (it) => it.session.onClose(), false],
    ['has not been answered in time', (it) => it.clock.advance(5_000), false],
  ])('the second may come as soon as the first %s', async (_, over, isForeign) => {
    const agent = new Agent()
    over(await asking(agent))
    const second = await asking(agent, { bearer })
    expect(packetsIn(second.toServer)[0]).toMatchObject({ cmd: 'connect', clean: isForeign })
  })

  test('the name stays reserved until the last of one owner has been answered', async () => {
    const agent = new Agent()
    const [first, again] = [await asking(agent), await asking(agent)]
    first.session.onClose()
    expect(packetsIn((await asking(agent, { bearer })).toClient)).toMatchObject([{ reasonCode: 0x89 }])
    again.session.onClose()
    expect(packetsIn((await asking(agent, { bearer })).toServer)).toMatchObject([{ cmd: 'connect' }])
  })
})
