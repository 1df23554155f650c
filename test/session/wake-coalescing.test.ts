import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SessionRegistry } from '../../src/session/registry.ts'
import { WakeCoalescing } from '../../src/session/wake-coalescing.ts'
import { ack, connack, connect, PINGREQ, prop, publish, subscribe } from '../support/frames.ts'
import { MemoryPeer } from '../support/memory-peer.ts'
import { SessionRig } from '../support/session-rig.ts'

/** Milliseconds. */
const MOST = 2

/** A loop whose turns end when told, and what it was told to do. */
function setUp(mostMs = MOST) {
  let planned: (() => void)[] = []
  const rests: number[] = []
  const counted: number[] = []
  const loop = { afterTurn: (call: () => void) => planned.push(call), rest: (ms: number) => rests.push(ms) }
  const wakes = new WakeCoalescing(loop, mostMs, (ms) => counted.push(ms))
  let now = 1000
  return {
    wakes,
    rests,
    counted,
    get planned() {
      return planned.length
    },
    endTurn(): void {
      const calls = planned
      planned = []
      for (const call of calls) call()
    },
    /** Small chunks that nobody waits for, one in a turn. */
    flow(chunks: number, eachMs: number): void {
      for (let i = 0; i < chunks; i++) {
        now += eachMs
        wakes.relayed(now, 100, 1, false)
        this.endTurn()
      }
    },
    /** A steady flow, and behind each of its messages as many of a ping-pong as there is time for. Returns how many. */
    flowWithPingPong(messages: number, eachMs: number, pingMs: number): number {
      let pings = 0
      let pingAt = now
      for (let i = 0; i < messages; i++) {
        const until = now + eachMs
        while (pingAt + pingMs <= until && now < until) {
          now = Math.max(now, pingAt + pingMs)
          pingAt = now
          pings += 1
          this.turn(100)
          pingAt = Math.max(pingAt, now)
        }
        now = Math.max(now, until)
        this.turn(100)
        pingAt = Math.max(pingAt, now)
      }
      return pings
    },
    get now() {
      return now
    },
    /** Ends the turn; a rest takes its time. */
    restOfTurn(): void {
      const before = rests.length
      this.endTurn()
      if (rests.length > before) now += rests.at(-1)!
    },
    /** One chunk in a turn; a rest takes its time. */
    turn(bytes: number): void {
      wakes.relayed(now, bytes, 1, false)
      this.restOfTurn()
    },
    /** Each comes some time after the one before it was forwarded. Returns the time that it took. */
    pingPong(chunks: number, eachMs: number): number {
      const started = now
      for (let i = 0; i < chunks; i++) {
        now += eachMs
        this.turn(100)
      }
      return now - started
    },
    relay(bytes: number, isAwaited: boolean, messages = 1): void {
      wakes.relayed(now, bytes, messages, isAwaited)
    },
    pass(ms: number): void {
      now += ms
    },
  }
}

