// Flow control: what Postern answers in another's place never leaves a Packet Identifier or a place in a window behind.
import { describe, expect, test } from 'vitest'
import {
  ack,
  PINGREQ,
  PINGRESP,
  prop,
  publish,
  suback,
  subscribe,
  unsuback,
  unsubscribe,
} from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { OK_POLICY, SessionRig } from '../support/session-rig.ts'

const rig = (config: Record<string, unknown> = {}): Promise<SessionRig> =>
  new SessionRig({ config }).connect()

describe('deliveries that are dropped', () => {
  test.each([
    [0, Buffer.alloc(0)],
    [1, ack('puback', 9, 0x87)],
    [2, ack('pubrec', 9)],
  ])('S10, peers.G6 at QoS %i: the agent sees nothing, the broker is answered', async (qos, answer) => {
    const it = await rig()
    it.fromServer(publish({ topic: 'no/a', qos, packetId: 9 }))
    expect(it.toClient.length).toBe(0)
    expect(it.toServer).toEqual(answer)
    expect(it.decisions).toEqual(['deliver no_rule dropped'])
  })

  test('peers.G6 at QoS 2 the flow ends between Postern and the broker, as Mosquitto needs it', async () => {
    const it = await rig()
    it.fromServer(
      publish({ topic: 'no/a', qos: 2, packetId: 9 }),
      publish({ topic: 'ok/a', qos: 2, packetId: 8 }),
    )
    it.forget()
    it.fromServer(ack('pubrel', 9), ack('pubrel', 8))
    expect(it.toClient).toEqual(ack('pubrel', 8))
    expect(it.toServer).toEqual(ack('pubcomp', 9))
    it.forget()
    it.fromServer(ack('pubrel', 9))
    expect(it.toClient).toEqual(ack('pubrel', 9))
  })

  test.each([1, 2])('peers.G6 100,000 of them at QoS %i: each is answered, and none is held', async (qos) => {
    const it = await rig()
    const ids = Array.from({ length: 100 }, (_, i) => i + 1)
    const each = (make: (id: number) => Buffer) => Buffer.concat(ids.map(make))
    const messages = each((packetId) => publish({ topic: 'no/a', qos, packetId }))
    const answers = each((id) => (qos === 1 ? ack('puback', id, 0x87) : ack('pubrec', id)))
    const [releases, completions] = [each((id) => ack('pubrel', id)), each((id) => ack('pubcomp', id))]
    for (let i = 0; i < 1000; i++) {
      it.fromServer(messages)
      if (!it.toServer.equals(answers) || it.server!.paused) throw new Error(`round ${i}`)
      it.forget()
      if (qos === 1) continue
      it.fromServer(releases)
      if (!it.toServer.equals(completions)) throw new Error(`PUBREL of round ${i}`)
      it.forget()
    }
    expect(it.server!.backlog).toBe(0)
    expect(it.client.writes).toEqual([])
    expect(it.session.relaying).toBe(true)
  })

  test('RFC 9431 by option: the agent is disconnected with 0x87', async () => {
    const it = await rig({ denial: { delivery: 'disconnect' } })
    it.fromServer(publish({ topic: 'no/a', qos: 1, packetId: 9 }))
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }])
    expect(it.event('disconnect')?.reason).toBe('delivery_denied')
  })
})

describe('messages of the agent that are denied', () => {
  test('P25 100 in one write, every 10th denied: every identifier is answered once, by whom it concerns', async () => {
    const it = await rig()
    const packets = Array.from({ length: 100 }, (_, i) =>
      publish({ topic: (i + 1) % 10 === 0 ? 'no/a' : 'ok/a', qos: 1, packetId: i + 1 }),
    )
    it.fromClient(...packets)
    expect(it.toServer).toEqual(Buffer.concat(packets.filter((_, i) => (i + 1) % 10 !== 0)))
    expect(packetsIn(it.toClient).map((packet) => packet.messageId)).toEqual([
      10, 20, 30, 40, 50, 60, 70, 80, 90, 100,
    ])
  })

  test.each([
    [1, 'puback'],
    [2, 'pubrec'],
  ])('ACL-07, P24 at QoS %i the identifier is free again', async (qos, answer) => {
    const it = await rig()
    for (let i = 0; i < 3; i++) it.fromClient(publish({ topic: 'no/a', qos, packetId: 7 }))
    expect(packetsIn(it.toClient)).toMatchObject(
      Array(3).fill({ cmd: answer, messageId: 7, reasonCode: 0x87 }),
    )
    const good = publish({ topic: 'ok/a', qos, packetId: 7 })
    it.fromClient(good)
    expect(it.toServer).toEqual(good)
  })

  test('100,000 of them do not hold up the ones that are allowed', async () => {
    const it = await rig()
    const chunk = Buffer.concat(
      Array.from({ length: 100 }, (_, i) => publish({ topic: 'no/a', qos: 1, packetId: i + 1 })),
    )
    for (let i = 0; i < 1000; i++) {
      it.fromClient(chunk)
      it.forget()
      if (it.client.paused) throw new Error(`paused in round ${i}`)
    }
    const good = publish({ topic: 'ok/a', qos: 1, packetId: 1 })
    it.fromClient(good)
    expect(it.toServer).toEqual(good)
  })

  test('ACL-08, P23 at QoS 0 nothing is said; by option DISCONNECT 0x87', async () => {
    const drop = await rig()
    drop.fromClient(publish({ topic: 'no/a' }), PINGREQ)
    expect(drop.toServer).toEqual(PINGREQ)
    expect(drop.toClient.length).toBe(0)
    const cut = await rig({ denial: { publishQos0: 'disconnect' } })
    cut.fromClient(publish({ topic: 'no/a' }), PINGREQ)
    expect(packetsIn(cut.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }])
    expect(cut.toServer.length).toBe(0)
  })
})

