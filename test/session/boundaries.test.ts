// Nothing of Postern's own is ever written into the middle of a packet, and nothing waits longer than to its end.
import { describe, expect, test } from 'vitest'
import {
  ack,
  disconnect,
  PINGREQ,
  PINGRESP,
  publish,
  suback,
  subscribe,
  unsubscribe,
} from '../support/frames.ts'
import { SessionRig } from '../support/session-rig.ts'

const rig = (config: Record<string, unknown> = {}): Promise<SessionRig> =>
  new SessionRig({ config }).connect()

/** A packet cut at `at`: everything before, and the rest. */
function cut(packet: Buffer, at: number): [Buffer, Buffer] {
  return [packet.subarray(0, at), packet.subarray(at)]
}

const big = publish({ topic: 'ok/a', payload: Buffer.alloc(1000, 'x') })
const denied = (packetId: number): Buffer => publish({ topic: 'no/a', qos: 1, packetId })

describe('towards the client', () => {
  test('an answer waits until the delivery on its way is complete', async () => {
    const it = await rig()
    const [head, rest] = cut(big, 500)
    it.fromServer(head)
    it.fromClient(denied(1))
    expect(it.toClient).toEqual(head)
    it.fromServer(rest)
    expect(it.toClient).toEqual(Buffer.concat([big, ack('puback', 1, 0x87)]))
  })

  test('an answer does not wait for a delivery that is dropped', async () => {
    const it = await rig()
    it.fromServer(cut(publish({ topic: 'no/a', payload: Buffer.alloc(1000) }), 500)[0])
    it.fromClient(denied(1))
    expect(it.toClient).toEqual(ack('puback', 1, 0x87))
  })

  test('an answer does not wait for a head that is not complete: nothing of it was written', async () => {
    const it = await rig()
    const [half, rest] = cut(big, 3)
    it.fromServer(half)
    it.fromClient(denied(1))
    expect(it.toClient).toEqual(ack('puback', 1, 0x87))
    it.fromServer(rest)
    expect(it.toClient).toEqual(Buffer.concat([ack('puback', 1, 0x87), big]))
  })

  test('answers leave at the first boundary, even if the broker’s chunks never end at one', async () => {
    const it = await rig()
    const stream = Buffer.concat(Array.from({ length: 5 }, () => big))
    it.fromServer(stream.subarray(0, 500))
    it.fromClient(denied(1))
    it.fromServer(stream.subarray(500, 1500))
    expect(it.toClient.subarray(0, big.length + 5)).toEqual(Buffer.concat([big, ack('puback', 1, 0x87)]))
    it.fromServer(stream.subarray(1500))
    expect(it.toClient.length).toBe(stream.length + 5)
  })
})

describe('towards the server', () => {
  test('the acknowledgement of a dropped delivery waits until the PUBLISH on its way is complete', async () => {
    const it = await rig()
    const [head, rest] = cut(big, 500)
    it.fromClient(head)
    it.fromServer(publish({ topic: 'no/a', qos: 1, packetId: 7 }))
    expect(it.toServer).toEqual(head)
    it.fromClient(rest)
    expect(it.toServer).toEqual(Buffer.concat([big, ack('puback', 7, 0x87)]))
  })

  test('an UNSUBSCRIBE of Postern’s own waits too', async () => {
    const it = await rig()
    it.fromClient(subscribe({ packetId: 1, filters: [['ok/s', 1]] }))
    it.fromServer(suback([1], 1))
    it.forget()
    const [head, rest] = cut(big, 500)
    it.fromClient(head)
    it.usePolicy('version: 1')
    expect(it.toServer).toEqual(head)
    it.fromClient(rest)
    expect(it.toServer.subarray(big.length).toString('latin1')).toContain('ok/s')
    expect(it.toServer.subarray(0, big.length)).toEqual(big)
  })
})