describe('WakeCoalescing', () => {
  it('lets the process rest once it is woken often for little, for as long as some messages need', () => {
    const rig = setUp()
    rig.flow(300, 0.1)
    expect(rig.rests.length).toBeGreaterThan(0)
    expect(rig.counted).toEqual(rig.rests)
    for (const ms of rig.rests) expect(ms).toBeCloseTo(MOST)
  })

  it.each([
    ['a message now and then', 0.6, MOST, 0],
    ['two thousand in a second', 0.49, MOST, MOST],
    ['the same, and it may long', 0.6, 10, 0],
    ['two thousand in a second, and it may long', 0.49, 10, 10],
    ['very many', 0.01, MOST, 0.32],
    ['very many, and it may not', 0.01, 0, 0],
  ])('%s', (_, eachMs, mostMs, restMs) => {
    const rig = setUp(mostMs)
    rig.flow(10_000, eachMs)
    expect(rig.rests.length > 0).toBe(restMs > 0)
    for (const ms of rig.rests) expect(ms).toBeCloseTo(restMs)
  })

  it('does not rest for a while after something that is answered, nor after much at a time', () => {
    for (const [bytes, isAwaited] of [
      [100, true],
      [8 * 1024, false],
    ] as const) {
      const rig = setUp()
      rig.flow(300, 0.1)
      const before = rig.rests.length
      rig.relay(bytes, isAwaited)
      rig.flow(90, 0.1)
      expect(rig.rests).toHaveLength(before)
      rig.flow(20, 0.1)
      expect(rig.rests.length).toBeGreaterThan(before)
    }
  })

  it('does not rest when something that is answered came later in the same turn', () => {
    const rig = setUp()
    rig.flow(300, 0.1)
    const before = rig.rests.length
    rig.pass(0.1)
    rig.relay(100, false)
    expect(rig.planned).toBe(1)
    rig.relay(100, true)
    rig.endTurn()
    expect(rig.rests).toHaveLength(before)
  })

  it('costs those next to nothing who wait for an answer although they need not', () => {
    const rig = setUp()
    expect(rig.pingPong(100_000, 0.1)).toBeLessThan(100_000 * 0.1 * 1.05)
    expect(rig.rests.length).toBeGreaterThan(0)
  })

  it('notices those also that begin while it rests already', () => {
    const rig = setUp()
    rig.flow(20_000, 0.4)
    expect(rig.rests.length).toBeGreaterThan(1000)
    const undisturbed = setUp(0).flowWithPingPong(20_000, 0.4, 0.05)
    expect(rig.flowWithPingPong(20_000, 0.4, 0.05)).toBeGreaterThan(0.7 * undisturbed)
  })

  it('does not rest for parts of packets, however many', () => {
    const rig = setUp()
    for (let i = 0; i < 10_000; i++) {
      rig.pass(0.05)
      rig.relay(1, false, 0)
      rig.endTurn()
    }
    expect(rig.rests).toEqual([])
  })

  it.each([
    [2100, 10],
    [2500, 5],
    [3000, 10],
    [10_000, 2],
  ])('rests most of the time in a steady flow of %i a second, for up to %i ms', (rate, mostMs) => {
    const rig = setUp(mostMs)
    let came = 0
    const started = rig.now
    // Of so many agents that each is a chunk of its own; what comes during a rest comes behind it, in one turn.
    while (rig.now - started < 20_000) {
      rig.pass(0.1)
      const due = Math.floor(((rig.now - started) / 1000) * rate)
      for (; came < due; came++) rig.relay(100, false)
      rig.restOfTurn()
    }
    const rested = rig.rests.reduce((sum, ms) => sum + ms, 0)
    expect(rested / 20_000).toBeGreaterThan(0.8)
  })

  it('does not rest for few chunks with many messages each', () => {
    const rig = setUp()
    for (let i = 0; i < 1000; i++) {
      rig.pass(4)
      rig.relay(4000, false, 100)
      rig.endTurn()
    }
    expect(rig.rests).toEqual([])
  })

  it('goes on where only the flow itself became a little less', () => {
    const rig = setUp()
    rig.flow(300, 0.1)
    rig.flow(300, 0.12)
    const before = rig.rests.length
    rig.flow(300, 0.12)
    expect(rig.rests.length).toBe(before + 300)
  })

  it('rests no more once the flow has ended, whatever comes then', () => {
    const rig = setUp()
    rig.flow(300, 0.1)
    const before = rig.rests.length
    rig.pass(1000)
    rig.flow(3, 0.1)
    expect(rig.rests).toHaveLength(before)
  })

  it('rests once in a turn, and never longer than it may', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            ms: fc.double({ min: 0, max: 3, noNaN: true }),
            bytes: fc.nat(9000),
            turn: fc.boolean(),
          }),
          { maxLength: 500 },
        ),
        fc.constantFrom(0, 1, 2, 100),
        (chunks, mostMs) => {
          const rig = setUp(mostMs)
          for (const { ms, bytes, turn } of chunks) {
            rig.pass(ms)
            rig.relay(bytes, bytes % 7 === 0)
            expect(rig.planned).toBeLessThanOrEqual(1)
            if (turn) rig.endTurn()
          }
          for (const ms of rig.rests) expect(ms).toBeLessThanOrEqual(mostMs)
        },
      ),
    )
  })
})

