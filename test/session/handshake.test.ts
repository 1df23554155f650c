// From the first byte to the CONNACK: every way to be refused, what the broker sees of it, and what changes meanwhile.

import { describe, expect, test } from 'vitest'
import { ENDED_AS } from '../../src/session/outcome.ts'
import { connack, connect, disconnect, PINGREQ, prop, publish } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { OK_POLICY, type RigOptions, SessionRig } from '../support/session-rig.ts'

const CONNECT = connect({ password: 'a.b.c' })
const WITH_WILL = connect({ password: 'a.b.c', will: { topic: 'ok/will' } })

const refuse = (): never => {
  throw new Error('connection refused')
}

/** A session whose CONNECT has reached the broker. */
async function waiting(options: RigOptions = {}, bytes = CONNECT): Promise<SessionRig> {
  const it = new SessionRig(options)
  it.fromClient(bytes)
  await it.settle()
  return it
}

function refusedWith(it: SessionRig, reasonCode: number, reason: string): void {
  expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'connack', reasonCode }])
  expect([it.client.ended, it.ended]).toEqual([true, true])
  // AUD-01: a CONNECT has one record. Once it was allowed and forwarded, a refusal is the end of the connection.
  const forwarded = it.toServer.length > 0
  expect(it.audit.events.filter((event) => event.action === 'connect')).toHaveLength(1)
  expect(it.event('connect')?.decision).toBe(forwarded ? 'allow' : 'deny')
  expect(it.event(forwarded ? 'disconnect' : 'connect')?.reason).toBe(forwarded ? ENDED_AS[reason] : reason)
}

describe('the agent', () => {
  test('peers.J6 that does not send its CONNECT in time is closed without a word', () => {
    const it = new SessionRig()
    it.fromClient(CONNECT.subarray(0, -1))
    it.clock.advance(4_999)
    expect(it.ended).toBe(false)
    it.clock.advance(1)
    expect(it.ended).toBe(true)
    expect(it.client.ended).toBe(true)
    expect(it.event('connect')?.reason).toBe('connect_timeout')
  })

  test('that leaves before it said anything leaves no record', () => {
    const it = new SessionRig()
    it.session.onFin()
    expect(it.ended).toBe(true)
    expect(it.audit.events).toEqual([])
  })

  test('TOK-02 is not read on until the CONNACK; what it sent before waits, and comes after the CONNACK', async () => {
    const it = await waiting()
    expect(it.client.paused).toBe(true)
    it.fromClient(publish({ topic: 'no/a', qos: 1, packetId: 3 }), PINGREQ)
    expect(packetsIn(it.toServer).map((packet) => packet.cmd)).toEqual(['connect'])
    it.fromServer(connack())
    expect(packetsIn(it.toClient).map((packet) => packet.cmd)).toEqual(['connack', 'puback'])
    expect(packetsIn(it.toServer).map((packet) => packet.cmd)).toEqual(['connect', 'pingreq'])
    expect(it.client.paused).toBe(false)
  })

  test('peers.J6 that sends too much ahead of the CONNACK is refused with 0x97', async () => {
    const it = await waiting()
    for (let i = 0; i < 5; i++) it.fromClient(Buffer.alloc(64 * 1024))
    refusedWith(it, 0x97, 'malformed_connect')
    expect(it.server!.ended).toBe(true)
  })

  test('that closes while its token is checked opens nothing at the broker', async () => {
    const it = new SessionRig()
    it.fromClient(CONNECT)
    it.session.onClose()
    await it.settle()
    expect(it.server).toBeUndefined()
  })

  test('that closes while the broker is dialed closes that connection, and nothing was sent on it', async () => {
    const it = await waiting({ beforeDial: (rig) => rig.session.onClose() })
    expect(it.server!.destroyed).toBe(true)
    expect(it.toServer.length).toBe(0)
  })
})

