// Topic Aliases in both directions: every use is judged by the name behind it, and whoever never saw the definition
// gets the name. MQTT 5.0 §3.3.2.3.4.
import { describe, expect, test } from 'vitest'
import { ack, connack, connect, prop, publish } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { SessionRig } from '../support/session-rig.ts'

type Direction = 'client' | 'server'

/** A session with up to 5 aliases both ways, seen from the side that sends. */
class Flow {
  readonly rig: SessionRig
  readonly #from: Direction

  private constructor(rig: SessionRig, from: Direction) {
    this.rig = rig
    this.#from = from
  }

  static async open(from: Direction, maximum = 5): Promise<Flow> {
    const properties = maximum === 0 ? [] : [prop.topicAliasMaximum(maximum)]
    return new Flow(await new SessionRig().connect({ properties }, { properties }), from)
  }

  /** A PUBLISH with an alias; without a topic the alias stands for it. */
  send(alias: number, topic = '', payload = 'x'): Buffer {
    const bytes = publish({ topic, payload, properties: [prop.topicAlias(alias)] })
    this.#feed(bytes)
    return bytes
  }

  #feed(bytes: Buffer): void {
    if (this.#from === 'client') this.rig.fromClient(bytes)
    else this.rig.fromServer(bytes)
  }

  get out(): Buffer {
    return this.#from === 'client' ? this.rig.toServer : this.rig.toClient
  }

  /** `topic alias` of what was forwarded. */
  get forwarded(): string[] {
    return packetsIn(this.out).flatMap((packet) =>
      packet.cmd === 'publish' ? [`${packet.topic} ${packet.properties?.topicAlias}`] : [],
    )
  }

  get fault(): string | undefined {
    return this.rig.event('disconnect')?.detail
  }
}

describe.each<Direction>(['client', 'server'])('from the %s', (from) => {
  test('P19, peers.H2 an alias of an allowed topic is judged by its name, and forwarded byte for byte', async () => {
    const flow = await Flow.open(from)
    const sent = Buffer.concat([flow.send(1, 'ok/a'), flow.send(1), flow.send(1)])
    expect(flow.out).toEqual(sent)
  })

  test('P20, peers.H1 an alias of a denied topic is denied each time', async () => {
    const flow = await Flow.open(from)
    flow.send(1, 'no/a')
    flow.send(1)
    flow.send(1)
    expect(flow.forwarded).toEqual([])
    expect(flow.rig.audit.events.map((event) => event.resource?.topic)).toEqual(['no/a', 'no/a', 'no/a'])
  })

  test('ACL-03, peers.H2 an alias that is set again to a denied topic is denied, and never means the older name', async () => {
    const flow = await Flow.open(from)
    flow.send(1, 'ok/a')
    flow.send(1, 'no/a')
    flow.send(1)
    flow.send(1, 'ok/b')
    flow.send(1)
    expect(flow.forwarded).toEqual(['ok/a 1', 'ok/b 1', ' 1'])
  })

  test('peers.H4 after a drop the next use carries the name: the other end never saw the definition', async () => {
    const flow = await Flow.open(from)
    if (from === 'client') {
      // Denied for its size, not for its topic.
      flow.rig.session.serverMaximumPacketSize = 60
      flow.send(1, 'ok/a', 'x'.repeat(60))
    } else {
      flow.rig.usePolicy('version: 1')
      flow.send(1, 'ok/a')
      flow.rig.usePolicy(
        '{version: 1, agents: [{id: a, allow: subscribe, topic: ok/a}], users: [{id: u, allow: subscribe, topic: ok/a}]}',
      )
    }
    expect(flow.forwarded).toEqual([])
    flow.send(1)
    flow.send(1)
    expect(flow.forwarded).toEqual(['ok/a 1', ' 1'])
  })

  test.each([
    ['peers.H2 above the maximum', 6, 'ok/a', 'topic_alias_above_maximum'],
    ['peers.H2 zero', 0, 'ok/a', 'zero_topic_alias'],
    ['peers.H1, peers.H3 never set on this connection', 1, '', 'unknown_topic_alias'],
  ])('%s: the connection ends, and nothing of it is forwarded', async (_, alias, topic, fault) => {
    const flow = await Flow.open(from)
    flow.send(alias, topic)
    expect(flow.forwarded).toEqual([])
    expect(flow.fault).toBe(fault)
    expect(flow.rig.client.ended).toBe(true)
    expect(flow.rig.server!.ended).toBe(true)
  })

  test('peers.H2 where no alias was granted, none may be used', async () => {
    const flow = await Flow.open(from, 0)
    flow.send(1, 'ok/a')
    expect(flow.fault).toBe('topic_alias_above_maximum')
  })
})

test.each([
  [6, 'ok/a', 0x94],
  [1, '', 0x82],
])('peers.H2 the agent is told why its alias %i was refused', async (alias, topic, code) => {
  const flow = await Flow.open('client')
  flow.send(alias, topic)
  expect(packetsIn(flow.rig.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: code }])
})

test('peers.H1 a denied QoS 1 message that sets an alias is answered, and the alias is denied afterwards', async () => {
  const flow = await Flow.open('client')
  const properties = [prop.topicAlias(3)]
  flow.rig.fromClient(publish({ topic: 'no/a', qos: 1, packetId: 1, properties }))
  flow.rig.fromClient(publish({ topic: '', qos: 1, packetId: 2, properties }))
  expect(flow.rig.toClient).toEqual(Buffer.concat([ack('puback', 1, 0x87), ack('puback', 2, 0x87)]))
})

test('the directions have aliases of their own', async () => {
  const flow = await Flow.open('client')
  flow.send(1, 'ok/a')
  flow.rig.fromServer(publish({ topic: '', properties: [prop.topicAlias(1)] }))
  expect(flow.fault).toBe('unknown_topic_alias')
})

test('each side is told no more aliases than Postern keeps', async () => {
  const rig = new SessionRig({ config: { limits: { topicAliases: 3 } } })
  rig.fromClient(connect({ password: 'a.b.c', properties: [prop.topicAliasMaximum(1000)] }))
  await rig.settle()
  expect(packetsIn(rig.toServer)[0]).toMatchObject({ properties: { topicAliasMaximum: 3 } })
  rig.fromServer(connack({ properties: [prop.topicAliasMaximum(1000)] }))
  await rig.settle()
  expect(packetsIn(rig.toClient)[0]).toMatchObject({ properties: { topicAliasMaximum: 3 } })
})
