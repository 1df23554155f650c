// Scenarios: how connections end, from either side, politely or not. MQTT 5.0 §3.14, §4.13.
import { ack, connect, disconnect, PINGREQ, prop, publish, subscribe } from '../support/frames.ts'
import type { Scenario, Stage } from './stage.ts'

async function witnessOf(stage: Stage): Promise<Awaited<ReturnType<Stage['open']>>> {
  const witness = await stage.open('w')
  await witness.subscribe([[stage.topic('#'), 1]])
  return witness
}

export const RESET = {
  at: ['broker a'],
  why: 'RST of a client becomes FIN towards the broker: RST could overtake packets that were decided, and recorded as forwarded. Both count as a lost connection.',
}

export const ENDINGS: Scenario[] = [
  {
    name: 'DISCONNECT in each of its three forms is answered with FIN',
    play: async (stage) => {
      const forms = { a: disconnect(), b: disconnect(0x00), c: disconnect(0x00, []) }
      for (const [name, packet] of Object.entries(forms)) await (await stage.open(name)).leave(packet)
    },
  },
  {
    name: 'FIN right behind requests: the client still gets the answers of the broker',
    play: async (stage) => {
      const link = await stage.open('a')
      link.send(
        subscribe({ packetId: 1, filters: [[stage.topic('x'), 1]] }),
        publish({ topic: stage.topic('x'), qos: 1, packetId: 2 }),
        PINGREQ,
      )
      link.hangUp()
      await link.closed()
    },
  },
  {
    name: 'FIN right behind a PUBLISH of QoS 0: it is delivered',
    play: async (stage) => {
      const witness = await witnessOf(stage)
      const link = await stage.open('a')
      link.send(publish({ topic: stage.topic('x'), payload: Buffer.alloc(500_000, 'big ') }))
      link.hangUp()
      await witness.receive()
    },
  },
  {
    name: 'FIN instead of a CONNECT',
    play: async (stage) => {
      const link = await stage.dial('a')
      link.hangUp()
      await link.closed()
    },
  },
  {
    name: 'FIN in the middle of a CONNECT',
    play: async (stage) => {
      const link = await stage.dial('a')
      link.send(stage.connect('a').subarray(0, 30))
      link.hangUp()
      await link.closed()
    },
  },
  {
    name: 'FIN in the middle of a payload: nobody gets the message',
    play: async (stage) => {
      const witness = await witnessOf(stage)
      const link = await stage.open('a')
      const packet = publish({ topic: stage.topic('x'), payload: Buffer.alloc(5000) })
      link.send(packet.subarray(0, 2000))
      link.hangUp()
      await link.closed()
      await witness.fence()
    },
  },
  {
    name: 'FIN in the middle of a packet other than PUBLISH, or of the head of a PUBLISH',
    differs: {
      at: ['broker a', 'broker b'],
      why: 'Postern sends nothing of a packet before it has read and judged its head: the broker sees no half one.',
    },
    play: async (stage) => {
      const halves = {
        a: subscribe({ filters: [[stage.topic('x'), 1]] }),
        b: publish({ topic: stage.topic('a long topic name'), qos: 1 }),
      }
      for (const [name, packet] of Object.entries(halves)) {
        const link = await stage.open(name)
        link.send(packet.subarray(0, 10))
        link.hangUp()
        await link.closed()
      }
    },
  },
  {
    name: 'RST in the middle of a large delivery harms nobody else',
    differs: RESET,
    play: async (stage) => {
      const others = await stage.open('w')
      await others.subscribe([[stage.topic('x'), 1]])
      const link = await stage.open('a')
      await link.subscribe([[stage.topic('x'), 1]])
      link.socket.pause()
      await others.publish({ topic: stage.topic('x'), qos: 1, payload: Buffer.alloc(8_000_000, 'big ') })
      await others.receive()
      link.abort()
      await others.publish({ topic: stage.topic('x'), qos: 1, payload: 'small' })
      await others.receive()
    },
  },
  {
    name: 'RST: the session stays, the subscription too',
    differs: RESET,
    play: async (stage) => {
      const witness = await witnessOf(stage)
      const clientId = stage.clientId('kept')
      const properties = [prop.sessionExpiryInterval(100)]
      const will = { topic: stage.topic('gone') }
      const first = await stage.open('a', { clientId, properties, will })
      await first.subscribe([[stage.topic('x'), 1]])
      first.abort()
      await witness.receive()
      await witness.publish({ topic: stage.topic('x'), qos: 1 })
      await witness.receive()
      const link = await stage.open('b', { clientId, properties, cleanStart: false })
      await link.receive()
    },
  },
  {
    name: 'the broker crashes: every client sees its connection closed',
    conf: [],
    play: async (stage) => {
      const links = [await stage.open('a'), await stage.open('b')]
      await links[0]!.subscribe([[stage.topic('x'), 1]])
      await stage.side.killBroker()
      for (const link of links) await link.closed()
    },
  },
  {
    name: 'the broker shuts down: clients are told what the broker says',
    conf: [],
    play: async (stage) => {
      const link = await stage.open('a')
      await stage.side.stopBroker()
      await link.closed()
    },
  },
  {
    name: 'a CONNECT while the broker is down',
    conf: [],
    differs: {
      at: ['client a'],
      why: 'Postern accepts the connection and finds the broker down: it says so with CONNACK 0x88.',
    },
    play: async (stage) => {
      await stage.side.stopBroker()
      const link = await stage.dial('a')
      link.send(connect({ password: stage.token }))
      await link.closed()
    },
  },
  {
    name: 'acknowledgements that nobody waits for',
    play: async (stage) => {
      const link = await stage.open('a')
      link.send(ack('puback', 7))
      await link.fence()
      link.send(ack('pubcomp', 7))
      await link.fence()
      link.send(ack('pubrel', 7))
      await link.take('PUBCOMP')
    },
  },
]