describe('the broker', () => {
  test('that cannot be reached: CONNACK 0x88', async () => {
    const it = await waiting({ beforeDial: refuse })
    refusedWith(it, 0x88, 'upstream_unavailable')
  })

  test('that does not answer in time: CONNACK 0x88', async () => {
    const it = await waiting()
    it.clock.advance(5_000)
    refusedWith(it, 0x88, 'upstream_unavailable')
    expect(it.server!.ended).toBe(true)
  })

  test('that closes before it answers: CONNACK 0x88', async () => {
    const it = await waiting()
    it.session.onServerClose()
    refusedWith(it, 0x88, 'upstream_unavailable')
  })

  test.each([
    ['says something else first', publish({ topic: 'ok/a' })],
    ['sends bytes that are no packet', Buffer.of(0, 0)],
    ['wants to authenticate', Buffer.of(0xf0, 0)],
  ])('that %s: CONNACK 0x88, and nothing of it reaches the agent', async (_, bytes) => {
    const it = await waiting()
    it.fromServer(bytes)
    refusedWith(it, 0x88, 'upstream_unavailable')
  })

  test.each([
    [26, connack({ reasonCode: 0x88, properties: [prop.reasonString('server unavailable')] })],
    [25, connack({ reasonCode: 0x88 })],
    [5, connack({ reasonCode: 0x88 })],
    [4, Buffer.alloc(0)],
  ])('a refusal is no longer than the Maximum Packet Size %i of the agent', async (bytes, answer) => {
    const properties = [prop.maximumPacketSize(bytes)]
    const it = await waiting({ beforeDial: refuse }, connect({ password: 'a.b.c', properties }))
    expect(it.toClient).toEqual(answer)
    expect(it.event('connect')?.effect).toBe(answer.length > 0 ? 'connack 0x88' : 'closed')
  })

  test('that refuses: its CONNACK as it is', async () => {
    const it = await waiting()
    const refusal = connack({ reasonCode: 0x97, properties: [prop.reasonString('full')] })
    it.fromServer(refusal, publish({ topic: 'ok/a' }))
    expect(it.toClient).toEqual(refusal)
    expect(it.event('connect')?.decision).toBe('allow')
    expect(it.event('disconnect')).toMatchObject({ reason: 'refused_by_broker', effect: 'connack 0x97' })
    expect([it.client.ended, it.server!.ended]).toEqual([true, true])
  })
})

describe('the process that is shutting down', () => {
  test.each([
    ['before the CONNECT', Buffer.alloc(0)],
    ['while the token is checked', CONNECT],
  ])('refuses %s with 0x88', async (_, bytes) => {
    const it = new SessionRig()
    if (bytes.length > 0) it.fromClient(bytes)
    it.session.shutDown()
    await it.settle()
    refusedWith(it, 0x88, 'shutting_down')
    expect(it.server).toBeUndefined()
  })

  test('refuses while the CONNACK is awaited', async () => {
    const it = await waiting()
    it.session.shutDown()
    refusedWith(it, 0x88, 'shutting_down')
    expect(it.server!.ended).toBe(true)
  })
})

describe('peers.E4, peers.D2 a policy that comes in force', () => {
  test('while the broker is dialed: a Will that it denies is refused, and the broker hears nothing', async () => {
    const it = await waiting({ beforeDial: (rig) => rig.usePolicy('version: 1') }, WITH_WILL)
    refusedWith(it, 0x87, 'will_denied')
    expect(it.toServer.length).toBe(0)
  })

  test('while the CONNACK is awaited: a Will that it denies is refused, and taken back at the broker', async () => {
    const it = await waiting({}, WITH_WILL)
    it.usePolicy('version: 1')
    it.fromServer(connack(), publish({ topic: 'ok/a' }))
    refusedWith(it, 0x87, 'will_denied')
    expect(packetsIn(it.toServer)).toMatchObject([{ cmd: 'connect' }, { cmd: 'disconnect', reasonCode: 0 }])
  })

  test('while the CONNACK is awaited: the first delivery and the first PUBLISH are judged by it', async () => {
    const it = await waiting()
    it.usePolicy(OK_POLICY.replaceAll('ok/#', 'ok/notes/#'))
    it.fromClient(publish({ topic: 'ok/a', qos: 1, packetId: 1 }))
    it.fromServer(connack(), publish({ topic: 'ok/a', qos: 1, packetId: 2 }))
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'connack' }, { cmd: 'puback', messageId: 1 }])
    expect(packetsIn(it.toServer)).toMatchObject([{ cmd: 'connect' }, { cmd: 'puback', messageId: 2 }])
  })
})

test('A2 an audit log that cannot write: CONNACK 0x88, and nothing is opened at the broker', async () => {
  const it = new SessionRig()
  it.audit.accepting = false
  it.fromClient(CONNECT)
  await it.settle()
  refusedWith(it, 0x88, 'audit_unavailable')
  expect(it.server).toBeUndefined()
})

test('DISCONNECT right behind CONNECT is dealt with after the CONNACK', async () => {
  const it = await waiting({}, Buffer.concat([CONNECT, disconnect()]))
  it.fromServer(connack())
  expect(packetsIn(it.toServer).map((packet) => packet.cmd)).toEqual(['connect', 'disconnect'])
})
