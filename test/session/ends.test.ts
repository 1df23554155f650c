// Every way a session can end: what the agent is told, what the broker sees, what is recorded. design.md 3.5.
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { END_CAUSES } from '../../src/session/outcome.ts'
import {
  ack,
  auth,
  connect,
  connectV3,
  disconnect,
  PINGREQ,
  prop,
  publish,
  suback,
  subscribe,
} from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { OK_POLICY, policyFrom, type RigOptions, SessionRig } from '../support/session-rig.ts'

const WITH_WILL = { will: { topic: 'ok/will', payload: 'gone' } }
const METHOD = [prop.authenticationMethod('OAUTH2-JWT')]
/** DISCONNECT 0x00, as Postern says it. */
const CLEAN = disconnect(0, [])

interface Row {
  /** What happens. */
  by: (it: SessionRig) => void
  options?: RigOptions
  /** Reason Code of the DISCONNECT that the agent gets; undefined: none, the connection is closed. */
  agent?: number
  /** Bytes that the broker gets beside the end of the connection; without DISCONNECT it publishes the Will. */
  broker?: Buffer
}

/** Two come only before the CONNACK: see handshake.test.ts; `answer_too_large`: packet-size.test.ts. */
const CAUSES: Record<
  Exclude<keyof typeof END_CAUSES, 'refused_by_broker' | 'upstream_unavailable' | 'answer_too_large'>,
  Row
> = {
  client_disconnected: {
    by: (it) => {
      it.fromClient(disconnect())
      it.session.onServerClose()
    },
    broker: disconnect(),
  },
  client_closed: { by: (it) => it.session.onClose() },
  server_disconnected: { by: (it) => it.fromServer(disconnect(0x8e)), agent: 0x8e },
  server_closed: { by: (it) => it.session.onServerClose() },
  server_fault: {
    by: (it) => it.fromServer(Buffer.of(0x20, 3, 0, 0, 0)),
    agent: 0x80,
    broker: disconnect(0x82, []),
  },
  client_fault: { by: (it) => it.fromClient(Buffer.of(0xf1, 0)), agent: 0x81 },
  renewal_refused: {
    by: (it) => it.fromClient(auth(0x19, METHOD)),
    options: { authenticationMethod: 'OAUTH2-JWT' },
    agent: 0x87,
  },
  expired: { by: (it) => it.clock.advance(600_000), agent: 0x87 },
  publish_denied: {
    by: (it) => it.fromClient(publish({ topic: 'no/a' })),
    options: { config: { denial: { publishQos0: 'disconnect' } } },
    agent: 0x87,
  },
  delivery_denied: {
    by: (it) => it.fromServer(publish({ topic: 'no/a' })),
    options: { config: { denial: { delivery: 'disconnect' } } },
    agent: 0x87,
  },
  will_denied: { by: (it) => it.usePolicy('version: 1'), agent: 0x87, broker: CLEAN },
  revoked: {
    by: (it) => it.session.revoke()(),
    agent: 0x98,
    broker: disconnect(0, [prop.sessionExpiryInterval(0)]),
  },
  // The Will is still allowed: the broker is to publish it, and to forget the message that it holds.
  release_denied: {
    by: (it) => {
      it.fromClient(publish({ topic: 'ok/a', qos: 2, packetId: 5 }))
      it.forget()
      it.usePolicy(OK_POLICY.replaceAll('ok/#', 'ok/will'))
      it.fromClient(ack('pubrel', 5))
      expect(it.client.writes.shift()).toEqual(ack('pubcomp', 5, 0x92))
    },
    agent: 0x87,
    broker: disconnect(4, [prop.sessionExpiryInterval(0)]),
  },
  shutdown: { by: (it) => it.session.shutDown(), agent: 0x8b },
  audit_unavailable: {
    by: (it) => {
      it.audit.commits = false
      it.fromClient(publish({ topic: 'ok/a' }))
    },
  },
  internal_error: { by: (it) => it.session.onPanic(new Error('a mistake of ours')), agent: 0x80 },
}

