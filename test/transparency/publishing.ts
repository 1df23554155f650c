// Scenarios: PUBLISH in both directions: QoS, properties, aliases, sizes, names. MQTT 5.0 §3.3, §4.3.
import { ack, disconnect, prop, publish } from '../support/frames.ts'
import type { Link } from './link.ts'
import type { Scenario, Stage } from './stage.ts'

/** A publisher and a subscriber of QoS 2 to everything of the scenario. */
async function two(stage: Stage, options: { atBroker?: boolean } = {}): Promise<[Link, Link]> {
  const subscriber = await stage.open('sub', options)
  await subscriber.subscribe([[stage.topic('#'), 2]])
  return [await stage.open('pub'), subscriber]
}

const ALL_PROPERTIES = (stage: Stage): Buffer[] => [
  prop.userProperty('k', '1'),
  prop.payloadFormatIndicator(1),
  prop.userProperty('other', ''),
  prop.messageExpiryInterval(1000),
  prop.contentType('application/json'),
  prop.responseTopic(stage.topic('answers/ü')),
  prop.userProperty('k', '1'),
  prop.correlationData(Buffer.of(0, 0xff, 0xc3, 0x28)),
  prop.userProperty('k', '2'),
]

const LONG_TOPIC = 'x'.repeat(60_000)

/** Names behind the prefix of the scenario. */
const TOPICS = [
  'grüße/жук/蟲/🐞',
  ' ',
  'a//b',
  'a/',
  '/',
  'with space/+'.replace('+', 'plus'),
  '__proto__',
  LONG_TOPIC,
]

