// QoS 2 towards the server: what the broker holds until PUBREL is only released by today's rights, and under its own name.
import { describe, expect, test } from 'vitest'
import { SessionMemory } from '../../src/session/session-memory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ack, disconnect, prop, publish } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { OK_POLICY, SessionRig } from '../support/session-rig.ts'

const NOTES_ONLY = OK_POLICY.replaceAll('ok/#', 'ok/notes/#')
const message = (topic: string, packetId = 5, dup = false): Buffer =>
  publish({ topic, qos: 2, packetId, dup, payload: 'x' })
const inUse = (packetId: number): Buffer => ack('pubrec', packetId, 0x91)
const unknown = (packetId: number): Buffer => ack('pubcomp', packetId, 0x92)
/** What follows a denied PUBREL of a message that the broker holds: the MQTT session goes, and the message with it. */
const GONE = disconnect(0x87, [])
const FORGET = disconnect(4, [prop.sessionExpiryInterval(0)])
const pubrel = (packetId: number): Buffer => ack('pubrel', packetId)

async function holding(topic: string): Promise<SessionRig> {
  const it = await new SessionRig().connect()
  it.fromClient(message(topic))
  it.fromServer(ack('pubrec', 5))
  it.forget()
  return it
}

test('peers.G1 PUBREL for a denied PUBLISH is answered PUBCOMP 0x92 and forwarded to nobody', async () => {
  const it = await new SessionRig().connect()
  it.fromClient(message('no/a'), pubrel(5))
  expect(it.toClient).toEqual(Buffer.concat([ack('pubrec', 5, 0x87), unknown(5)]))
  expect(it.toServer.length).toBe(0)
})

test('PUBREL is forwarded while the rights are those that the PUBLISH was allowed by', async () => {
  const it = await holding('ok/a')
  it.fromClient(pubrel(5))
  it.fromServer(ack('pubcomp', 5))
  expect(it.toServer).toEqual(pubrel(5))
  expect(it.toClient).toEqual(ack('pubcomp', 5))
})

test('peers.G1 nothing else goes under an identifier between its PUBREL and its PUBCOMP', async () => {
  const it = await holding('ok/a')
  it.fromClient(pubrel(5), message('ok/a'))
  expect(it.toServer).toEqual(pubrel(5))
  expect(it.toClient).toEqual(inUse(5))
  it.fromServer(ack('pubcomp', 5))
  it.forget()
  it.fromClient(message('ok/b'))
  expect(it.toServer).toEqual(message('ok/b'))
})

describe('after the policy has changed', () => {
  test('peers.G1 PUBREL of a message that is no longer allowed is answered PUBCOMP 0x92', async () => {
    const it = await holding('ok/a')
    it.usePolicy(NOTES_ONLY)
    it.fromClient(pubrel(5))
    expect(it.toClient).toEqual(Buffer.concat([unknown(5), GONE]))
    expect(it.toServer).toEqual(FORGET)
    expect(it.event('release')).toMatchObject({
      decision: 'deny',
      reason: 'no_rule',
      resource: { topic: 'ok/a' },
    })
  })

  test('PUBREL of a message that is still allowed is forwarded', async () => {
    const it = await holding('ok/notes/a')
    it.usePolicy(NOTES_ONLY)
    it.fromClient(pubrel(5))
    expect(it.toServer).toEqual(pubrel(5))
  })

  test('peers.G1 a Response Topic that is no longer allowed keeps the message from being released', async () => {
    const it = await new SessionRig().connect()
    it.fromClient(
      publish({ topic: 'ok/notes/a', qos: 2, packetId: 5, properties: [prop.responseTopic('ok/b')] }),
    )
    it.forget()
    it.usePolicy(NOTES_ONLY)
    it.fromClient(pubrel(5))
    expect(it.toClient).toEqual(Buffer.concat([unknown(5), GONE]))
  })

  test('peers.G2 a re-sent PUBLISH is judged again, and what the broker holds is not released', async () => {
    const it = await holding('ok/a')
    it.usePolicy(NOTES_ONLY)
    it.fromClient(message('ok/a', 5, true), pubrel(5))
    expect(it.toClient).toEqual(Buffer.concat([ack('pubrec', 5, 0x87), unknown(5), GONE]))
    expect(it.toServer).toEqual(FORGET)
  })
})

