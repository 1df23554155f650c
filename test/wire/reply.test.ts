import { parser } from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import { PacketType } from '../../src/wire/control-packet.ts'
import {
  ack,
  auth,
  CONNACK_V3_UNACCEPTABLE_VERSION,
  connack,
  disconnect,
  PINGREQ,
  suback,
  unsuback,
  unsubscribe,
} from '../../src/wire/reply.ts'
import * as frames from '../support/frames.ts'
import { type From, newReader, readPackets } from '../support/read-packets.ts'

const { prop } = frames

/** What mqtt-packet, as a peer, makes of a packet. */
function asPeerReads(bytes: Buffer): unknown {
  const packets: unknown[] = []
  const peer = parser({ protocolVersion: 5 })
  peer.on('packet', (packet) => packets.push(packet))
  expect(peer.parse(bytes)).toBe(0)
  expect(packets).toHaveLength(1)
  return packets[0]
}

const ROWS: [name: string, actual: Buffer, from: From, expected: Buffer, peer: object][] = [
  [
    'PUBACK',
    ack(PacketType.PUBACK, 0x1234, 0x87),
    'server',
    frames.ack('puback', 0x1234, 0x87),
    { cmd: 'puback' },
  ],
  [
    'PUBREC',
    ack(PacketType.PUBREC, 65_535, 0x97),
    'server',
    frames.ack('pubrec', 65_535, 0x97),
    { cmd: 'pubrec' },
  ],
  ['PUBREL', ack(PacketType.PUBREL, 256, 0x92), 'server', frames.ack('pubrel', 256, 0x92), { cmd: 'pubrel' }],
  [
    'PUBCOMP',
    ack(PacketType.PUBCOMP, 1, 0x92),
    'server',
    frames.ack('pubcomp', 1, 0x92),
    { reasonCode: 0x92 },
  ],
  ['PUBACK of success', ack(PacketType.PUBACK, 1, 0), 'server', frames.ack('puback', 1), { messageId: 1 }],
  ['PUBREL of success', ack(PacketType.PUBREL, 1, 0), 'server', frames.ack('pubrel', 1), { messageId: 1 }],
  ['PINGREQ', PINGREQ, 'client', frames.PINGREQ, { cmd: 'pingreq' }],
  [
    'CONNACK',
    connack({ reasonCode: 0x87 }),
    'server',
    frames.connack({ reasonCode: 0x87 }),
    { reasonCode: 0x87 },
  ],
  [
    'CONNACK with a session',
    connack({ reasonCode: 0, sessionPresent: true }),
    'server',
    frames.connack({ sessionPresent: true }),
    { sessionPresent: true },
  ],
  [
    'CONNACK with a reason',
    connack({ reasonCode: 0x85, reasonString: 'größer' }),
    'server',
    frames.connack({ reasonCode: 0x85, properties: [prop.reasonString('größer')] }),
    { properties: { reasonString: 'größer' } },
  ],
  [
    'SUBACK',
    suback(513, [1, 0x87, 0]),
    'server',
    frames.suback([1, 0x87, 0], 513),
    { granted: [1, 0x87, 0] },
  ],
  ['UNSUBACK', unsuback(7, [0, 0x11]), 'server', frames.unsuback([0, 0x11], 7), { granted: [0, 0x11] }],
  [
    'UNSUBSCRIBE',
    unsubscribe(9, ['a/+', '$share/g/ü']),
    'client',
    frames.unsubscribe(['a/+', '$share/g/ü'], 9),
    { unsubscriptions: ['a/+', '$share/g/ü'], messageId: 9 },
  ],
  ['DISCONNECT', disconnect(0x98), 'server', frames.disconnect(0x98, []), { reasonCode: 0x98 }],
  [
    'DISCONNECT with a reason',
    disconnect(0x87, { reasonString: 'expired' }),
    'server',
    frames.disconnect(0x87, [prop.reasonString('expired')]),
    { properties: { reasonString: 'expired' } },
  ],
  [
    'DISCONNECT that ends the session',
    disconnect(0, { sessionExpiryInterval: 0 }),
    'client',
    frames.disconnect(0, [prop.sessionExpiryInterval(0)]),
    { properties: { sessionExpiryInterval: 0 } },
  ],
  [
    'AUTH',
    auth(0, { authenticationMethod: 'M', authenticationData: Buffer.of(0, 255), reasonString: 'ok' }),
    'server',
    frames.auth(0, [
      prop.authenticationMethod('M'),
      prop.authenticationData(Buffer.of(0, 255)),
      prop.reasonString('ok'),
    ]),
    { properties: { authenticationMethod: 'M', authenticationData: Buffer.of(0, 255), reasonString: 'ok' } },
  ],
]

describe('packets of our own', () => {
  it.each(ROWS)('%s', (_, actual, from, expected, peer) => {
    expect(actual).toEqual(expected)
    expect(readPackets([actual], newReader(from))).toMatchObject({ heads: [{}], fault: undefined })
    expect(asPeerReads(actual)).toMatchObject(peer)
  })

  it('C11: the CONNACK for MQTT 3.1.1 is read by a 3.1.1 client', () => {
    const packets: unknown[] = []
    const peer = parser({ protocolVersion: 4 })
    peer.on('packet', (packet) => packets.push(packet))
    peer.parse(CONNACK_V3_UNACCEPTABLE_VERSION)
    expect(packets).toMatchObject([{ cmd: 'connack', returnCode: 1, sessionPresent: false }])
  })
})