export const PUBLISHING: Scenario[] = [
  ...[0, 1, 2].flatMap((qos) => [
    {
      name: `QoS ${qos}, every property, both directions`,
      play: async (stage: Stage) => {
        const [publisher, subscriber] = await two(stage)
        const properties = ALL_PROPERTIES(stage)
        await publisher.publish({ topic: stage.topic('x'), qos, properties, payload: '{"n":1}' })
        await subscriber.receive()
      },
    },
    {
      name: `QoS ${qos} is seen by a subscriber at the broker as if nothing lay between`,
      play: async (stage: Stage) => {
        const [publisher, subscriber] = await two(stage, { atBroker: true })
        const properties = ALL_PROPERTIES(stage)
        await publisher.publish({ topic: stage.topic('x'), qos, retain: true, properties, payload: 'to you' })
        await subscriber.receive()
      },
    },
    {
      name: `an empty payload of QoS ${qos} is a message`,
      play: async (stage: Stage) => {
        const [publisher, subscriber] = await two(stage)
        await publisher.publish({ topic: stage.topic('x'), qos })
        await subscriber.receive()
      },
    },
    {
      name: `QoS ${qos} to nobody`,
      play: async (stage: Stage) => {
        const link = await stage.open('a')
        await link.publish({ topic: stage.topic('nobody'), qos })
      },
    },
  ]),
  {
    name: 'messages of mixed QoS keep their order',
    play: async (stage) => {
      const [publisher, subscriber] = await two(stage)
      for (let i = 0; i < 30; i++) {
        await publisher.publish({ topic: stage.topic('x'), qos: i % 3, payload: `${i}` })
      }
      await subscriber.receive(30)
    },
  },
  {
    name: 'DUP on a first PUBLISH is not passed on by the broker',
    play: async (stage) => {
      const [publisher, subscriber] = await two(stage)
      await publisher.publish({ topic: stage.topic('x'), qos: 1, dup: true })
      await publisher.publish({ topic: stage.topic('x'), qos: 2, dup: true })
      await subscriber.receive(2)
    },
  },
  {
    name: 'acknowledgements with Reason Code, Reason String and User Properties reach the broker',
    play: async (stage) => {
      const [publisher, subscriber] = await two(stage)
      const why = [prop.reasonString('because'), prop.userProperty('k', 'v'), prop.userProperty('k', 'v')]
      await publisher.publish({ topic: stage.topic('x'), qos: 1 })
      subscriber.send(ack('puback', (await subscriber.take('PUBLISH')).packetId, 0x10, why))
      await publisher.publish({ topic: stage.topic('x'), qos: 2 })
      const { packetId } = await subscriber.take('PUBLISH')
      subscriber.send(ack('pubrec', packetId, 0x00, why))
      await subscriber.take('PUBREL')
      subscriber.send(ack('pubcomp', packetId, 0x00, why))
      await subscriber.fence()
    },
  },
  {
    name: 'PUBREC 0x83 of the receiver ends the delivery of a QoS 2 message',
    play: async (stage) => {
      const [publisher, subscriber] = await two(stage)
      await publisher.publish({ topic: stage.topic('x'), qos: 2 })
      subscriber.send(ack('pubrec', (await subscriber.take('PUBLISH')).packetId, 0x83))
      await subscriber.fence()
      await publisher.publish({ topic: stage.topic('x'), qos: 2, payload: 'next' })
      await subscriber.receive()
    },
  },
  {
    name: 'Packet Identifiers 1 and 65535 and one used again and again',
    play: async (stage) => {
      const [publisher, subscriber] = await two(stage)
      for (const packetId of [1, 65_535, 7, 7, 7]) {
        await publisher.publish({ topic: stage.topic('x'), qos: 1, packetId })
        await publisher.publish({ topic: stage.topic('x'), qos: 2, packetId })
      }
      await subscriber.receive(10)
    },
  },
  {
    name: 'a Topic Alias of the client is set, used, set anew and used again',
    play: async (stage) => {
      const [publisher, subscriber] = await two(stage)
      const alias = (topic: string, number: number): Parameters<Link['publish']>[0] => ({
        topic,
        properties: [prop.topicAlias(number)],
      })
      await publisher.publish({ ...alias(stage.topic('one'), 1), payload: 'sets 1' })
      await publisher.publish({ ...alias('', 1), payload: 'uses 1' })
      await publisher.publish({ ...alias(stage.topic('two'), 10), qos: 1, payload: 'sets 10' })
      // Not QoS 2: its PUBREL would race with the messages that follow.
      await publisher.publish({ ...alias('', 10), qos: 1, payload: 'uses 10' })
      await publisher.publish({ ...alias(stage.topic('three'), 1), payload: 'sets 1 again' })
      await publisher.publish({ ...alias('', 1), payload: 'uses the new 1' })
      await publisher.publish({ ...alias('', 10), payload: 'uses 10' })
      await subscriber.receive(7)
    },
  },
  {
    name: 'a subscriber with Topic Alias Maximum gets what the broker makes of it',
    play: async (stage) => {
      const subscriber = await stage.open('sub', { properties: [prop.topicAliasMaximum(5)] })
      await subscriber.subscribe([[stage.topic('#'), 1]])
      const publisher = await stage.open('pub')
      for (const name of ['a', 'b', 'a', 'b']) await publisher.publish({ topic: stage.topic(name), qos: 1 })
      await subscriber.receive(4)
    },
  },
  ...TOPICS.map(
    (name): Scenario => ({
      name: `Topic Name ${name.length > 40 ? `of ${name.length} bytes` : JSON.stringify(name)}`,
      play: async (stage) => {
        const [publisher, subscriber] = await two(stage)
        await publisher.publish({ topic: stage.topic(name), qos: 1, payload: 'x' })
        await subscriber.receive()
      },
    }),
  ),
  ...[1, 127, 128, 16_383, 65_536, 300_000, 5_000_000].map(
    (bytes): Scenario => ({
      name: `a payload of ${bytes} bytes, there and back`,
      play: async (stage) => {
        const [publisher, subscriber] = await two(stage)
        const payload = Buffer.alloc(bytes, 'The quick brown fox. ')
        await publisher.publish({ topic: stage.topic('x'), qos: 1, payload })
        await publisher.publish({ topic: stage.topic('x'), qos: 0, payload })
        await subscriber.receive(2)
      },
    }),
  ),
  {
    name: 'up to the Maximum Packet Size of the broker a PUBLISH passes',
    conf: ['max_packet_size 3000'],
    play: async (stage) => {
      const [publisher, subscriber] = await two(stage)
      const overhead = publish({ topic: stage.topic('x'), qos: 1, payload: Buffer.alloc(200) }).length - 200
      for (const size of [2999, 3000]) {
        const payload = Buffer.alloc(size - overhead)
        await publisher.publish({ topic: stage.topic('x'), qos: 1, payload })
      }
      await subscriber.receive(2)
    },
  },
  {
    name: 'a PUBLISH far above the Maximum Packet Size of the broker ends the connection with 0x95',
    conf: ['max_packet_size 3000'],
    differs: {
      at: ['broker pub'],
      why: 'Postern knows the limit from the CONNACK and refuses at the fixed header: the broker never sees the packet. (Mosquitto counts up to three bytes less than the packet has, and lets as many more pass.)',
    },
    play: async (stage) => {
      const publisher = await stage.open('pub')
      // The fixed header tells the size; nothing more is sent, so that no unread byte turns the close into RST.
      publisher.send(publish({ topic: stage.topic('x'), payload: Buffer.alloc(4000) }).subarray(0, 3))
      await publisher.take('DISCONNECT')
      await publisher.closed()
    },
  },
  {
    name: 'a message above the Maximum Packet Size of the subscriber is not delivered, a smaller one is',
    play: async (stage) => {
      const subscriber = await stage.open('sub', { properties: [prop.maximumPacketSize(200)] })
      await subscriber.subscribe([[stage.topic('#'), 2]])
      const publisher = await stage.open('pub')
      for (const qos of [0, 1, 2]) {
        await publisher.publish({ topic: stage.topic('x'), qos, payload: Buffer.alloc(300) })
        await publisher.publish({ topic: stage.topic('x'), qos, payload: 'fits' })
      }
      await subscriber.receive(3)
    },
  },
  {
    name: 'a PUBLISH of QoS 2 to a broker that has QoS 1 at most',
    conf: ['max_qos 1'],
    play: async (stage) => {
      const link = await stage.open('a')
      link.send(publish({ topic: stage.topic('x'), qos: 2 }))
      await link.closed()
    },
  },
  {
    name: 'a retained PUBLISH to a broker without retained messages',
    conf: ['retain_available false'],
    play: async (stage) => {
      const link = await stage.open('a')
      link.send(publish({ topic: stage.topic('x'), qos: 1, retain: true }))
      await link.closed()
    },
  },
  {
    name: "a PUBLISH to a topic of the broker itself gets the broker's own answer",
    play: async (stage) => {
      const link = await stage.open('a')
      await link.subscribe([['$mine/x', 1]])
      await link.publish({ topic: '$SYS/broker/mine', qos: 1 })
      await link.publish({ topic: '$mine/x', qos: 1 })
      await link.receive()
    },
  },
  {
    name: 'a PUBLISH of QoS 0 right before DISCONNECT arrives',
    play: async (stage) => {
      const [publisher, subscriber] = await two(stage)
      publisher.send(publish({ topic: stage.topic('x'), payload: 'last words' }), disconnect())
      await subscriber.receive()
    },
  },
]