// [MQTT-4.3.3-10]: until PUBREL the broker keeps the first message of an identifier, whatever else comes under it.
describe('peers.G1 an identifier that the broker holds a message under', () => {
  test('is refused to another message: its PUBREL would publish the first one', async () => {
    const it = await holding('ok/a')
    it.usePolicy(NOTES_ONLY)
    it.fromClient(message('ok/notes/b'), pubrel(5))
    expect(it.toClient).toEqual(Buffer.concat([inUse(5), unknown(5), GONE]))
    expect(it.toServer).toEqual(FORGET)
  })

  test.each([
    ['with another Response Topic', { properties: [prop.responseTopic('ok/notes/r')] }],
    ['retained', { retain: true }],
    ['with a longer payload', { payload: 'xx' }],
  ])('is refused to the same topic %s, which a rule may judge otherwise', async (_, changes) => {
    const it = await holding('ok/a')
    it.fromClient(publish({ topic: 'ok/a', qos: 2, packetId: 5, payload: 'x', ...changes }))
    expect(it.toClient).toEqual(inUse(5))
  })

  test('is refused even after the re-sent message itself was denied', async () => {
    const it = await holding('ok/a')
    it.usePolicy(NOTES_ONLY)
    it.fromClient(message('ok/a', 5, true), message('ok/notes/b'), pubrel(5))
    expect(packetsIn(it.toClient)).toMatchObject([
      { reasonCode: 0x87 },
      { reasonCode: 0x91 },
      { reasonCode: 0x92 },
      { cmd: 'disconnect' },
    ])
    expect(it.toServer).toEqual(FORGET)
  })

  test('is free after its PUBREL was denied: the broker is made to forget the message, for the session ends', async () => {
    const clock = new FakeClock()
    const memory = new SessionMemory(clock, 10)
    const config = { sessions: { delegated: 'resume' } }
    const properties = [prop.sessionExpiryInterval(3600)]
    const it = await new SessionRig({ clock, memory, config }).connect({ properties })
    it.fromClient(message('ok/a'))
    it.forget()
    it.usePolicy(NOTES_ONLY)
    // Nothing of what follows in the same chunk passes.
    it.fromClient(pubrel(5), message('ok/notes/b'), pubrel(5))
    expect(it.toClient).toEqual(Buffer.concat([unknown(5), GONE]))
    expect(it.toServer).toEqual(FORGET)
    const next = new SessionRig({ clock, memory, config, policy: NOTES_ONLY })
    await next.connect({ properties, cleanStart: false })
    next.fromClient(message('ok/notes/b'))
    next.fromServer(ack('pubrec', 5))
    next.fromClient(pubrel(5))
    expect(next.toServer).toEqual(Buffer.concat([message('ok/notes/b'), pubrel(5)]))
  })

  test('stays held while the audit log cannot be written: the agent is to come back and ask again', async () => {
    const it = await holding('ok/a')
    it.audit.accepting = false
    it.fromClient(pubrel(5))
    expect(it.toClient.length).toBe(0)
    expect(it.toServer.length).toBe(0)
    expect(it.event('disconnect')?.reason).toBe('audit_unavailable')
    expect(it.client.ended || it.client.destroyed).toBe(true)
  })

  test('peers.G3 takes the same message again, any number of times, and keeps one entry', async () => {
    const it = await holding('ok/a')
    const again = message('ok/a', 5, true)
    for (let i = 0; i < 100; i++) it.fromClient(again)
    expect(it.toServer.length).toBe(100 * again.length)
    it.fromServer(ack('pubcomp', 5))
    it.forget()
    it.fromClient(pubrel(5))
    expect(it.toClient).toEqual(unknown(5))
  })

  test.each([
    ['PUBCOMP', ack('pubcomp', 5)],
    ['PUBREC with an error', ack('pubrec', 5, 0x97)],
  ])('is free after %s', async (_, answer) => {
    const it = await holding('ok/a')
    it.fromServer(answer)
    it.forget()
    const next = message('ok/b')
    it.fromClient(next)
    expect(it.toServer).toEqual(next)
  })
})

describe('a resumed session', () => {
  test('peers.F3 its PUBREL is judged by the rights of the new connection', async () => {
    const clock = new FakeClock()
    const memory = new SessionMemory(clock, 10)
    const config = { sessions: { delegated: 'resume' } }
    const properties = [prop.sessionExpiryInterval(3600)]
    const first = await new SessionRig({ clock, memory, config }).connect({ properties })
    first.fromClient(message('ok/a', 5), message('ok/notes/a', 6))
    first.session.onClose()
    const second = new SessionRig({ clock, memory, config, policy: NOTES_ONLY })
    await second.connect({ properties, cleanStart: false }, { sessionPresent: true })
    second.fromClient(pubrel(6), pubrel(5))
    expect(second.toClient).toEqual(Buffer.concat([unknown(5), GONE]))
    expect(second.toServer).toEqual(Buffer.concat([pubrel(6), FORGET]))
  })

  test('a PUBREL that nobody has judged is refused, or forwarded by option', async () => {
    const refuse = await new SessionRig().connect({}, { sessionPresent: true })
    refuse.fromClient(pubrel(9))
    expect(refuse.toClient).toEqual(unknown(9))
    const config = { sessions: { unknownRelease: 'forward' } }
    const forward = await new SessionRig({ config }).connect({}, { sessionPresent: true })
    forward.fromClient(pubrel(9))
    expect(forward.toServer).toEqual(pubrel(9))
  })
})
