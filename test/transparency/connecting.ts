// Scenarios: CONNECT and CONNACK with all their properties, and the client identifier. MQTT 5.0 §3.1, §3.2.
import { disconnect, prop, publish, subscribe } from '../support/frames.ts'
import type { Scenario } from './stage.ts'

const FIRST = true
const RESUME = false

function tooSmall(bytes: number): Scenario {
  return {
    name: `Maximum Packet Size ${bytes} of a client, too small for the CONNACK`,
    play: async (stage) => {
      const link = await stage.dial('a')
      link.send(stage.connect('a', { properties: [prop.maximumPacketSize(bytes)] }))
      await link.closed()
    },
  }
}

export const CONNECTING: Scenario[] = [
  {
    name: 'a plain CONNECT gets the CONNACK of the broker with all its properties',
    play: async (stage) => void (await stage.open('a')),
  },
  {
    name: 'Clean Start 0 without a session: Session Present 0; with one: 1; Clean Start 1 discards it',
    play: async (stage) => {
      const expiry = [prop.sessionExpiryInterval(100)]
      const clientId = stage.clientId('same')
      for (const [name, cleanStart] of Object.entries({ a: RESUME, b: RESUME, c: FIRST, d: RESUME })) {
        const link = await stage.open(name, { clientId, cleanStart, properties: expiry })
        await link.leave()
      }
    },
  },
  ...[0, 1, 0xffff_fffe, 0xffff_ffff].map(
    (seconds): Scenario => ({
      name: `Session Expiry Interval ${seconds} is the broker's to grant`,
      play: async (stage) => {
        const clientId = stage.clientId('same')
        const properties = [prop.sessionExpiryInterval(seconds)]
        const first = await stage.open('a', { clientId, properties })
        await first.leave()
        await stage.open('b', { clientId, properties, cleanStart: RESUME })
      },
    }),
  ),
  {
    name: 'a session ends when its Session Expiry Interval has passed',
    play: async (stage) => {
      const clientId = stage.clientId('same')
      const properties = [prop.sessionExpiryInterval(1)]
      const first = await stage.open('a', { clientId, properties })
      await first.subscribe([[stage.topic('x'), 1]])
      const witness = await stage.open('w')
      await witness.subscribe([[stage.topic('gone'), 0]])
      await first.leave()
      // The will of another client, delayed longer than the session lives, is the clock.
      const clock = await stage.open('clock', {
        properties: [prop.sessionExpiryInterval(60)],
        will: { topic: stage.topic('gone'), properties: [prop.willDelayInterval(3)] },
      })
      clock.hangUp()
      await witness.receive()
      await stage.open('b', { clientId, properties, cleanStart: RESUME })
    },
  },
  {
    name: 'every CONNECT property at once reaches the broker as it was sent',
    play: async (stage) => {
      await stage.open('a', {
        keepAlive: 77,
        properties: [
          prop.userProperty('z', '1'),
          prop.sessionExpiryInterval(0),
          prop.receiveMaximum(7),
          prop.userProperty('a', '2'),
          prop.maximumPacketSize(70_000),
          prop.topicAliasMaximum(9),
          prop.requestResponseInformation(1),
          prop.requestProblemInformation(0),
          prop.userProperty('z', '1'),
          prop.userProperty('', ''),
        ],
      })
    },
  },
  {
    name: 'Maximum Packet Size of a client that the CONNACK just fits into',
    play: async (stage) => void (await stage.open('a', { properties: [prop.maximumPacketSize(24)] })),
  },
  tooSmall(4),
  {
    ...tooSmall(10),
    differs: {
      at: ['client a'],
      why: 'The broker closes without a word; Postern says CONNACK 0x88, without its Reason String, as far as that fits.',
    },
  },
  {
    name: 'a hundred User Properties with equal keys arrive in their order',
    play: async (stage) => {
      const properties = Array.from({ length: 100 }, (_, i) => prop.userProperty(`k${i % 3}`, `v${i}`))
      await stage.open('a', { properties })
    },
  },
  ...[0, 1].map(
    (value): Scenario => ({
      name: `Request Problem Information ${value} and Request Response Information ${value}`,
      play: async (stage) => {
        const link = await stage.open('a', {
          properties: [prop.requestProblemInformation(value), prop.requestResponseInformation(value)],
        })
        await link.subscribe([[stage.topic('x'), 1]])
        await link.publish({ topic: stage.topic('nobody'), qos: 1 })
      },
    }),
  ),
  {
    name: 'an empty Client Identifier gets an assigned one, and another one the next time',
    play: async (stage) => {
      const first = await stage.open('a', { clientId: '' })
      const second = await stage.open('b', { clientId: '' })
      if (first.connack.assignedClientId === second.connack.assignedClientId)
        throw new Error('assigned twice')
    },
  },
  {
    name: 'an empty Client Identifier where the broker assigns none',
    conf: ['allow_zero_length_clientid false'],
    differs: {
      at: ['client a', 'broker a'],
      why: 'Postern assigns Client Identifiers itself, under every binding: the broker never sees an empty one.',
    },
    play: async (stage) => {
      const link = await stage.open('a', { clientId: '' })
      if (link.connack.reasonCode >= 0x80) await link.closed()
    },
  },
  {
    name: 'a session under an assigned Client Identifier can be resumed under it',
    play: async (stage) => {
      const properties = [prop.sessionExpiryInterval(100)]
      const first = await stage.open('a', { clientId: '', cleanStart: RESUME, properties })
      await first.subscribe([[stage.topic('x'), 1]])
      await first.leave()
      // Marked as assigned, for the identifier is not the same on both sides.
      const again = await stage.dial('b')
      const clientId = first.connack.assignedClientId!
      again.send(stage.connect('b', { clientId, cleanStart: RESUME, properties, assigned: true }))
      await again.take('CONNACK')
      await again.publish({ topic: stage.topic('x'), qos: 1 })
      await again.receive()
    },
  },
  ...['a/b', 'a+b', '#', 'ein Gerät', '$SYS', '名前', 'x'.repeat(300), '__proto__'].map(
    (clientId): Scenario => ({
      name: `Client Identifier ${clientId.length > 20 ? `of ${clientId.length} bytes` : clientId} is as good as any`,
      play: async (stage) => void (await stage.open('a', { clientId })),
    }),
  ),
  {
    name: 'the same client again: the first connection is told 0x8E, its session goes on',
    play: async (stage) => {
      const clientId = stage.clientId('same')
      const properties = [prop.sessionExpiryInterval(100)]
      const first = await stage.open('a', { clientId, properties })
      await first.subscribe([[stage.topic('x'), 1]])
      const second = await stage.open('b', { clientId, properties, cleanStart: RESUME })
      await first.closed()
      await second.publish({ topic: stage.topic('x'), qos: 1 })
      await second.receive()
    },
  },
  {
    name: 'the same client again with Clean Start 1: subscriptions are gone',
    play: async (stage) => {
      const clientId = stage.clientId('same')
      const first = await stage.open('a', { clientId })
      await first.subscribe([[stage.topic('x'), 1]])
      const second = await stage.open('b', { clientId })
      await first.closed()
      await second.publish({ topic: stage.topic('x'), qos: 1 })
    },
  },
  {
    name: 'what is sent right behind the CONNECT is answered behind the CONNACK',
    play: async (stage) => {
      const link = await stage.dial('a')
      const topic = stage.topic('x')
      link.send(
        stage.connect('a'),
        subscribe({ packetId: 1, filters: [[topic, 2]] }),
        publish({ topic, qos: 1, packetId: 2, payload: 'early' }),
        publish({ topic, payload: 'earlier' }),
      )
      await link.receive(2)
    },
  },
  {
    name: 'CONNECT, a thousand PUBLISHes and DISCONNECT in one write all arrive',
    play: async (stage) => {
      const topic = stage.topic('x')
      const witness = await stage.open('w', { atBroker: true })
      await witness.subscribe([[topic, 0]])
      const link = await stage.dial('a')
      const messages = Array.from({ length: 1000 }, (_, i) =>
        publish({ topic, payload: Buffer.alloc(400, `${i} `) }),
      )
      link.send(stage.connect('a'), ...messages, disconnect())
      await link.closed()
      await witness.receive(1000)
    },
  },
  {
    name: 'Keep Alive 0 is passed on, and nothing is told to the client',
    play: async (stage) => void (await stage.open('a', { keepAlive: 0 })),
  },
  {
    name: 'a client that is silent for longer than its Keep Alive is disconnected and its Will published',
    play: async (stage) => {
      const witness = await stage.open('w')
      await witness.subscribe([[stage.topic('gone'), 1]])
      const link = await stage.open('a', { keepAlive: 1, will: { topic: stage.topic('gone'), qos: 1 } })
      await link.closed()
      await witness.receive()
    },
  },
  {
    name: 'a Server Keep Alive and the limits of the broker are told as they are',
    conf: ['max_keepalive 30', 'max_packet_size 3000', 'max_topic_alias 3', 'max_inflight_messages 4'],
    play: async (stage) => void (await stage.open('a', { keepAlive: 600 })),
  },
  {
    name: 'a broker without retained messages and QoS 2 says so, and refuses a Will that wants them',
    conf: ['retain_available false', 'max_qos 1'],
    play: async (stage) => {
      await stage.open('a')
      const will = { topic: stage.topic('x') }
      const retained = await stage.open('b', { will: { ...will, retain: true } })
      await retained.closed()
      const exact = await stage.open('c', { will: { ...will, qos: 2 } })
      await exact.closed()
    },
  },
  {
    name: 'PINGREQ is answered, also a hundred in one write',
    play: async (stage) => {
      const link = await stage.open('a')
      await link.fence()
      link.send(...Array.from({ length: 100 }, () => Buffer.of(0xc0, 0)))
      await link.takeMany('PINGRESP', 100)
    },
  },
] satisfies Scenario[]
