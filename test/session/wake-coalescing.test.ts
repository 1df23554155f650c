import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WakeCoalescing } from '../../src/session/wake-coalescing.ts'
import { ack, connack, connect, PINGREQ, prop, publish, subscribe } from '../support/frames.ts'
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
        wakes.relayed(now, 100, false)
        this.endTurn()
      }
    },
    /** Each comes some time after the one before it was forwarded. Returns the time that it took. */
    pingPong(chunks: number, eachMs: number): number {
      const started = now
      for (let i = 0; i < chunks; i++) {
        now += eachMs
        wakes.relayed(now, 100, false)
        const before = rests.length
        this.endTurn()
        if (rests.length > before) now += rests.at(-1)!
      }
      return now - started
    },
    relay(bytes: number, isAwaited: boolean): void {
      wakes.relayed(now, bytes, isAwaited)
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
    ['so many that the longest rest gathers four', 0.49, MOST, MOST],
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
  /** Whether somebody waits for an answer to what comes, chunk by chunk. */
  class Heard extends WakeCoalescing {
    readonly awaited: boolean[] = []

    constructor() {
      super({ afterTurn: () => {}, rest: () => {} }, 0, () => {})
    }

    override relayed(_nowMs: number, _bytes: number, isAwaited: boolean): void {
      this.awaited.push(isAwaited)
    }
  }

  it('CONNECT and CONNACK are waited for', async () => {
    const wakes = new Heard()
    const rig = new SessionRig({ wakes })
    rig.fromClient(connect({ password: 'a.b.c' }))
    await rig.settle()
    rig.fromServer(connack())
    expect(wakes.awaited).toEqual([true, true])
  })

  it.each([
    ['PUBLISH at QoS 0', [publish({ topic: 'ok/a' })], false],
    ['PUBLISH at QoS 0, denied', [publish({ topic: 'no/a' })], false],
    ['a request at QoS 0', [publish({ topic: 'ok/a', properties: [prop.correlationData('7')] })], true],
    ['PUBLISH at QoS 1', [publish({ topic: 'ok/a', qos: 1, packetId: 1 })], true],
    ['both', [publish({ topic: 'ok/a', qos: 1, packetId: 1 }), publish({ topic: 'ok/a' })], true],
    ['SUBSCRIBE', [subscribe({ filters: [['ok/a']] })], true],
    ['PUBACK', [ack('puback', 7)], true],
    ['PINGREQ', [PINGREQ], true],
  ])('%s', async (_, packets, isAwaited) => {
    const wakes = new Heard()
    const rig = await new SessionRig({ wakes }).connect()
    wakes.awaited.length = 0
    rig.fromClient(...packets)
    expect(wakes.awaited).toEqual([isAwaited])
    // The same heads again, which are known by now; with a Packet Identifier that is free again.
    if (isAwaited && packets[0]![0] === 0x32) rig.fromServer(ack('puback', 1))
    wakes.awaited.length = 0
    rig.fromClient(...packets)
    expect(wakes.awaited).toEqual([isAwaited])
  })

  it.each([0, 1])('deliveries at QoS %i', async (qos) => {
    const wakes = new Heard()
    const rig = await new SessionRig({ wakes }).connect()
    wakes.awaited.length = 0
    const message = publish({ topic: 'ok/a', qos, packetId: 1 })
    rig.fromServer(message)
    rig.fromServer(message)
    rig.fromServer(message, publish({ topic: 'ok/a' }))
    expect(wakes.awaited).toEqual([qos > 0, qos > 0, qos > 0])
  })
})