test.each(Object.entries(CAUSES))('%s', async (cause, { by, options, agent, broker = Buffer.alloc(0) }) => {
  const it = await new SessionRig(options).connect(WITH_WILL)
  by(it)
  const told = packetsIn(it.toClient)
  expect(told).toMatchObject(agent === undefined ? [] : [{ cmd: 'disconnect', reasonCode: agent }])
  expect(it.toServer).toEqual(broker)
  const gone = ({ ended, destroyed }: { ended: boolean; destroyed: boolean }) => ended || destroyed
  expect([gone(it.client), gone(it.server!), it.ended]).toEqual([true, true, true])
  const records = it.audit.events.filter((event) => event.action === 'disconnect')
  expect(records).toHaveLength(1)
  expect(records[0]!.reason).toBe(cause)
  // Whoever does not close in turn is cut.
  it.clock.advance(2_000)
  expect([it.client.destroyed, it.server!.destroyed]).toEqual([true, true])
  // Nothing more is said or recorded, whatever still happens.
  const before = [it.client.writes.length, it.server!.writes.length, it.audit.events.length]
  it.fromClient(PINGREQ)
  it.fromServer(publish({ topic: 'ok/a' }))
  it.session.onClose()
  it.session.onServerClose()
  it.session.shutDown()
  it.usePolicy('version: 1')
  expect([it.client.writes.length, it.server!.writes.length, it.audit.events.length]).toEqual(before)
  expect(it.clock.pendingCount).toBe(0)
})

test.each([
  ['the agent first', ['onClose', 'onServerGone']],
  ['the broker first', ['onServerGone', 'onClose']],
] as const)('a connection that both sides have closed is not waited for (%s)', async (_, order) => {
  const it = await new SessionRig().connect()
  it.session[order[0]]()
  expect(it.clock.pendingCount).toBe(1)
  it.session[order[1]]()
  expect(it.clock.pendingCount).toBe(0)
})

describe('EXP-01, R1, O5, peers.E3 expiry of the token', () => {
  test('ends an idle session by timer, to the millisecond', async () => {
    const it = await new SessionRig({ lifetimeMs: 5_000 }).connect()
    it.clock.advance(4_999)
    expect(it.session.relaying).toBe(true)
    it.clock.advance(1)
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }])
  })

  test.each([
    ['from the agent', (it: SessionRig) => it.fromClient(publish({ topic: 'ok/a' }))],
    ['from the broker', (it: SessionRig) => it.fromServer(publish({ topic: 'ok/a' }))],
  ])('lets no packet %s pass, even if the timer is late', async (_, send) => {
    const it = await new SessionRig({ lifetimeMs: 5_000 }).connect()
    // A clock whose timers never fire.
    it.clock.now = () => Date.UTC(2026, 10, 22, 12, 0, 5)
    send(it)
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }])
    expect(it.toServer.length).toBe(0)
  })

  test('lets no more of a payload pass that is on its way', async () => {
    const it = await new SessionRig({ lifetimeMs: 5_000 }).connect()
    const message = publish({ topic: 'ok/a', payload: Buffer.alloc(100) })
    it.fromClient(message.subarray(0, 50))
    it.clock.advance(5_000)
    it.fromClient(message.subarray(50))
    expect(it.toServer).toEqual(message.subarray(0, 50))
    expect(it.audit.events.map((event) => event.reason)).toEqual(['allow', 'incomplete', 'expired'])
  })

  test('before the CONNACK ends the session with it', async () => {
    const it = new SessionRig({ lifetimeMs: 5_000, beforeDial: (rig) => rig.clock.advance(5_000) })
    await it.connect()
    expect(it.clock.pendingCount).toBeGreaterThan(0)
    it.clock.advance(0)
    expect(it.event('disconnect')?.reason).toBe('expired')
  })
})

test('the rest of a payload is a record of its own; at QoS 0 it names no identifier', async () => {
  const it = await new SessionRig().connect()
  for (const qos of [1, 0]) {
    const message = publish({ topic: 'ok/a', qos, packetId: 7, payload: Buffer.alloc(100) })
    it.fromClient(message.subarray(0, 50))
    it.fromClient(message.subarray(50))
  }
  const records = it.audit.events.filter((event) => event.action === 'payload')
  expect(records.map((event) => event.packet_id)).toEqual([7, undefined])
  expect(records[0]?.payload).toEqual(records[1]?.payload)
  expect(records[0]?.payload?.sha256).toBe(createHash('sha256').update(Buffer.alloc(100)).digest('hex'))
})

