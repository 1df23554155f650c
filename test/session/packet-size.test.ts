// What Postern says, or makes longer, is never longer than the agent takes: its Maximum Packet Size. MQTT 5.0 §3.1.2.11.4
import { describe, expect, test } from 'vitest'
import { connack, connect, PINGREQ, prop, publish, suback, subscribe } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { type RigOptions, SessionRig } from '../support/session-rig.ts'

const METHOD = [prop.authenticationMethod('OAUTH2-JWT')]
const FRESH: RigOptions = { authenticationMethod: 'OAUTH2-JWT' }
const VERBOSE = [prop.reasonString('well'), prop.userProperty('a', 'b'), prop.receiveMaximum(9)]

/** A session of an agent that takes packets of at most `bytes`, its CONNECT forwarded. */
async function waiting(bytes: number, options: RigOptions = {}): Promise<SessionRig> {
  const it = new SessionRig(options)
  it.fromClient(connect({ password: 'a.b.c', properties: [prop.maximumPacketSize(bytes)] }))
  await it.settle()
  return it
}

const small = (bytes: number, options: RigOptions = {}): Promise<SessionRig> =>
  new SessionRig(options).connect({ properties: [prop.maximumPacketSize(bytes)] })

describe('a CONNACK that Postern adds to', () => {
  const whole = connack({ properties: [...VERBOSE, ...METHOD] })
  const brief = connack({ properties: [prop.receiveMaximum(9), ...METHOD] })

  test.each([
    ['fits', whole.length, whole],
    ['is told without Reason String and User Properties', whole.length - 1, brief],
    ['is told so as long as that fits', brief.length, brief],
  ])('%s', async (_, bytes, told) => {
    const it = await waiting(bytes, FRESH)
    it.fromServer(connack({ properties: VERBOSE }))
    expect(it.toClient).toEqual(told)
    expect(it.session.relaying).toBe(true)
  })

  test('else the agent is refused, and the broker hears that it left', async () => {
    const it = await waiting(brief.length - 1, FRESH)
    it.fromServer(connack({ properties: VERBOSE }))
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'connack', reasonCode: 0x83 }])
    expect(packetsIn(it.toServer).at(-1)).toMatchObject({ cmd: 'disconnect', reasonCode: 0 })
    expect([it.ended, it.client.ended, it.server!.ended]).toEqual([true, true, true])
    expect(it.event('disconnect')?.reason).toBe('answer_too_large')
  })

  test('that it does not touch goes on as the broker said it', async () => {
    const it = await waiting(5)
    it.fromServer(connack({ properties: VERBOSE }))
    expect(it.toClient).toEqual(connack({ properties: VERBOSE }))
  })
})

describe('a SUBACK that Postern adds to', () => {
  const request = subscribe({
    packetId: 3,
    filters: [
      ['ok/a', 1],
      ['no/a', 1],
      ['no/b', 1],
    ],
  })

  test.each([
    [15, suback([1, 0x87, 0x87], 3, [prop.reasonString('well')])],
    [14, suback([1, 0x87, 0x87], 3)],
    [8, suback([1, 0x87, 0x87], 3)],
  ])('in %i bytes', async (bytes, told) => {
    const it = await small(bytes)
    it.fromClient(request)
    it.fromServer(suback([1], 3, [prop.reasonString('well')]))
    expect(it.toClient).toEqual(told)
  })

  test('that does not fit ends the connection with 0x95', async () => {
    const it = await small(7)
    it.fromClient(request)
    it.fromServer(suback([1], 3), publish({ topic: 'ok/a' }))
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x95 }])
    expect(it.event('disconnect')?.reason).toBe('answer_too_large')
  })
})

describe('an answer of Postern’s own that does not fit ends the connection, and is not sent', () => {
  test.each<[string, number, Buffer]>([
    [
      'SUBACK',
      7,
      subscribe({
        filters: [
          ['no/a', 0],
          ['no/b', 0],
          ['no/c', 0],
        ],
      }),
    ],
    ['PUBACK', 4, publish({ topic: 'no/a', qos: 1, packetId: 5 })],
    ['PUBREC', 4, publish({ topic: 'no/a', qos: 2, packetId: 5 })],
  ])('%s', async (_, bytes, packet) => {
    const it = await small(bytes)
    it.fromClient(packet, PINGREQ)
    await it.settle()
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x95 }])
    expect(it.event('disconnect')).toMatchObject({ reason: 'answer_too_large', effect: 'disconnect 0x95' })
  })

  test('not even the DISCONNECT, to an agent that takes three bytes', async () => {
    const it = await small(3)
    it.fromClient(publish({ topic: 'no/a', qos: 1, packetId: 5 }))
    await it.settle()
    expect(it.toClient.length).toBe(0)
    expect(it.event('disconnect')).toMatchObject({ reason: 'answer_too_large', effect: 'closed' })
    expect(it.client.ended).toBe(true)
  })
})
