// Laws of a session, whatever the traffic and however it is cut: what passes, passes byte for byte; how the streams are
// cut never shows; own packets never stand inside of another; nothing that a peer sends is an exception.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { AuditEvent } from '../../src/audit/event.ts'
import { SessionMemory } from '../../src/session/session-memory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ack, connack, connect, PINGRESP, prop, publish } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { OK_POLICY, SessionRig } from '../support/session-rig.ts'
import { chunksOf, cuts, framesIn, messages, type Step, sentBy, traffic } from '../support/traffic.ts'

const ALIASES = [prop.topicAliasMaximum(10)]
const connected = (): Promise<SessionRig> =>
  new SessionRig().connect({ properties: ALIASES }, { properties: ALIASES })

/** Feeds each side's whole stream in chunks: first the client's, then the server's. */
async function played(steps: readonly Step[], client: number[], server: number[]): Promise<SessionRig> {
  const it = await connected()
  for (const chunk of chunksOf(sentBy('client', steps), client)) it.fromClient(chunk)
  for (const chunk of chunksOf(sentBy('server', steps), server)) it.fromServer(chunk)
  return it
}

/**
 * Records without what depends on how much of a payload was at hand: its digest stands in the record of the PUBLISH or,
 * for a payload that came later, in one of its own.
 */
function comparable(events: readonly AuditEvent[]): { decisions: unknown[]; digests: unknown[] } {
  const published = events.filter(
    (event) => event.decision === 'allow' && ['publish', 'payload'].includes(event.action),
  )
  return {
    decisions: events
      .filter((event) => event.action !== 'payload')
      .map(({ action, decision, reason, effect, resource, packet_id: id, rules, payload }) => {
        return [action, decision, reason, effect, resource, id, rules, payload?.length]
      }),
    digests: published.flatMap((event) => event.payload?.sha256 ?? []),
  }
}

test('conservation: each side gets the allowed frames of the other byte for byte, and the answers to its denied ones', async () => {
  await fc.assert(
    fc.asyncProperty(traffic, async (steps) => {
      const it = await connected()
      const expected = { client: [] as Buffer[], server: [] as Buffer[] }
      for (const { from, packet, forwarded, answer } of steps) {
        if (from === 'client') {
          it.fromClient(packet)
          expected.server.push(forwarded)
          expected.client.push(answer)
        } else {
          it.fromServer(packet)
          expected.client.push(forwarded)
          expected.server.push(answer)
        }
      }
      expect(it.toServer).toEqual(Buffer.concat(expected.server))
      expect(it.toClient).toEqual(Buffer.concat(expected.client))
      expect(it.session.relaying).toBe(true)
    }),
    { numRuns: 150 },
  )
})

test('chunk invariance: any two cuts of the same streams give the same bytes on both sides and the same records', async () => {
  await fc.assert(
    fc.asyncProperty(traffic, cuts, cuts, async (steps, client, server) => {
      const whole = await played(steps, [1_000_000], [1_000_000])
      const cut = await played(steps, client, server)
      expect(cut.toServer).toEqual(whole.toServer)
      expect(cut.toClient).toEqual(whole.toClient)
      expect(comparable(cut.audit.events)).toEqual(comparable(whole.audit.events))
    }),
    { numRuns: 150 },
  )
})

test('chunk invariance holds for streams that end in a fault', async () => {
  const bad = fc.constantFrom(
    Buffer.of(0x00, 0x00),
    Buffer.of(0x36, 0x05, 0x00, 0x01),
    Buffer.of(0x30, 0x80, 0x00),
    publish({ topic: 'ok/+' }),
    publish({ topic: 'ok/a', properties: [prop.topicAlias(11)] }),
  )
  await fc.assert(
    fc.asyncProperty(traffic, bad, cuts, async (steps, fault, sizes) => {
      const [whole, cut] = [await connected(), await connected()]
      const stream = Buffer.concat([sentBy('client', steps), fault, publish({ topic: 'ok/after' })])
      whole.fromClient(stream)
      for (const chunk of chunksOf(stream, sizes)) cut.fromClient(chunk)
      expect(cut.toServer).toEqual(whole.toServer)
      expect(cut.toClient).toEqual(whole.toClient)
      expect(cut.event('disconnect')).toEqual(whole.event('disconnect'))
      expect(whole.event('disconnect')?.reason).toBe('client_fault')
    }),
    { numRuns: 100 },
  )
})