describe('the end', () => {
  test('DISCONNECT is only said at a boundary; in the middle of a delivery the connection is closed', async () => {
    const it = await rig()
    it.fromServer(cut(big, 500)[0])
    it.fromClient(Buffer.of(0x00, 0x00))
    expect(it.toClient).toEqual(cut(big, 500)[0])
    expect(it.client.ended).toBe(true)
    expect(it.event('disconnect')).toMatchObject({ reason: 'client_fault', effect: 'closed' })
  })

  test('what was forwarded before goes out although the end comes in the middle of a packet', async () => {
    const it = await rig()
    it.client.stopReading()
    const whole = publish({ topic: 'ok/whole' })
    it.fromServer(whole, cut(big, 500)[0])
    it.session.onServerClose()
    it.client.startReading()
    expect(it.toClient.subarray(0, whole.length)).toEqual(whole)
  })

  test('packets before a fault are forwarded, the fault and what follows is not', async () => {
    const it = await rig()
    const good = publish({ topic: 'ok/a' })
    it.fromClient(good, PINGREQ, Buffer.of(0xf3), good)
    expect(it.toServer).toEqual(Buffer.concat([good, PINGREQ]))
    expect(it.toClient[0]).toBe(0xe0)
    expect(it.server!.ended).toBe(true)
  })

  test('after DISCONNECT nothing of the agent is relayed, and answers of the broker until it closes', async () => {
    const it = await rig()
    const answer = ack('puback', 1)
    it.fromClient(publish({ topic: 'ok/a', qos: 1 }), disconnect(), publish({ topic: 'ok/a' }))
    it.fromClient(PINGREQ)
    it.fromServer(answer)
    expect(it.toServer).toEqual(Buffer.concat([publish({ topic: 'ok/a', qos: 1 }), disconnect()]))
    expect(it.server!.ended).toBe(true)
    expect(it.toClient).toEqual(answer)
    expect(it.client.ended).toBe(false)
    it.session.onServerClose()
    it.fromServer(answer)
    expect(it.toClient).toEqual(answer)
    expect(it.client.ended).toBe(true)
    expect(it.event('disconnect')).toMatchObject({ reason: 'client_disconnected', effect: 'closed' })
  })

  test('FIN of the agent is passed on, and answers of the broker still reach it', async () => {
    const it = await rig()
    const answer = ack('puback', 1)
    it.fromClient(publish({ topic: 'ok/a', qos: 1 }))
    it.session.onFin()
    expect(it.server!.ended).toBe(true)
    it.fromServer(answer)
    it.session.onServerClose()
    expect(it.toClient).toEqual(answer)
    expect(it.event('disconnect')).toMatchObject({ reason: 'client_closed', effect: 'closed' })
  })

  test('a broker that does not close after FIN is cut after the linger time', async () => {
    const it = await rig()
    it.session.onFin()
    expect(it.client.ended).toBe(false)
    it.clock.advance(2_000)
    expect(it.client.ended).toBe(true)
    it.clock.advance(2_000)
    expect(it.server!.destroyed).toBe(true)
  })
})

describe('one byte at a time', () => {
  test('peers.J12 the same bytes leave on both sides as with whole packets', async () => {
    const client = Buffer.concat([
      publish({ topic: 'ok/a', payload: 'p' }),
      denied(1),
      subscribe({
        packetId: 2,
        filters: [
          ['ok/s', 1],
          ['no/s', 1],
        ],
      }),
      big,
      unsubscribe(['ok/s'], 3),
      PINGREQ,
      disconnect(),
    ])
    const server = Buffer.concat([PINGRESP, suback([1], 2), big])
    const whole = await rig()
    whole.fromClient(client.subarray(0, -2))
    whole.fromServer(server)
    whole.fromClient(client.subarray(-2))
    const bytewise = await rig()
    for (const byte of client.subarray(0, -2)) bytewise.fromClient(Buffer.of(byte))
    for (const byte of server) bytewise.fromServer(Buffer.of(byte))
    for (const byte of client.subarray(-2)) bytewise.fromClient(Buffer.of(byte))
    expect(bytewise.toServer).toEqual(whole.toServer)
    expect(bytewise.toClient).toEqual(whole.toClient)
  })
})
