// Scenarios: SUBSCRIBE, UNSUBSCRIBE, retained messages and who gets what. MQTT 5.0 §3.8 to §3.11, §4.7, §4.8.
import { prop, subscribe, unsubscribe } from '../support/frames.ts'
import type { Scenario } from './stage.ts'

/** Subscription Options, MQTT 5.0 §3.8.3.1. */
const NO_LOCAL = 0x04
const RETAIN_AS_PUBLISHED = 0x08
const RETAIN_HANDLING = [0x00, 0x10, 0x20] as const

export const SUBSCRIBING: Scenario[] = [
  ...[0, 1, 2].flatMap((granted) =>
    [0, 1, 2].map(
      (sent): Scenario => ({
        name: `published with QoS ${sent}, subscribed with QoS ${granted}`,
        play: async (stage) => {
          const link = await stage.open('a')
          await link.subscribe([[stage.topic('x'), granted]])
          await link.publish({ topic: stage.topic('x'), qos: sent, payload: 'x' })
          await link.receive()
        },
      }),
    ),
  ),
  {
    name: 'many filters in one SUBSCRIBE get their codes in order',
    play: async (stage) => {
      const link = await stage.open('a')
      const filters = Array.from({ length: 200 }, (_, i) => [stage.topic(`f${i}/+`), i % 3] as const)
      await link.subscribe(filters)
      await link.publish({ topic: stage.topic('f100/x'), qos: 2 })
      await link.receive()
    },
  },
  {
    name: 'SUBSCRIBE and UNSUBSCRIBE carry User Properties to the broker',
    play: async (stage) => {
      const link = await stage.open('a')
      const properties = [prop.userProperty('k', '1'), prop.userProperty('k', '2')]
      await link.subscribe([[stage.topic('x'), 0]], { properties })
      link.send(unsubscribe([stage.topic('x')], link.nextId(), properties))
      await link.take('UNSUBACK')
    },
  },
  {
    name: 'subscribing again replaces the options',
    play: async (stage) => {
      const link = await stage.open('a')
      for (const qos of [0, 2, 1]) {
        await link.subscribe([[stage.topic('x'), qos]])
        await link.publish({ topic: stage.topic('x'), qos: 2 })
        await link.receive()
      }
    },
  },
  ...['#', '+/x', 'a/+', '+', '/#', 'a/b', '+/+/#'].map(
    (filter): Scenario => ({
      name: `the filter ${filter} matches what it matches at the broker`,
      play: async (stage) => {
        const link = await stage.open('a')
        await link.subscribe([[stage.topic(filter), 1]])
        for (const name of ['a', 'a/x', 'a/b', 'x/x', '/x', 'a/b/c', '']) {
          await link.publish({ topic: stage.topic(name), qos: 1, payload: name })
        }
      },
    }),
  ),
  {
    name: '# alone, and $-topics that it does not match',
    conf: ['sys_interval 0'],
    play: async (stage) => {
      const link = await stage.open('a')
      await link.subscribe([['#', 1]])
      await link.publish({ topic: '$mine/x', qos: 1 })
      await link.publish({ topic: 'mine/x', qos: 1 })
      await link.receive()
    },
  },
  {
    name: '$SYS of the broker is read through its own filters',
    play: async (stage) => {
      const link = await stage.open('a')
      await link.subscribe([['$SYS/broker/version', 1]])
      await link.receive()
      await link.subscribe([['$SYS/+/version', 0]])
      await link.receive()
    },
  },
  {
    name: 'retained: set, delivered to a later subscriber, replaced, cleared',
    play: async (stage) => {
      const publisher = await stage.open('pub')
      const topic = stage.topic('x')
      for (const [name, payload] of Object.entries({ a: 'first', b: 'second', c: '' })) {
        await publisher.publish({ topic, qos: 1, retain: true, payload })
        const link = await stage.open(name)
        await link.subscribe([[topic, 1]])
        if (payload !== '') await link.receive()
      }
    },
  },
  {
    name: 'a retained message keeps its properties, and its expiry counts down',
    play: async (stage) => {
      const link = await stage.open('a')
      const properties = [
        prop.messageExpiryInterval(1000),
        prop.contentType('text/plain'),
        prop.userProperty('k', '1'),
        prop.userProperty('k', '2'),
        prop.correlationData('c'),
        prop.responseTopic(stage.topic('r')),
      ]
      await link.publish({ topic: stage.topic('x'), qos: 2, retain: true, payload: 'kept', properties })
      await link.subscribe([[stage.topic('x'), 2]])
      await link.receive()
    },
  },
  ...RETAIN_HANDLING.flatMap((handling) =>
    [0, RETAIN_AS_PUBLISHED].map(
      (asPublished): Scenario => ({
        name: `Retain Handling ${handling >> 4}, Retain As Published ${asPublished >> 3}`,
        play: async (stage) => {
          const publisher = await stage.open('pub')
          const topic = stage.topic('x')
          await publisher.publish({ topic, qos: 1, retain: true, payload: 'old' })
          const link = await stage.open('a')
          const options = 1 | handling | asPublished
          await link.subscribe([[topic, options]])
          await link.subscribe([[topic, options]])
          await publisher.publish({ topic, qos: 1, retain: true, payload: 'live' })
          await publisher.publish({ topic, qos: 1, payload: 'not retained' })
          await link.receive([3 + 1, 2 + 1, 2][handling >> 4]!)
        },
      }),
    ),
  ),
  {
    name: 'No Local keeps the own messages away, and no others',
    play: async (stage) => {
      const [a, b] = [await stage.open('a'), await stage.open('b')]
      await a.subscribe([[stage.topic('x'), 1 | NO_LOCAL]])
      await a.publish({ topic: stage.topic('x'), qos: 1, payload: 'mine' })
      await b.publish({ topic: stage.topic('x'), qos: 1, payload: 'other' })
      await a.receive()
    },
  },
  ...[1, 127, 128, 268_435_455].map(
    (id): Scenario => ({
      name: `Subscription Identifier ${id} comes back with the messages`,
      play: async (stage) => {
        const link = await stage.open('a')
        await link.subscribe([[stage.topic('x'), 1]], { properties: [prop.subscriptionIdentifier(id)] })
        await link.publish({ topic: stage.topic('x'), qos: 1 })
        await link.receive()
      },
    }),
  ),
  {
    name: 'overlapping subscriptions with identifiers: what the broker makes of them',
    play: async (stage) => {
      const link = await stage.open('a')
      const id = (value: number) => ({ properties: [prop.subscriptionIdentifier(value)] })
      await link.subscribe([[stage.topic('#'), 0]], id(1))
      await link.subscribe([[stage.topic('+'), 1]], id(2))
      await link.subscribe([[stage.topic('x'), 2]], id(3))
      await link.publish({ topic: stage.topic('x'), qos: 2 })
      await link.receive()
    },
  },
  {
    name: 'a shared subscription: two members get each message once',
    play: async (stage) => {
      const members = [await stage.open('a'), await stage.open('b')]
      for (const member of members) await member.subscribe([[`$share/workers/${stage.topic('x')}`, 1]])
      const publisher = await stage.open('pub')
      for (let i = 0; i < 6; i++) {
        await publisher.publish({ topic: stage.topic('x'), qos: 1, payload: `${i}` })
      }
      for (const member of members) await member.receive(3)
    },
  },
  {
    name: 'a shared and a plain subscription to the same topic both get the message',
    play: async (stage) => {
      const link = await stage.open('a')
      await link.subscribe([
        [`$share/g/${stage.topic('#')}`, 2],
        [stage.topic('#'), 1],
      ])
      await link.publish({ topic: stage.topic('x'), qos: 2 })
      await link.receive(2)
    },
  },
  {
    name: 'leaving a share group leaves the messages to the others',
    play: async (stage) => {
      const filter = `$share/g/${stage.topic('x')}`
      const [a, b] = [await stage.open('a'), await stage.open('b')]
      await a.subscribe([[filter, 1]])
      await b.subscribe([[filter, 1]])
      a.send(unsubscribe([filter], a.nextId()))
      await a.take('UNSUBACK')
      for (let i = 0; i < 3; i++) await a.publish({ topic: stage.topic('x'), qos: 1 })
      await b.receive(3)
    },
  },
  {
    name: 'UNSUBSCRIBE of what exists and what does not: 0x00 and 0x11 in order',
    play: async (stage) => {
      const link = await stage.open('a')
      await link.subscribe([
        [stage.topic('a'), 1],
        [stage.topic('b'), 1],
      ])
      link.send(unsubscribe([stage.topic('b'), stage.topic('never'), stage.topic('a')], 9))
      await link.take('UNSUBACK')
      await link.publish({ topic: stage.topic('a'), qos: 1 })
    },
  },
  {
    name: 'ten SUBSCRIBEs and UNSUBSCRIBEs in one write are answered in order',
    play: async (stage) => {
      const link = await stage.open('a')
      const packets = Array.from({ length: 10 }, (_, i) => [
        subscribe({ packetId: 2 * i + 1, filters: [[stage.topic(`x${i}`), i % 3]] }),
        unsubscribe([stage.topic(`x${i}`)], 2 * i + 2),
      ])
      link.send(...packets.flat())
      await link.takeMany('SUBACK', 10)
      await link.takeMany('UNSUBACK', 10)
    },
  },
]