test('whole packets: however the streams are cut and interleaved, own packets stand between the others, all in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      messages,
      cuts,
      cuts,
      fc.infiniteStream(fc.boolean()),
      async (steps, client, server, turns) => {
        const it = await connected()
        const chunks = {
          client: chunksOf(sentBy('client', steps), client),
          server: chunksOf(sentBy('server', steps), server),
        }
        while (chunks.client.length + chunks.server.length > 0) {
          const clientsTurn =
            chunks.server.length === 0 || (chunks.client.length > 0 && turns.next().value === true)
          if (clientsTurn) it.fromClient(chunks.client.shift()!)
          else it.fromServer(chunks.server.shift()!)
        }
        const of = (from: Step['from'], what: 'forwarded' | 'answer') =>
          steps.filter((step) => step.from === from && step[what].length > 0).map((step) => step[what])
        expectMerged(framesIn(it.toServer), of('client', 'forwarded'), of('server', 'answer'))
        expectMerged(framesIn(it.toClient), of('server', 'forwarded'), of('client', 'answer'))
      },
    ),
    { numRuns: 200 },
  )
})

/** `merged` holds the frames of both, each in its own order. */
function expectMerged(merged: Buffer[], forwarded: Buffer[], answers: Buffer[]): void {
  for (const frame of merged) {
    const source = [forwarded, answers].find((frames) => frames[0]?.equals(frame))
    if (source === undefined) throw new Error(`unexpected frame ${frame.toString('hex')}`)
    source.shift()
  }
  expect([forwarded.length, answers.length]).toEqual([0, 0])
}

const noise = fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => Buffer.from(bytes))
/** Good traffic with some bytes changed, left out or put in. */
const mutated = fc
  .tuple(
    traffic.map((steps) => Buffer.concat(steps.map((step) => step.packet))),
    fc.array(fc.tuple(fc.nat(), fc.constantFrom('set', 'cut', 'put'), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 5,
    }),
  )
  .map(([stream, edits]) => {
    const bytes = [...stream]
    for (const [at, how, value] of edits) {
      const place = at % (bytes.length + 1)
      if (how === 'set') bytes.splice(place, 1, value)
      else if (how === 'cut') bytes.splice(place, 1)
      else bytes.splice(place, 0, value)
    }
    return Buffer.from(bytes)
  })

test.each(['client', 'server'] as const)(
  'peers.J12, OPS-06 no panic: whatever the %s sends, the session goes on or ends in order',
  async (from) => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(noise, mutated), cuts, async (stream, sizes) => {
        const it = await connected()
        for (const chunk of chunksOf(stream, sizes)) {
          if (from === 'client') it.fromClient(chunk)
          else it.fromServer(chunk)
        }
        await it.settle()
        expect(it.log).toEqual([])
        if (it.ended) {
          expect([it.client.ended, it.server!.ended]).toEqual([true, true])
          expect(it.audit.events.filter((event) => event.action === 'disconnect')).toHaveLength(1)
        }
        // What the agent is told is always whole, but for a delivery whose payload is still to come.
        if (from === 'client') packetsIn(it.toClient)
      }),
      { numRuns: 400 },
    )
  },
)

test('peers.J6 no panic: whatever comes before, in place of and behind a CONNECT', async () => {
  const streams = fc.oneof(
    noise,
    noise.map((bytes) => Buffer.concat([connect({ password: 'a.b.c' }), bytes])),
    fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })).map(([at, value]) => {
      const bytes = connect({ password: 'a.b.c', will: { topic: 'ok/will' }, properties: ALIASES })
      bytes[at % bytes.length] = value
      return bytes
    }),
  )
  await fc.assert(
    fc.asyncProperty(streams, cuts, async (stream, sizes) => {
      const it = new SessionRig()
      for (const chunk of chunksOf(stream, sizes)) it.fromClient(chunk)
      await it.settle()
      it.fromServer(connack())
      await it.settle()
      it.clock.advance(10_000)
      expect(it.log).toEqual([])
      expect(it.ended || it.session.relaying).toBe(true)
      if (it.ended) expect(it.client.ended).toBe(true)
    }),
    { numRuns: 400 },
  )
})

