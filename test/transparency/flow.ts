// Scenarios: flow control, pipelines, and how the bytes are cut. MQTT 5.0 §3.1.2.11.3, §4.9.
import { ack, PINGREQ, prop, publish, subscribe } from '../support/frames.ts'
import type { Packet } from './packet-text.ts'
import type { Scenario, Stage } from './stage.ts'

const COUNT = 40

/** A subscriber that acknowledges one message after the other, from the last to the first of each full window. */
function window(receiveMaximum: number, qos: number): Scenario {
  return {
    name: `Receive Maximum ${receiveMaximum}, QoS ${qos}: never more unacknowledged messages than that`,
    play: async (stage) => {
      const subscriber = await stage.open('sub', { properties: [prop.receiveMaximum(receiveMaximum)] })
      await subscriber.subscribe([[stage.topic('x'), qos]])
      const publisher = await stage.open('pub')
      for (let i = 0; i < COUNT; i++) {
        await publisher.publish({ topic: stage.topic('x'), qos: 1, payload: `${i}` })
      }
      let received = 0
      while (received < COUNT) {
        // The broker has sent all that it may: the fence shows that there is no more.
        await subscriber.fence()
        const full = await subscriber.takeMany('PUBLISH', Math.min(receiveMaximum, COUNT - received))
        received += full.length
        for (const message of full.reverse()) {
          if (message.qos === 1) subscriber.send(ack('puback', message.packetId))
          else await finish(subscriber, message)
        }
      }
    },
  }
}

async function finish(link: Awaited<ReturnType<Stage['open']>>, message: Packet): Promise<void> {
  link.send(ack('pubrec', message.packetId))
  await link.take('PUBREL')
  link.send(ack('pubcomp', message.packetId))
}

export const FLOW: Scenario[] = [
  ...[1, 2, 5, 20].map((receiveMaximum) => window(receiveMaximum, 1)),
  window(1, 2),
  {
    name: 'a thousand PUBLISHes of QoS 1 in one write are acknowledged and delivered in order',
    play: async (stage) => {
      const subscriber = await stage.open('sub', { atBroker: true })
      await subscriber.subscribe([[stage.topic('x'), 0]])
      const publisher = await stage.open('pub')
      const packets = Array.from({ length: 1000 }, (_, i) =>
        publish({ topic: stage.topic('x'), qos: 1, packetId: i + 1, payload: `${i}` }),
      )
      publisher.send(...packets)
      await publisher.takeMany('PUBACK', 1000)
      await subscriber.takeMany('PUBLISH', 1000)
    },
  },
  {
    name: 'twenty PUBLISHes of QoS 2 in one write, released in the opposite order',
    play: async (stage) => {
      const subscriber = await stage.open('sub')
      await subscriber.subscribe([[stage.topic('x'), 0]])
      const publisher = await stage.open('pub')
      const ids = Array.from({ length: 20 }, (_, i) => i + 1)
      publisher.send(
        ...ids.map((packetId) =>
          publish({ topic: stage.topic('x'), qos: 2, packetId, payload: `${packetId}` }),
        ),
      )
      await publisher.takeMany('PUBREC', 20)
      publisher.send(...ids.reverse().map((packetId) => ack('pubrel', packetId)))
      await publisher.takeMany('PUBCOMP', 20)
      await subscriber.takeMany('PUBLISH', 20)
    },
  },
  {
    name: 'more QoS 2 messages at a time than the Receive Maximum of the broker',
    conf: ['max_inflight_messages 4'],
    play: async (stage) => {
      const link = await stage.open('a')
      for (let packetId = 1; packetId <= 4; packetId++) {
        link.send(publish({ topic: stage.topic('x'), qos: 2, packetId }))
        await link.take('PUBREC')
      }
      link.send(publish({ topic: stage.topic('x'), qos: 2, packetId: 5 }))
      // Brokers may end the connection or not.
      await Promise.race([link.closed(), link.take('PUBREC')])
    },
  },
  {
    name: 'a whole conversation, one byte at a time',
    play: async (stage) => {
      const link = await stage.dial('a')
      const topic = stage.topic('grüße')
      await link.sendSlowly(stage.connect('a', { will: { topic, payload: 'will' } }))
      await link.take('CONNACK')
      await link.sendSlowly(subscribe({ packetId: 1, filters: [[topic, 2]] }))
      await link.take('SUBACK')
      const properties = [prop.userProperty('k', 'v'), prop.topicAlias(1)]
      await link.sendSlowly(publish({ topic, qos: 2, packetId: 2, properties, payload: 'slowly' }))
      await link.take('PUBREC')
      await link.sendSlowly(ack('pubrel', 2))
      await link.take('PUBCOMP')
      await link.receive()
      await link.sendSlowly(PINGREQ)
      await link.take('PINGRESP')
    },
  },
  ...[2, 3, 7, 1000].map(
    (size): Scenario => ({
      name: `a conversation in pieces of ${size} bytes`,
      play: async (stage) => {
        const link = await stage.open('a')
        const topic = stage.topic('x')
        const stream = Buffer.concat([
          subscribe({ packetId: 1, filters: [[topic, 1]] }),
          publish({ topic, qos: 1, packetId: 2, payload: 'short' }),
          publish({ topic, qos: 0, payload: Buffer.alloc(3000, 'long ') }),
          PINGREQ,
          publish({ topic, qos: 1, packetId: 3, properties: [prop.contentType('c')] }),
        ])
        for (let at = 0; at < stream.length; at += size) {
          const piece = stream.subarray(at, at + size)
          await new Promise<void>((resolve) => link.socket.write(piece, () => resolve()))
        }
        await link.receive(3)
      },
    }),
  ),
  {
    name: 'two clients that publish to each other at once',
    play: async (stage) => {
      const [a, b] = [await stage.open('a'), await stage.open('b')]
      await a.subscribe([[stage.topic('a'), 1]])
      await b.subscribe([[stage.topic('b'), 1]])
      const burst = (topic: string): Buffer[] =>
        Array.from({ length: 100 }, (_, i) => publish({ topic, payload: Buffer.alloc(2000, `${i} `) }))
      a.send(...burst(stage.topic('b')))
      b.send(...burst(stage.topic('a')))
      await Promise.all([a.takeMany('PUBLISH', 100), b.takeMany('PUBLISH', 100)])
    },
  },
  {
    name: 'a broker that stands still for a while gets everything afterwards',
    conf: [],
    play: async (stage) => {
      const link = await stage.open('a')
      const { pid } = stage.side.broker
      process.kill(pid, 'SIGSTOP')
      const payload = Buffer.alloc(400_000, 'pile ')
      for (let packetId = 1; packetId <= 50; packetId++) {
        link.send(publish({ topic: stage.topic('x'), qos: 1, packetId, payload }))
      }
      // Longer than it takes to fill every buffer on the way.
      await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)))
      process.kill(pid, 'SIGCONT')
      await link.takeMany('PUBACK', 50)
    },
  },
  {
    name: 'a subscriber that does not read for a while gets everything afterwards',
    conf: ['max_queued_messages 0', 'max_inflight_messages 0'],
    play: async (stage) => {
      const subscriber = await stage.open('sub')
      await subscriber.subscribe([[stage.topic('x'), 1]])
      subscriber.socket.pause()
      const publisher = await stage.open('pub')
      for (let i = 0; i < 60; i++) {
        await publisher.publish({ topic: stage.topic('x'), qos: 1, payload: Buffer.alloc(200_000, `${i} `) })
      }
      subscriber.socket.resume()
      await subscriber.receive(60)
    },
  },
]
