// Scenarios: sessions that outlive their connection, with messages in every half-done state. MQTT 5.0 §3.1.2.4, §4.1,
// §4.3, §4.4.
import { ack, disconnect, type PublishOptions, prop, publish } from '../support/frames.ts'
import type { Link } from './link.ts'
import type { OpenOptions, Scenario, Stage } from './stage.ts'

const KEPT: OpenOptions = { cleanStart: false, properties: [prop.sessionExpiryInterval(1000)] }

/** Connection `name` of the one client of the scenario whose session is kept. */
function again(stage: Stage, name: string, options: OpenOptions = {}): Promise<Link> {
  return stage.open(name, { ...KEPT, clientId: stage.clientId('kept'), ...options })
}

/** A client with a subscription whose connection broke in the middle of something. */
function broken(
  name: string,
  before: (link: Link, stage: Stage, publisher: Link) => Promise<void>,
  after: (link: Link, stage: Stage, publisher: Link) => Promise<void>,
): Scenario {
  return {
    name,
    play: async (stage) => {
      const publisher = await stage.open('pub')
      const first = await again(stage, 'a')
      await first.subscribe([[stage.topic('x'), 2]])
      await before(first, stage, publisher)
      first.hangUp()
      await first.closed()
      await after(await again(stage, 'b'), stage, publisher)
    },
  }
}

const message = (stage: Stage, qos: number): PublishOptions => ({
  topic: stage.topic('x'),
  qos,
  payload: 'x',
})

