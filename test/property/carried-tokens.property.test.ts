// Messages with a token, and stamped ones: what goes to the broker is what came, without the properties that are
// Postern's business and with its own, however it is cut; and no answer outlives what it rests on.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Barred, CARRIED_POLICY, CarriedRig, carry, humanOf, stamps } from '../support/carried.ts'
import { ack, PINGREQ, prop, publish } from '../support/frames.ts'
import { policyFrom } from '../support/session-rig.ts'
import { chunksOf, cuts } from '../support/traffic.ts'

const HUMANS = ['ann', 'bob', 'cy']
const FORGED = [
  prop.userProperty('postern-agent', 'root'),
  prop.userProperty('postern-human', 'eve'),
  prop.userProperty('postern-tenant', ''),
]
const ORDINARY = [
  prop.contentType('text/plain'),
  prop.userProperty('key', 'value'),
  prop.userProperty('key', 'value'),
  prop.userProperty('postern-agen', 'x'),
  prop.userProperty('Postern-Token', 'x'),
  prop.userProperty('', ''),
  prop.correlationData(Buffer.of(0, 0x26, 255)),
  prop.payloadFormatIndicator(1),
]

/** Longer than what is copied behind a known head. */
const LONG = 'p'.repeat(4097)

interface Sent {
  packet: Buffer
  /** As the broker gets it. */
  forwarded: Buffer
  answer: Buffer
}

/** @param long a payload that some have */
const sent = (stamp: boolean, long = ''): fc.Arbitrary<Sent> =>
  fc
    .record({
      human: fc.constantFrom(...HUMANS, undefined, undefined),
      isBad: fc.boolean(),
      below: fc.constantFrom('own', 'own', 'own', 'other'),
      qos: fc.constantFrom(0, 1),
      packetId: fc.integer({ min: 1, max: 60_000 }),
      ordinary: fc.shuffledSubarray(ORDINARY).map((some) => uniqueKinds(some)),
      forged: fc.subarray(FORGED),
      order: fc.infiniteStream(fc.nat()),
      payload: fc.oneof(fc.constant(''), fc.string({ maxLength: 300 }), fc.constant(long)),
    })
    .map(({ human, isBad, below, qos, packetId, ordinary, forged, order, payload }) => {
      const bad = human !== undefined && isBad && below === 'other'
      const own = [...forged, ...(human === undefined ? [] : [carry(`${human}.${bad ? 'bad' : 'good'}.x`)])]
      const properties = [...ordinary]
      for (const one of own) properties.splice(order.next().value % (properties.length + 1), 0, one)
      const topic = `ok/${below === 'own' ? (human ?? 'u1') : 'nobody'}/a`
      const packet = publish({ topic, qos, packetId, payload, properties })
      const answer = below === 'own' || qos === 0 ? Buffer.alloc(0) : ack('puback', packetId, 0x87)
      const added = human !== undefined ? stamps(human) : stamp ? stamps('u1') : []
      const forwarded = publish({ topic, qos, packetId, payload, properties: [...ordinary, ...added] })
      return { packet, forwarded: below === 'own' ? forwarded : Buffer.alloc(0), answer }
    })

const hex = (bytes: Buffer): string => bytes.toString('hex')

/** Only User Properties may stand more than once. */
function uniqueKinds(properties: Buffer[]): Buffer[] {
  return properties.filter(
    (one, i) => one[0] === 0x26 || properties.findIndex((other) => other[0] === one[0]) === i,
  )
}

const rig = (stamp: boolean): Promise<CarriedRig> =>
  new CarriedRig({ config: { delegation: { property: 'postern-token', stamp } } }, (token) =>
    token.includes('bad') ? { ok: false, reason: 'bad_signature', detail: undefined } : undefined,
  ).connect()