/** A broker that keeps to the letter of QoS 2: one message per identifier until its PUBREL [MQTT-4.3.3-10]. */
class LiteralBroker {
  readonly #held = new Map<number, string>()
  #read = 0
  readonly #publish: (topic: string) => void

  constructor(publish: (topic: string) => void) {
    this.#publish = publish
  }

  get holds(): boolean {
    return this.#held.size > 0
  }

  /** The next connection of the same session. */
  reconnected(): void {
    this.#read = 0
  }

  /** Deals with what has come; returns its answers. */
  answer(received: Buffer): Buffer[] {
    const frames = framesIn(received).slice(this.#read)
    this.#read += frames.length
    return frames.flatMap((frame) => {
      const [packet] = packetsIn(frame)
      if (packet?.cmd === 'publish') {
        if (!this.#held.has(packet.messageId!)) this.#held.set(packet.messageId!, packet.topic)
        return ack('pubrec', packet.messageId)
      }
      if (packet?.cmd === 'disconnect' && packet.properties?.sessionExpiryInterval === 0) this.#held.clear()
      if (packet?.cmd !== 'pubrel') return []
      const topic = this.#held.get(packet.messageId!)
      this.#held.delete(packet.messageId!)
      if (topic !== undefined) this.#publish(topic)
      return ack('pubcomp', packet.messageId)
    })
  }
}

test('peers.G1 whatever an agent does with QoS 2 while policies change, the broker publishes nothing that is not allowed at that moment', async () => {
  const policies = ['ok/a', 'ok/b', 'ok/#'].map((topic) => OK_POLICY.replaceAll('ok/#', topic))
  const allows = [['ok/a'], ['ok/b'], ['ok/a', 'ok/b']]
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        topic: fc.constantFrom('ok/a', 'ok/b', 'no/c'),
        packetId: fc.integer({ min: 1, max: 2 }),
        dup: fc.boolean(),
      }),
    },
    { weight: 4, arbitrary: fc.record({ release: fc.integer({ min: 1, max: 2 }) }) },
    { weight: 1, arbitrary: fc.record({ policy: fc.integer({ min: 0, max: 2 }) }) },
    { weight: 2, arbitrary: fc.constant('answer' as const) },
    { weight: 1, arbitrary: fc.constant('break' as const) },
  )
  const properties = [prop.sessionExpiryInterval(3600)]
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
      const shared = { clock: new FakeClock(), config: { sessions: { delegated: 'resume' } } }
      const memory = new SessionMemory(shared.clock, 10)
      let policy = policies[2]!
      let it = await new SessionRig({ ...shared, memory, policy }).connect({ properties })
      let allowed = allows[2]!
      let forbidden: string | undefined
      const broker = new LiteralBroker((topic) => {
        if (!allowed.includes(topic)) forbidden = topic
      })
      for (const step of steps) {
        if (step === 'break') it.session.onClose()
        else if (step === 'answer') it.fromServer(...broker.answer(it.toServer), PINGRESP)
        else if ('release' in step) it.fromClient(ack('pubrel', step.release))
        else if ('topic' in step) it.fromClient(publish({ ...step, qos: 2 }))
        else {
          // What is on its way to the broker was decided before.
          it.fromServer(...broker.answer(it.toServer), PINGRESP)
          policy = policies[step.policy]!
          it.usePolicy(policy)
          allowed = allows[step.policy]!
        }
        if (it.session.relaying) continue
        broker.answer(it.toServer)
        broker.reconnected()
        it = new SessionRig({ ...shared, memory, policy })
        await it.connect({ properties, cleanStart: false }, { sessionPresent: broker.holds })
      }
      broker.answer(it.toServer)
      expect(forbidden).toBeUndefined()
    }),
    { numRuns: 300 },
  )
})