describe('peers.D2 a Will that a new policy denies', () => {
  test('is suppressed at the broker by DISCONNECT 0x00', async () => {
    const it = await new SessionRig().connect({
      will: { topic: 'ok/status', payload: 'gone', qos: 1, retain: true },
    })
    it.usePolicy(OK_POLICY.replaceAll('ok/#', 'ok/notes/#'))
    expect(it.toServer).toEqual(CLEAN)
    expect(it.event('disconnect')).toMatchObject({ reason: 'will_denied', effect: 'disconnect 0x87' })
  })

  test('that is still allowed, stays', async () => {
    const it = await new SessionRig().connect({ will: { topic: 'ok/notes/a' } })
    it.usePolicy(OK_POLICY.replaceAll('ok/#', 'ok/notes/#'))
    expect(it.session.relaying).toBe(true)
  })
})

test('peers.E4 a policy that comes in force between SUBSCRIBE and SUBACK takes away what the broker then grants', async () => {
  const it = await new SessionRig().connect()
  it.fromClient(
    subscribe({
      packetId: 1,
      filters: [
        ['ok/a', 1],
        ['no/a', 1],
        ['ok/notes/a', 1],
      ],
    }),
  )
  it.usePolicy(OK_POLICY.replaceAll('ok/#', 'ok/notes/#'))
  it.forget()
  it.fromServer(suback([1, 1], 1))
  expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'suback', granted: [0x87, 0x87, 1] }])
  expect(packetsIn(it.toServer)).toMatchObject([{ cmd: 'unsubscribe', unsubscriptions: ['ok/a'] }])
})

test('a policy that narrows the rights takes effect on the next packet, without waiting for the sweep', async () => {
  const it = await new SessionRig().connect()
  const { policyInForce } = it.context
  it.context.policyInForce = { policy: policyFrom('version: 1'), epoch: policyInForce.epoch + 1 }
  it.fromClient(publish({ topic: 'ok/a', qos: 1 }), subscribe({ packetId: 2, filters: [['ok/a', 1]] }))
  expect(packetsIn(it.toClient)).toMatchObject([{ reasonCode: 0x87 }, { granted: [0x87] }])
  expect(it.toServer.length).toBe(0)
})

test.each([
  ['a good one', connect({ password: 'a.b.c' })],
  ['one of MQTT 3.1.1', connectV3()],
  ['one of no known version', connect({ protocolVersion: 9 })],
  ['one with a name that is none', Buffer.of(0x10, 2, 0, 0)],
])('peers.J10 a second CONNECT, %s, is no part of a session: DISCONNECT 0x82', async (_, bytes) => {
  const it = await new SessionRig().connect()
  it.fromClient(bytes)
  expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }])
  expect(it.toServer.length).toBe(0)
})

test.each([
  ['says so', (it: SessionRig) => it.fromClient(disconnect())],
  ['closes', (it: SessionRig) => it.session.onFin()],
])(
  'REV-01 of an agent that leaves, and %s, nothing that still waits passes once it is revoked',
  async (_, leave) => {
    const it = await new SessionRig().connect()
    it.server!.stopReading()
    it.fromClient(publish({ topic: 'ok/a', payload: 'x' }))
    leave(it)
    expect([it.session.receiving, it.server!.destroyed]).toEqual([false, false])
    it.session.revoke()()
    expect(it.server!.destroyed).toBe(true)
  },
)

test('REV-01 from the cut on nothing passes, though the broker is told later, when all agents have been', async () => {
  const it = await new SessionRig().connect(WITH_WILL)
  const settle = it.session.revoke()
  expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x98 }])
  it.fromClient(publish({ topic: 'ok/a' }))
  it.fromServer(publish({ topic: 'ok/a' }))
  it.session.onClose()
  it.session.shutDown()
  expect([it.client.writes.length, it.server!.writes.length, it.ended]).toEqual([1, 0, false])
  settle()
  expect(it.toServer).toEqual(disconnect(0, [prop.sessionExpiryInterval(0)]))
  expect(it.ended).toBe(true)
})