test.each([false, true])(
  'JIT-06 forwarded is what came, without token and forged names, with those of Postern; stamp: %s',
  async (stamp) => {
    await fc.assert(
      fc.asyncProperty(fc.array(sent(stamp, LONG), { maxLength: 8 }), cuts, async (messages, sizes) => {
        const it = await rig(stamp)
        for (const chunk of chunksOf(Buffer.concat(messages.map(({ packet }) => packet)), sizes)) {
          it.fromClient(chunk)
        }
        // One verification after another, each in its turn.
        for (let i = 0; i < messages.length; i++) await it.settle()
        expect(hex(it.toServer)).toBe(hex(Buffer.concat(messages.map(({ forwarded }) => forwarded))))
        expect(hex(it.toClient)).toBe(hex(Buffer.concat(messages.map(({ answer }) => answer))))
        it.forget()
        // Again, when their heads are known.
        const again = messages.flatMap((message) => [message, message])
        await it.send(...again.map(({ packet }) => packet))
        for (let i = 0; i < messages.length; i++) await it.settle()
        expect(hex(it.toServer)).toBe(hex(Buffer.concat(again.map(({ forwarded }) => forwarded))))
        expect(hex(it.toClient)).toBe(hex(Buffer.concat(again.map(({ answer }) => answer))))
      }),
      { numRuns: 40 },
    )
  },
)

test('one byte at a time, verified in the middle of what follows: the same', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(sent(true), { minLength: 1, maxLength: 4 }),
      fc.nat({ max: 40 }),
      async (messages, pause) => {
        const it = await rig(true)
        const stream = Buffer.concat([...messages.map(({ packet }) => packet), PINGREQ])
        for (let at = 0; at < stream.length; at++) {
          it.fromClient(stream.subarray(at, at + 1))
          if (at % (pause + 1) === 0) await it.settle()
        }
        for (let i = 0; i < messages.length; i++) await it.settle()
        expect(hex(it.toServer)).toBe(
          hex(Buffer.concat([...messages.map(({ forwarded }) => forwarded), PINGREQ])),
        )
      },
    ),
    { numRuns: 15 },
  )
})

/** What an answer rests on, and what may happen to it. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ say: fc.constantFrom(...HUMANS), token: fc.constantFrom('1', '2') }) },
  fc.record({ bar: fc.constantFrom(...HUMANS) }),
  fc.record({ allow: fc.subarray(HUMANS) }),
  fc.record({ wait: fc.integer({ min: 1, max: 40_000 }) }),
)

test('REV-01, EXP-01, DEL-08 no allow rests on a policy, a token or a revocation of yesterday', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.constantFrom(1, 2, 1000),
      async (steps, tokens) => {
        const revocations = new Barred()
        const config = { delegation: { property: 'postern-token', tokens } }
        const start = new Map<string, number>()
        const it = await new CarriedRig({ revocations, config }, (token, rigHere) => {
          if (!start.has(token)) start.set(token, rigHere.clock.now())
          const endsAtMs = start.get(token)! + 30_000
          if (rigHere.clock.now() >= endsAtMs) return { ok: false, reason: 'expired', detail: undefined }
          return { ok: true, principal: humanOf(token, rigHere, { endsAtMs }) }
        }).connect()
        const barred = new Set<string>()
        let allowed = HUMANS
        for (const each of steps) {
          if ('bar' in each) {
            barred.add(each.bar)
            revocations.bar(each.bar)
          } else if ('allow' in each) {
            allowed = each.allow
            const rules = allowed.map((human) => `{ id: ${human}, allow: publish, topic: ok/${human} }`)
            const policy = `${CARRIED_POLICY.split('users:')[0]}users: [${rules.join(', ')}]\n`
            it.context.policyInForce = {
              policy: policyFrom(policy),
              epoch: it.context.policyInForce.epoch + 1,
            }
          } else if ('wait' in each) it.clock.advance(each.wait)
          else {
            if (it.ended) return
            const token = `${each.say}.${each.token}.x`
            it.forget()
            const now = it.clock.now()
            await it.send(publish({ topic: `ok/${each.say}`, properties: [carry(token)] }))
            const isGood = now < start.get(token)! + 30_000
            const expected = isGood && !barred.has(each.say) && allowed.includes(each.say)
            expect([token, it.toServer.length > 0]).toEqual([token, expected])
          }
        }
      },
    ),
    { numRuns: 150 },
  )
})