describe('what a session says of each chunk', () => {
  /** Of each chunk: how many messages began in it; or that somebody waits for an answer to something in it. */
  class Heard extends WakeCoalescing {
    readonly said: (number | 'awaited')[] = []

    constructor() {
      super({ afterTurn: () => {}, rest: () => {} }, 0, () => {})
    }

    override stayAwake(): void {
      this.said.push('awaited')
    }

    override relayed(_nowMs: number, _bytes: number, messages: number, isAwaited: boolean): void {
      this.said.push(isAwaited ? 'awaited' : messages)
    }
  }
  it('a connection that is accepted keeps the process awake, from its TLS handshake on', () => {
    const wakes = new Heard()
    const registry = new SessionRegistry(new SessionRig({ wakes }).context)
    registry.reserve()
    expect(wakes.said).toEqual(['awaited'])
    registry.open(new MemoryPeer('agent', () => ({ onDrain: () => {} })), { id: 'c2', listener: 'agents' })
    expect(wakes.said).toEqual(['awaited', 'awaited'])
  })

  const connected = async (): Promise<{ wakes: Heard; rig: SessionRig }> => {
    const wakes = new Heard()
    const rig = await new SessionRig({ wakes }).connect()
    wakes.said.length = 0
    return { wakes, rig }
  }

  it('CONNECT and CONNACK are waited for, and a part of a CONNECT says nothing', async () => {
    const wakes = new Heard()
    const rig = new SessionRig({ wakes })
    const packet = connect({ password: 'a.b.c' })
    rig.fromClient(packet.subarray(0, 5))
    rig.fromClient(packet.subarray(5, 9))
    expect(wakes.said).toEqual([])
    rig.fromClient(packet.subarray(9))
    await rig.settle()
    rig.fromServer(connack())
    expect(wakes.said).toEqual(['awaited', 'awaited'])
  })

  const request = publish({ topic: 'ok/a', properties: [prop.responseTopic('ok/b')] })
  it.each<[string, Buffer[], number | 'awaited']>([
    ['PUBLISH at QoS 0', [publish({ topic: 'ok/a' })], 1],
    ['three of them', Array.from({ length: 3 }, () => publish({ topic: 'ok/a' })), 3],
    ['PUBLISH at QoS 0, denied', [publish({ topic: 'no/a' })], 1],
    ['a request at QoS 0', [request], 'awaited'],
    ['a response at QoS 0', [publish({ topic: 'ok/a', properties: [prop.correlationData('7')] })], 'awaited'],
    ['PUBLISH at QoS 1', [publish({ topic: 'ok/a', qos: 1, packetId: 1 })], 'awaited'],
    ['both', [publish({ topic: 'ok/a', qos: 1, packetId: 1 }), publish({ topic: 'ok/a' })], 'awaited'],
    ['SUBSCRIBE', [subscribe({ filters: [['ok/a']] })], 'awaited'],
    ['PUBACK', [ack('puback', 7)], 'awaited'],
    ['PINGREQ', [PINGREQ], 'awaited'],
  ])('%s', async (_, packets, says) => {
    const { wakes, rig } = await connected()
    rig.fromClient(...packets)
    expect(wakes.said).toEqual([says])
    // The same heads again, which are known by now; with a Packet Identifier that is free again.
    if (packets[0]![0] === 0x32) rig.fromServer(ack('puback', 1))
    wakes.said.length = 0
    rig.fromClient(...packets)
    expect(wakes.said).toEqual([says])
  })

  const long = 'x'.repeat(50)
  it.each([
    ['nobody waits for', publish({ topic: 'ok/a', payload: long }), [0, 1, 0]],
    [
      'is a request',
      publish({ topic: 'ok/a', properties: [prop.responseTopic('ok/b')], payload: long }),
      [0, 'awaited', 'awaited'],
    ],
    [
      'is acknowledged',
      publish({ topic: 'ok/a', qos: 1, packetId: 1, payload: long }),
      [0, 'awaited', 'awaited'],
    ],
  ])('in three pieces, one that %s', async (_, packet, says) => {
    const { wakes, rig } = await connected()
    // Known heads are another way.
    rig.fromClient(publish({ topic: 'ok/first' }))
    wakes.said.length = 0
    rig.fromClient(packet.subarray(0, 4))
    rig.fromClient(packet.subarray(4, -30))
    rig.fromClient(packet.subarray(-30))
    expect(wakes.said).toEqual(says)
  })

  it.each([0, 1])('deliveries at QoS %i', async (qos) => {
    const { wakes, rig } = await connected()
    const message = publish({ topic: 'ok/a', qos, packetId: 1 })
    rig.fromServer(message)
    rig.fromServer(message)
    rig.fromServer(message, publish({ topic: 'ok/a' }))
    expect(wakes.said).toEqual(qos > 0 ? ['awaited', 'awaited', 'awaited'] : [1, 1, 2])
    wakes.said.length = 0
    rig.fromServer(request)
    rig.fromServer(request)
    expect(wakes.said).toEqual(['awaited', 'awaited'])
  })
})