export const SESSIONS: Scenario[] = [
  {
    name: 'messages of QoS 1 and 2 wait while the client is away, those of QoS 0 do not',
    play: async (stage) => {
      const first = await again(stage, 'a')
      await first.subscribe([[stage.topic('x'), 2]])
      await first.leave()
      const publisher = await stage.open('pub')
      for (let i = 0; i < 30; i++) await publisher.publish({ ...message(stage, i % 3), payload: `${i}` })
      const link = await again(stage, 'b')
      await link.receive(20)
    },
  },
  broken(
    'QoS 1 to the client, PUBACK not sent: delivered again with DUP',
    async (link, stage, publisher) => {
      await publisher.publish(message(stage, 1))
      await link.take('PUBLISH')
    },
    async (link) => void (await link.receive()),
  ),
  broken(
    'QoS 2 to the client, PUBREC not sent: delivered again with DUP',
    async (link, stage, publisher) => {
      await publisher.publish(message(stage, 2))
      await link.take('PUBLISH')
    },
    async (link) => void (await link.receive()),
  ),
  broken(
    'QoS 2 to the client, PUBREC sent, PUBREL not answered: PUBREL comes again',
    async (link, stage, publisher) => {
      await publisher.publish(message(stage, 2))
      link.send(ack('pubrec', (await link.take('PUBLISH')).packetId))
      await link.take('PUBREL')
    },
    async (link) => link.send(ack('pubcomp', (await link.take('PUBREL')).packetId)),
  ),
  broken(
    'QoS 1 from the client, sent again with DUP after the reconnect',
    async (link, stage) => {
      link.send(publish({ ...message(stage, 1), packetId: 50 }))
      await link.take('PUBACK')
    },
    async (link, stage) => {
      link.send(publish({ ...message(stage, 1), packetId: 50, dup: true }))
      await link.take('PUBACK')
      await link.receive(2)
    },
  ),
  broken(
    'QoS 2 from the client, PUBREC seen: PUBLISH again with DUP is one message',
    async (link, stage) => {
      link.send(publish({ ...message(stage, 2), packetId: 50 }))
      await link.take('PUBREC')
    },
    async (link, stage) => {
      link.send(publish({ ...message(stage, 2), packetId: 50, dup: true }))
      await link.take('PUBREC')
      link.send(ack('pubrel', 50))
      await link.take('PUBCOMP')
      await link.receive()
    },
  ),
  broken(
    'QoS 2 from the client, PUBREC seen: PUBREL after the reconnect releases it',
    async (link, stage) => {
      link.send(publish({ ...message(stage, 2), packetId: 50 }))
      await link.take('PUBREC')
    },
    async (link) => {
      link.send(ack('pubrel', 50))
      await link.take('PUBCOMP')
      await link.receive()
    },
  ),
  broken(
    'QoS 2 from the client, PUBCOMP seen: PUBREL once more after the reconnect',
    async (link, stage) => {
      await link.publish({ ...message(stage, 2), packetId: 50 })
      await link.receive()
    },
    async (link) => {
      link.send(ack('pubrel', 50))
      await link.take('PUBCOMP')
    },
  ),
  broken(
    'three deliveries in different half-done states are all finished after the reconnect',
    async (link, stage, publisher) => {
      for (const qos of [1, 2, 2]) await publisher.publish(message(stage, qos))
      const [, , third] = await link.takeMany('PUBLISH', 3)
      link.send(ack('pubrec', third!.packetId))
      await link.take('PUBREL')
    },
    async (link) => {
      link.send(ack('pubcomp', (await link.take('PUBREL')).packetId))
      await link.receive(2)
    },
  ),
  {
    name: 'a connection that takes over finishes what the one before left half-done',
    play: async (stage) => {
      const publisher = await stage.open('pub')
      const first = await again(stage, 'a')
      await first.subscribe([[stage.topic('x'), 2]])
      for (const qos of [1, 2]) await publisher.publish(message(stage, qos))
      await first.takeMany('PUBLISH', 2)
      first.send(publish({ ...message(stage, 2), packetId: 50, payload: 'mine' }))
      await first.take('PUBREC')
      const second = await again(stage, 'b')
      await first.closed()
      second.send(ack('pubrel', 50))
      await second.receive(3)
    },
  },
  {
    name: 'fifty messages wait in the queue, with all their properties and in order',
    play: async (stage) => {
      const first = await again(stage, 'a')
      await first.subscribe([[stage.topic('#'), 2]])
      await first.leave()
      const publisher = await stage.open('pub')
      for (let i = 0; i < 50; i++) {
        const properties = [prop.userProperty('n', `${i}`), prop.messageExpiryInterval(1000)]
        await publisher.publish({ topic: stage.topic(`x${i}`), qos: i % 3, properties })
      }
      const link = await again(stage, 'b')
      await link.receive(33)
    },
  },
  {
    name: 'a message that expires in the queue is not delivered',
    play: async (stage) => {
      const first = await again(stage, 'a')
      await first.subscribe([[stage.topic('x'), 1]])
      await first.leave()
      const clock = await stage.open('clock')
      await clock.subscribe([[stage.topic('clock'), 0]])
      const ticker = await stage.open('tick', {
        properties: [prop.sessionExpiryInterval(60)],
        will: { topic: stage.topic('clock'), properties: [prop.willDelayInterval(3)] },
      })
      const short = [prop.messageExpiryInterval(1)]
      await clock.publish({ topic: stage.topic('x'), qos: 1, properties: short, payload: 'old' })
      await clock.publish({ topic: stage.topic('x'), qos: 1, payload: 'good' })
      ticker.hangUp()
      await clock.receive()
      const link = await again(stage, 'b')
      await link.receive()
    },
  },
  {
    name: 'DISCONNECT with Session Expiry Interval 0 ends the session',
    play: async (stage) => {
      const first = await again(stage, 'a')
      await first.subscribe([[stage.topic('x'), 1]])
      await first.leave(disconnect(0x00, [prop.sessionExpiryInterval(0)]))
      await again(stage, 'b')
    },
  },
  {
    name: 'DISCONNECT with a longer Session Expiry Interval keeps it, with Reason String and User Property',
    play: async (stage) => {
      const first = await again(stage, 'a', { properties: [prop.sessionExpiryInterval(1)] })
      await first.subscribe([[stage.topic('x'), 1]])
      const properties = [
        prop.sessionExpiryInterval(500),
        prop.reasonString('bye'),
        prop.userProperty('k', 'v'),
      ]
      await first.leave(disconnect(0x00, properties))
      const link = await again(stage, 'b')
      await link.publish({ topic: stage.topic('x'), qos: 1 })
      await link.receive()
    },
  },
  {
    name: 'a session and a retained message outlive a restart of the broker',
    persistent: true,
    play: async (stage) => {
      const first = await again(stage, 'a')
      await first.subscribe([[stage.topic('#'), 1]])
      const publisher = await stage.open('pub')
      await publisher.publish({ topic: stage.topic('kept'), qos: 1, retain: true, payload: 'kept' })
      await first.receive()
      await first.leave()
      await publisher.publish({ topic: stage.topic('queued'), qos: 1, payload: 'queued' })
      await stage.side.stopBroker()
      await publisher.closed()
      await stage.side.startBroker()
      const link = await again(stage, 'b')
      await link.receive()
      const later = await stage.open('later')
      await later.subscribe([[stage.topic('kept'), 1]])
      await later.receive()
    },
  },
]