describe('peers.G5 identifiers of Postern’s own requests', () => {
  /** A session whose one subscription a new policy has taken away; the identifier of Postern's UNSUBSCRIBE. */
  async function narrowed(taken: readonly number[]): Promise<{ it: SessionRig; own: number }> {
    const it = await rig()
    it.fromClient(subscribe({ packetId: 1, filters: [['ok/s', 1]] }))
    it.fromServer(suback([1], 1))
    for (const id of taken) it.fromClient(publish({ topic: 'ok/notes/a', qos: 1, packetId: id }))
    it.forget()
    it.usePolicy(OK_POLICY.replaceAll('ok/#', 'ok/notes/#'))
    const [request] = packetsIn(it.toServer)
    it.forget()
    return { it, own: request!.messageId! }
  }

  test.each([[[2, 3, 4]], [[1]], [[65_535]], [[1, 65_535, 65_534]]])(
    'are none of %j, which the client uses',
    async (taken) => {
      const { own } = await narrowed(taken)
      expect(taken).not.toContain(own)
      expect(own).toBeGreaterThan(0)
      expect(own).toBeLessThan(65_536)
    },
  )

  test('may be one whose SUBSCRIBE was denied: it is free', async () => {
    const it = await rig()
    it.fromClient(
      subscribe({ packetId: 5, filters: [['ok/s', 1]] }),
      subscribe({ packetId: 32_769, filters: [['no/s', 1]] }),
    )
    it.fromServer(suback([1], 5))
    it.fromClient(publish({ topic: 'ok/notes/a', qos: 1, packetId: 2 }))
    it.forget()
    it.usePolicy(OK_POLICY.replaceAll('ok/#', 'ok/notes/#'))
    expect(packetsIn(it.toServer)).toMatchObject([{ cmd: 'unsubscribe', messageId: 32_769 }])
  })

  test('their answers are swallowed, once', async () => {
    const { it, own } = await narrowed([])
    it.fromServer(unsuback([0], own))
    expect(it.toClient.length).toBe(0)
    it.fromClient(unsubscribe(['ok/s'], own))
    it.fromServer(unsuback([0x11], own))
    expect(it.toClient).toEqual(unsuback([0x11], own))
  })

  test('the client that takes one meanwhile is told 0x91, and its answer is not mixed up', async () => {
    const { it, own } = await narrowed([])
    it.fromClient(publish({ topic: 'ok/notes/a', qos: 1, packetId: own }))
    it.fromClient(subscribe({ packetId: own, filters: [['ok/notes/a', 1]] }))
    it.fromClient(unsubscribe(['ok/notes/a'], own))
    expect(packetsIn(it.toClient)).toMatchObject([
      { cmd: 'puback', messageId: own, reasonCode: 0x91 },
      { cmd: 'suback', messageId: own, granted: [0x91] },
      { cmd: 'unsuback', messageId: own, granted: [0x91] },
    ])
    expect(it.toServer.length).toBe(0)
  })
})

describe('an agent whose packets are all denied', () => {
  test('is kept alive at the broker by PINGREQ packets of Postern’s own, whose answers it does not see', async () => {
    const it = await new SessionRig().connect({ keepAlive: 60 })
    const denied = publish({ topic: 'no/a' })
    it.clock.advance(29_000)
    it.fromClient(denied)
    expect(it.toServer.length).toBe(0)
    it.clock.advance(1_000)
    it.fromClient(denied)
    expect(it.toServer).toEqual(PINGREQ)
    it.fromClient(PINGREQ)
    it.fromServer(PINGRESP, PINGRESP)
    expect(it.toClient).toEqual(PINGRESP)
  })

  test('with a Server Keep Alive by that; with Keep Alive 0 never', async () => {
    const it = await new SessionRig().connect({ keepAlive: 600 }, { properties: [prop.serverKeepAlive(10)] })
    it.clock.advance(5_000)
    it.fromClient(publish({ topic: 'no/a' }))
    expect(it.toServer).toEqual(PINGREQ)
    const never = await new SessionRig().connect()
    never.clock.advance(100_000)
    never.fromClient(publish({ topic: 'no/a' }))
    expect(never.toServer.length).toBe(0)
  })
})
